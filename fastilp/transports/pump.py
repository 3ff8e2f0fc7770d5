"""The heart beat of a node: one call of `Switch.process` per turn of the event loop. Imports _core
only.

Whatever arrived on all sockets since the last turn is one batch: shells feed links and call
`wake()`, and the turn runs after the loop has served every ready socket. The pump then lets each
link with something to send flush once, and comes back by itself at the switch's next deadline or
when a commit has ended.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from fastilp._core.books import Account
from fastilp._core.link import Link
from fastilp._core.poller import Poller
from fastilp._core.switch import Switch

Event = tuple[str, Account | None, int]

_log = logging.getLogger("fastilp.pump")

# How fast the node's clock follows a changed wall clock: 1/1,000 of the time that passed.
SLEW_DIVISOR = 1_000
# Added to each delay: a timer that fires a fraction of a millisecond early finds nothing due.
_TIMER_SLACK_MS = 1


class Clock:
    """Unix time that never jumps: the wall clock at the start plus the monotonic clock, slewed
    towards the wall clock by at most 0.1 %, so that a step of the wall clock cannot expire
    everything in flight."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_ns = monotonic_ns()
        self._now_ns = wall_ns()

    def now_ms(self) -> int:
        """Unix time in milliseconds; never less than before."""
        monotonic_ns = self._monotonic_ns()
        elapsed_ns = monotonic_ns - self._last_ns
        self._last_ns = monotonic_ns
        self._now_ns += elapsed_ns
        slew_ns = elapsed_ns // SLEW_DIVISOR
        error_ns = self._wall_ns() - self._now_ns
        self._now_ns += max(-slew_ns, min(slew_ns, error_ns))
        return self._now_ns // 1_000_000


class Pump:
    """Drives one switch on the running event loop. `on_events` gets what `Switch.take_events`
    returned, if anything, once per turn."""

    def __init__(
        self,
        switch: Switch,
        on_events: Callable[[list[Event]], None] | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.switch = switch
        self.clock = clock or Clock()
        self.turns = 0
        self.poller = Poller(self.wake)
        """For sockets that the core reads."""
        self._on_events = on_events
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._held: deque[Callable[[], None]] = deque()
        self._fileno = switch.fileno()
        if self._fileno >= 0:
            self._loop.add_reader(self._fileno, self.wake)
        self._loop.add_reader(self.poller.fileno(), self.poller.serve)

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def wake(self) -> None:
        """Something arrived: run a turn once the loop has served what is ready. Any number of
        calls, one turn."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def hold(self, read_on: Callable[[], None]) -> None:
        """A connection has more than its share of a turn: `read_on` is called after it. One that
        finds no room then comes first after the next one."""
        self._held.append(read_on)
        self.wake()

    def close(self) -> None:
        """No more turns. The switch stays as it is."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fileno >= 0:
            self._loop.remove_reader(self._fileno)
            self._fileno = -1
        if self.poller.fileno() >= 0:
            self._loop.remove_reader(self.poller.fileno())
            self.poller.close()

    def _turn(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        self.turns += 1
        now_ms = self.clock.now_ms()
        try:
            self.switch.process(now_ms)
            self.switch.flush_links(self._flush_failed)
            self._turn_events()
            self._turn_held()
        except Exception:
            # Without a timer what is in flight would wait for somebody to send something.
            _log.exception("a turn failed")
        finally:
            self._turn_timer(now_ms)

    def _flush_failed(self, link: Link) -> None:
        # One account's shell must not stop the others' packets.
        _log.exception("flush failed", extra={"link": link.name})

    def _turn_held(self) -> None:
        """Round robin: whoever reads on and is held again comes after those who wait."""
        for _ in range(len(self._held)):
            if self.switch.turn_is_full():
                break
            try:
                self._held.popleft()()
            except Exception:
                _log.exception("a connection failed")
        if self._held:
            self.wake()

    def _turn_events(self) -> None:
        events = self.switch.take_events()
        if not events or self._on_events is None:
            return
        try:
            self._on_events(events)
        except Exception:
            _log.exception("events were not handled")

    def _turn_timer(self, now_ms: int) -> None:
        deadline_ms = self.switch.next_deadline_ms()
        if deadline_ms is None:
            return
        # A timer that is early finds nothing due and is set again; that is cheaper than one timer
        # per turn.
        if self._timer is not None and self._timer_ms <= deadline_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = deadline_ms
        delay_ms = max(deadline_ms - now_ms, 0) + _TIMER_SLACK_MS
        self._timer = self._loop.call_later(delay_ms / 1_000, self._turn_by_timer)

    def _turn_by_timer(self) -> None:
        self._timer = None
        if not self._scheduled:
            self._turn()
