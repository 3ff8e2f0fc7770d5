"""CCP, the sending side of one neighbour: what it has not been told yet, and when it is told.
Imports ccp, announcements, neighbour and routing.

Silent until the neighbour asks (RouteControl with SYNC). One update is under way at a time; what
follows waits for its answer, and changes that come one by one are gathered for a moment. A Fulfill
is no proof that the update was taken: whoever has missed something asks again. Nobody can know
more than it was sent: who claims to is told everything.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from fastilp.control import ccp
from fastilp.control.announcements import SET_SIZE_MAX, Entry
from fastilp.control.ccp import Mode, RouteControl, RouteUpdate
from fastilp.control.neighbour import Neighbour
from fastilp.control.routing import Routing

# Between two updates, unless the first was full (ilp-connector: 150 ms).
SPACING_MS = 150
# From one step back to the next: a neighbour may ask for the same as often as it likes.
RESTART_MS = 1_000
_RETRY_MS = 1_000
_RETRY_MAX_MS = 3_600_000
# Prefixes that are looked at for one update.
_SCAN_MAX = 1_000


class Plan(NamedTuple):
    """An update that is to be sent, and what is true once it was answered."""

    data: bytes
    to_epoch: int
    told: list[Entry]
    withdrawn: list[Entry]


@dataclass(slots=True)
class Sender:
    table_id: bytes
    interval_ms: int
    """Of heartbeats."""
    hold_down_ms: int
    mode: Mode = Mode.IDLE
    epoch: int = 0
    """What the neighbour knows."""
    seen: int = 0
    """Up to here there is nothing more to tell it."""
    waiting: Plan | None = None
    """The update that is under way."""
    last: Plan | None = None
    """The newest one, until it is sure whether the neighbour has taken it."""
    not_before_ms: int = 0
    heartbeat_ms: int = 0
    is_back: bool = False
    """The next update says again what was said before."""
    restarted_ms: int = -RESTART_MS
    failures: int = 0
    sent: int = field(default=0)
    """Updates, heartbeats among them."""

    def silence(self) -> None:
        """The neighbour has gone."""
        self.mode = Mode.IDLE
        self.waiting = None

    def sync(self, control: RouteControl, near: Neighbour, routing: Routing, now_ms: int) -> None:
        """The neighbour wants all that it does not know, and what changes from now on."""
        known = control.epoch if control.table_id == self.table_id else 0
        last = self.last
        if last is not None and known == last.to_epoch:
            self._confirm(last, near, routing)
        elif known > self.epoch:
            known = 0
        # An answer that comes now is one to what was before the question.
        self.last = None
        self.is_back = self.is_back or known < self.seen
        self.mode = Mode.SYNC
        self.epoch = self.seen = known
        self.failures = 0
        self.not_before_ms = self.heartbeat_ms = now_ms
        if self.is_back:
            self.not_before_ms = max(now_ms, self.restarted_ms + RESTART_MS)

    def restart(self, table_id: bytes, now_ms: int) -> None:
        """There is a new table."""
        self.table_id = table_id
        self.last = None
        self.epoch = self.seen = 0
        self.heartbeat_ms = now_ms

    def due_ms(self, routing: Routing) -> int | None:
        """When there is something to send; None: not until something changes."""
        if self.mode is Mode.IDLE or self.waiting is not None:
            return None
        is_behind = routing.log.is_dirty() or self.seen < routing.log.epoch
        return self.not_before_ms if is_behind else max(self.not_before_ms, self.heartbeat_ms)

    def plan(self, near: Neighbour, routing: Routing, now_ms: int) -> Plan | None:
        """The update that is due; None: nothing of what was looked at is for this neighbour."""
        current = routing.log.seal()
        routes: list[bytes] = []
        gone: list[bytes] = []
        told: list[Entry] = []
        withdrawn: list[Entry] = []
        size = scanned = 0
        for change_set in routing.log.after(self.seen):
            if size + change_set.size > SET_SIZE_MAX and (routes or gone):
                break
            for entry in change_set.entries:
                if entry is None:
                    continue
                if not routing.objection(entry, near):
                    route = routing.route(entry)
                    assert route is not None
                    routes.append(ccp.encode_route(route))
                    told.append(entry)
                    size += len(routes[-1])
                elif entry.told & near.slot:
                    gone.append(ccp.encode_prefix(entry.prefix))
                    withdrawn.append(entry)
                    size += len(gone[-1])
            self.seen = change_set.epoch
            scanned += len(change_set.entries)
            if scanned > _SCAN_MAX:
                break
        else:
            self.seen = current
        if not routes and not gone and now_ms < self.heartbeat_ms:
            return None
        update = RouteUpdate(
            self.table_id,
            current,
            self.epoch,
            self.seen,
            self.hold_down_ms,
            routing.own.address,
        )
        return Plan(ccp.join_update(update, routes, gone), self.seen, told, withdrawn)

    def began(self, plan: Plan, near: Neighbour, routing: Routing, now_ms: int) -> None:
        """The update is under way: from now on the neighbour may know."""
        for entry in plan.told:
            routing.told(entry, near, is_there=True)
        self.waiting = self.last = plan
        self.sent += 1
        if self.is_back:
            self.is_back = False
            self.restarted_ms = now_ms
        self.heartbeat_ms = now_ms + self.interval_ms
        is_full = plan.to_epoch < routing.log.epoch
        self.not_before_ms = now_ms if is_full else now_ms + SPACING_MS

    def ended(self, plan: Plan, near: Neighbour, routing: Routing) -> None:
        """It was answered with a Fulfill."""
        if self._is_last(plan):
            self.failures = 0
            self.last = None
            self.epoch = plan.to_epoch
            self._confirm(plan, near, routing)

    def _is_last(self, plan: Plan) -> bool:
        """Whether its answer still says something of what the neighbour knows."""
        if plan is self.waiting:
            self.waiting = None
        return plan is self.last

    def _confirm(self, plan: Plan, near: Neighbour, routing: Routing) -> None:
        """The neighbour no longer believes in what was withdrawn."""
        for entry in plan.withdrawn:
            routing.told(entry, near, is_there=False)

    def failed(self, plan: Plan, *, is_final: bool, now_ms: int) -> None:
        """It was rejected, or not answered. Whoever refuses it is left alone for longer and longer,
        until it asks again."""
        if not self._is_last(plan):
            return
        self.seen = self.epoch
        self.failures += 1
        wait_ms = self.interval_ms if is_final else _RETRY_MS
        wait_ms = min(wait_ms * 2 ** min(self.failures - 1, 12), _RETRY_MAX_MS)
        if not is_final:
            wait_ms = min(wait_ms, self.interval_ms)
        self.not_before_ms = now_ms + wait_ms
        self.heartbeat_ms = self.not_before_ms
