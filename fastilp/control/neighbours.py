"""The node among its neighbours: one session for each account that may tell or hear routes, and
their work in turn. Imports session, routing and requests.

Has no clock of its own and no sockets: `node` tells of links, calls `tick` when `next_ms` has come
and `work` while it returns True; a simulation does the same in its own time. Promises that a step
of work takes a few milliseconds at most, and that each neighbour gets its turn.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from fastilp._core.books import Account
from fastilp._core.packet import Prepare, Reject
from fastilp._core.switch import Switch
from fastilp.control import ccp
from fastilp.control.ccp_receiver import HOLD_DOWN_MIN_MS
from fastilp.control.ccp_sender import Sender
from fastilp.control.neighbour import Neighbour
from fastilp.control.requests import Requests
from fastilp.control.routing import Routing
from fastilp.control.session import Answer, Job, Session, Surroundings
from fastilp.types import AccountDetails, Relation

# Routes that a step looks at.
_STEP = 32


@dataclass(frozen=True, slots=True)
class RoutingLimits:
    """Times of the route broadcast protocol, in the words of Interledger.rs."""

    route_broadcast_interval_ms: int = 30_000

    @property
    def hold_down_ms(self) -> int:
        """How long neighbours keep our routes without hearing of us."""
        return max(HOLD_DOWN_MIN_MS, self.route_broadcast_interval_ms * 3 // 2)


class Neighbours:
    """`answer` brings the answer to a punt to the switch; `wake` says that `next_ms` or `work` has
    changed."""

    def __init__(
        self,
        switch: Switch,
        routing: Routing,
        requests: Requests,
        *,
        now_ms: Callable[[], int],
        answer: Callable[[int, Answer], None],
        wake: Callable[[], None],
        limits: RoutingLimits | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.routing = routing
        self.requests = requests
        self.limits = limits or RoutingLimits()
        self.on_speaker: Callable[[Neighbour], None] = lambda near: None
        """Told of neighbours that call themselves something else than before."""
        self._switch = switch
        self._now_ms = now_ms
        self._wake = wake
        self._random_bytes = random_bytes
        self._sessions: dict[str, Session] = {}
        self._jobs: deque[Job] = deque()
        self._free_bits: list[int] = []
        self._bits = 0
        self._refused_by_gone: Counter[str] = Counter()
        self.table_id = random_bytes(ccp.TABLE_ID_SIZE)
        self._around = Surroundings(
            routing, requests, now_ms, answer, self._start, lambda near: self.on_speaker(near)
        )
        routing.start = self._start
        routing.announce_own()

    # --- Accounts -------------------------------------------------------------------------------

    def open(self, account: Account, details: AccountDetails, *, is_up: bool) -> None:
        """A new account, or one whose details have changed."""
        session = self._sessions.get(account.name)
        is_routing = details.routing_relation is not Relation.NON_ROUTING_ACCOUNT
        if session is not None and (session.near.account is not account or not is_routing):
            self.close(account.name)
            session = None
        if session is not None:
            before = session.near.standing()
            session.near.take(details)
            if session.near.standing() != before:
                session.change()
        elif is_routing:
            session = self._open(account, details)
        if session is not None and is_up and not session.is_up:
            session.up()
        self._wake()

    def _open(self, account: Account, details: AccountDetails) -> Session:
        near = Neighbour(account, details)
        near.usable = False
        near.slot = self._free_bits.pop() if self._free_bits else 1 << self._bits
        if near.slot == 1 << self._bits:
            self._bits += 1
        limits = self.limits
        interval_ms = limits.route_broadcast_interval_ms
        sender = Sender(self.table_id, interval_ms, limits.hold_down_ms)
        session = self._sessions[account.name] = Session(near, sender, self._around)
        self.routing.add_neighbour(near)
        return session

    def close(self, username: str) -> None:
        """The account is being closed; its routes go at once."""
        session = self._sessions.pop(username, None)
        if session is None:
            return
        near = session.near
        near.is_gone = True
        session.down()
        self.routing.remove_neighbour(near)
        self._refused_by_gone.update(near.refused)
        self._free_bits.append(near.slot)
        self._wake()

    def link(self, username: str, is_up: bool) -> None:
        """The account's way out has come up or gone down."""
        session = self._sessions.get(username)
        if session is not None:
            session.up() if is_up else session.down()
            self._wake()

    def circuit(self, username: str, is_open: bool) -> None:
        """The account gets no packets for a while, or gets them again: its routes stay, as the last
        ones."""
        session = self._sessions.get(username)
        if session is not None and session.near.usable == is_open:
            session.near.usable = not is_open and session.is_up
            self._start(self.routing.reorder(session.near))
            if not is_open:
                session.ask()
            self._wake()

    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def session(self, username: str) -> Session | None:
        return self._sessions.get(username)

    def refused(self) -> Counter[str]:
        """Of all neighbours together, by reason; those who have gone count, too."""
        total = Counter(self._refused_by_gone)
        for session in self._sessions.values():
            total.update(session.near.refused)
        return total

    # --- Packets --------------------------------------------------------------------------------

    def handle(self, request_id: int, account: Account, prepare: Prepare) -> Answer | None:
        """To a Prepare for `peer.route.`, without money and with the right condition. None: the
        answer follows."""
        session = self._sessions.get(account.name)
        if session is None:
            return self._no_session(prepare)
        if prepare.destination == ccp.CONTROL:
            answer: Answer | None = session.take_control(prepare)
        else:
            answer = session.take_update(request_id, prepare)
        self._wake()
        return answer

    def _no_session(self, prepare: Prepare) -> Answer:
        what = "send you no routes" if prepare.destination == ccp.CONTROL else "take none from you"
        message = f"you are no routing account here: we {what}"
        return Reject(code="F00", triggered_by=self._switch.address, message=message)

    # --- Time and work --------------------------------------------------------------------------

    def next_ms(self) -> int | None:
        """When `tick` has something to do; None: not until something happens."""
        times = (session.due_ms() for session in self._sessions.values())
        return min((each for each in times if each is not None), default=None)

    def tick(self) -> None:
        """Do what is due."""
        now_ms = self._now_ms()
        for session in self._sessions.values():
            due_ms = None if session.is_ticking else session.due_ms()
            if due_ms is not None and due_ms <= now_ms:
                # Where there is much to do it takes a while until it is its turn.
                session.is_ticking = True
                self._start(_ticked(session, now_ms))

    def work(self) -> bool:
        """One step of what is to be done. Whether there is more."""
        if self._jobs:
            job = self._jobs.popleft()
            if _advance(job):
                self._jobs.append(job)
        return bool(self._jobs)

    def _start(self, job: Job) -> None:
        self._jobs.append(job)
        self._wake()

    def readdress(self, address: str) -> None:
        """The node has another address: a new table, that everybody is told."""
        self.routing.readdress(address)
        self.table_id = self._random_bytes(ccp.TABLE_ID_SIZE)
        now_ms = self._now_ms()
        for session in self._sessions.values():
            session.sender.restart(self.table_id, now_ms)
            session.ask_anew()
        self._wake()


def _ticked(session: Session, now_ms: int) -> Iterator[None]:
    session.is_ticking = False
    session.tick(now_ms)
    yield


def _advance(job: Job) -> bool:
    """Some steps. Whether there are more."""
    # As many as there were: the last one asks, and is told that there is no other.
    return sum(1 for _ in islice(job, _STEP)) == _STEP
