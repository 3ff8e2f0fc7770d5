"""One neighbour while its link is up: its receiver, its sender, its requests that wait for us.
Imports the rest of CCP, routing and requests.

The neighbour may send what it likes as fast as it likes: updates wait in a short inbox and are
worked off in small steps, which `Neighbours` gives to all of them in turn; what does not fit is
answered T05.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.control import ccp
from fastilp.control.ccp import Mode, RouteUpdate
from fastilp.control.ccp_receiver import Receiver, Verdict
from fastilp.control.ccp_sender import Plan, Sender
from fastilp.control.neighbour import Neighbour
from fastilp.control.requests import EXPIRY_MS, Requests
from fastilp.control.routing import Routing
from fastilp.errors import DecodeError
from fastilp.types import Relation

INBOX_MAX = 8
# A neighbour that does not want to send is asked again after a second, then after longer and longer
# times; a child up to an hour, for most are wallets. ilp-connector refuses for a moment while it
# starts.
_SYNC_RETRY_MIN_MS = 1_000
_SYNC_RETRY_MS = 30_000
_SYNC_RETRY_MAX_MS = 3_600_000
# Gaps come in rows, when updates were lost.
_GAP_SYNC_MS = 1_000

Answer = Fulfill | Reject
Job = Iterator[None]


@dataclass(slots=True)
class Surroundings:
    """What sessions share."""

    routing: Routing
    requests: Requests
    now_ms: Callable[[], int]
    answer: Callable[[int, Answer], None]
    """To a punt, by its id."""
    start: Callable[[Job], None]
    """Work that is done in steps."""
    on_speaker: Callable[[Neighbour], None]
    """A neighbour calls itself something else than before."""


class Session:
    def __init__(self, near: Neighbour, sender: Sender, around: Surroundings) -> None:
        self.near = near
        self.sender = sender
        self.receiver = Receiver()
        self.is_up = False
        self.is_ticking = False
        """A tick is among the work that waits."""
        self._around = around
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._is_working = False
        # Answers to requests of a connection before this one mean nothing.
        self._generation = 0
        self._sync_ms: int | None = None
        self._is_asking = False
        self._sync_failures = 0
        self._gap_sync_ms = 0

    # --- The link -------------------------------------------------------------------------------

    def up(self) -> None:
        """Connected, or connected again: ask for everything."""
        if self.is_up:
            self.down()
        self.is_up = self.near.usable = True
        self._sync_failures = 0
        self.ask()
        self._around.start(self._around.routing.reorder(self.near))

    def down(self) -> None:
        """What it has announced leads nowhere now."""
        self.is_up = self.near.usable = False
        self._generation += 1
        self._is_asking = False
        while self._inbox:
            request_id, _ = self._inbox.popleft()
            self._around.answer(request_id, self._link_lost())
        self._sync_ms = None
        self.sender.silence()
        self.receiver.reset()
        self._forget()
        self._around.start(self._around.routing.reorder(self.near))

    def ask(self) -> None:
        """Ask for its routes at the next tick, if we take any."""
        self._sync_ms = self._around.now_ms() if self.is_up and self.near.receives else None

    def ask_anew(self) -> None:
        """Filters look at routes as they come, and they have changed: it has to say them again."""
        self.receiver.reset()
        # What it said is replaced when it does.
        self.receiver.is_new_table = bool(self.near.learned)
        if self.near.receives:
            self.receiver.expect(self._around.now_ms())
        self.ask()

    def change(self) -> None:
        """The account's details are others: what it may tell and hear is, too."""
        if not self.near.receives:
            self._forget()
        if not self.near.sends:
            self.sender.silence()
        self.ask_anew()
        self._around.start(self._around.routing.reorder(self.near))

    # --- Time -----------------------------------------------------------------------------------

    def due_ms(self) -> int | None:
        """When `tick` has something to do."""
        if not self.is_up:
            return None
        times = [self.sender.due_ms(self._around.routing), self.receiver.deadline_ms]
        if not self._is_asking:
            times.append(self._sync_ms)
        return min((each for each in times if each is not None), default=None)

    def tick(self, now_ms: int) -> None:
        if not self.is_up:
            return
        deadline_ms = self.receiver.deadline_ms
        if deadline_ms is not None and now_ms >= deadline_ms:
            self._expire(now_ms)
        if self._sync_ms is not None and now_ms >= self._sync_ms and not self._is_asking:
            self._send_control()
        due_ms = self.sender.due_ms(self._around.routing)
        if due_ms is not None and now_ms >= due_ms:
            self._send_update(now_ms)

    def _expire(self, now_ms: int) -> None:
        """Not a word for too long."""
        if self.near.learned:
            self.near.refused["expired"] += len(self.near.learned)
        self.receiver.reset()
        self._forget()
        self._sync_ms = now_ms

    def _forget(self) -> None:
        if self.near.learned:
            self._around.start(self._around.routing.forget(self.near))

    # --- What we send ---------------------------------------------------------------------------

    def _send(self, destination: str, data: bytes, on_answer: Callable[[Answer], None]) -> None:
        generation = self._generation

        def answered(answer: Answer) -> None:
            if generation == self._generation:
                on_answer(answer)

        prepare = ccp.prepare(destination, data, self._around.now_ms() + EXPIRY_MS)
        self._around.requests.send(self.near.account, prepare, answered)

    def _send_control(self) -> None:
        self._is_asking = True
        self._sync_ms = None
        data = ccp.encode_control(self.receiver.wanted())
        self._send(ccp.CONTROL, data, self._on_control_answer)

    def _on_control_answer(self, answer: Answer) -> None:
        self._is_asking = False
        now_ms = self._around.now_ms()
        if isinstance(answer, Fulfill):
            self._sync_failures = 0
            self.receiver.expect(now_ms)
            return
        self._sync_failures += 1
        # It was lost, or the peer does not know its neighbours yet: soon again, at first.
        is_final = answer.code[0] == "F" and self.near.relation is Relation.CHILD
        wait_max_ms = _SYNC_RETRY_MAX_MS if is_final else _SYNC_RETRY_MS
        wait_ms = min(_SYNC_RETRY_MIN_MS * 2 ** min(self._sync_failures - 1, 20), wait_max_ms)
        self._sync_ms = now_ms + wait_ms

    def _send_update(self, now_ms: int) -> None:
        routing = self._around.routing
        plan = self.sender.plan(self.near, routing, now_ms)
        if plan is None:
            return
        self.sender.began(plan, self.near, routing, now_ms)
        self._send(ccp.UPDATE, plan.data, lambda answer: self._on_update_answer(plan, answer))

    def _on_update_answer(self, plan: Plan, answer: Answer) -> None:
        if isinstance(answer, Fulfill):
            self.sender.ended(plan, self.near, self._around.routing)
        else:
            is_final = answer.code[0] == "F"
            self.sender.failed(plan, is_final=is_final, now_ms=self._around.now_ms())

    # --- What it sends --------------------------------------------------------------------------

    def take_control(self, prepare: Prepare) -> Answer:
        if not self.near.sends:
            return self._refuse("F00", "no_sender", "we send you no routes")
        try:
            control = ccp.decode_control(prepare.data)
        except DecodeError as error:
            return self._refuse("F01", "malformed", f"invalid route control: {error}")
        self._notice()
        if control.mode is Mode.IDLE:
            self.sender.mode = Mode.IDLE
        else:
            if control.table_id == ccp.NO_TABLE and self.receiver.table_id != ccp.NO_TABLE:
                # It was started anew, and over HTTP nothing else tells.
                self.ask()
            self.sender.sync(control, self.near, self._around.routing, self._around.now_ms())
        return ccp.ANSWER

    def take_update(self, request_id: int, prepare: Prepare) -> Answer | None:
        """None: the answer follows."""
        if not self.near.receives:
            return self._refuse("F00", "no_receiver", "we take no routes from you")
        if len(self._inbox) >= INBOX_MAX:
            return self._refuse("T05", "flood", f"{INBOX_MAX} of your updates wait already")
        self._notice()
        self._inbox.append((request_id, prepare.data))
        if not self._is_working:
            self._is_working = True
            self._around.start(self._work_off())
        return None

    def _notice(self) -> None:
        """Whoever speaks is there, whatever its links say: over HTTP there is no other sign."""
        if not self.is_up:
            self.up()

    def _work_off(self) -> Job:
        try:
            while self._inbox:
                generation = self._generation
                request_id, data = self._inbox.popleft()
                answer = yield from self._apply(data, generation)
                self._around.answer(request_id, answer)
        finally:
            # Whatever a route has done: the next update starts the work again.
            self._is_working = False

    def _apply(self, data: bytes, generation: int) -> Generator[None, None, Answer]:
        near, now_ms = self.near, self._around.now_ms()
        try:
            update = ccp.decode_update(data)
        except DecodeError as error:
            return self._refuse("F01", "malformed", f"invalid route update: {error}")
        yield
        if generation != self._generation:
            return self._link_lost()
        verdict = self.receiver.judge(update, now_ms)
        if verdict is Verdict.APPLY:
            yield from self._change_routes(update)
            if generation != self._generation:
                return self._link_lost()
            self._note_speaker(update.speaker)
            return ccp.ANSWER
        near.refused[verdict.value] += 1
        if verdict is Verdict.GAP and self._sync_ms is None and not self._is_asking:
            # At once, but once a second: they come in rows.
            self._sync_ms = max(now_ms, self._gap_sync_ms)
            self._gap_sync_ms = self._sync_ms + _GAP_SYNC_MS
        return ccp.ANSWER

    def _change_routes(self, update: RouteUpdate) -> Iterator[None]:
        near, routing = self.near, self._around.routing
        if self.receiver.is_new_table:
            self.receiver.is_new_table = False
            self._forget()
        generation = self._generation
        for prefix in update.withdrawn:
            if generation != self._generation:
                return
            routing.withdraw(near, prefix)
            yield
        for route in update.new_routes:
            if generation != self._generation:
                # The link was lost meanwhile.
                return
            if objection := near.objection(route, routing.own):
                near.refused[objection] += 1
                # What it said before of this prefix is not true any more.
                routing.withdraw(near, route.prefix)
            else:
                routing.learn(near, route)
            yield

    def _note_speaker(self, speaker: str) -> None:
        if speaker != self.near.speaker and len(speaker) <= 1_023:
            self.near.speaker = speaker
            self._around.on_speaker(self.near)

    def _link_lost(self) -> Reject:
        return self._refuse("T01", "link_down", "the link was lost")

    def _refuse(self, code: str, reason: str, message: str) -> Reject:
        self.near.refused[reason] += 1
        address = self._around.routing.own.address
        return Reject(code=code, triggered_by=address, message=message[:200])
