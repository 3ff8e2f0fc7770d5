"""How much may be in flight, and when the next packet may leave. Plain arithmetic, imports nothing.

Two windows, of money and of packets. The money window starts with all there is to send: most paths
take it. T04 (no liquidity) halves it, once for all that was in flight; from then on it doubles per
round trip up to half of what failed, and grows by a tenth beyond, as TCP does. A run of refusals
without any success narrows the window on, but not what it returns to: a storm that passes leaves
nothing behind. T05 (rate limit) starts pacing at half of what got through lately. When flight after
flight is refused the next packet waits, 20 ms at first and half a second at last, so that a path
that has no money for a minute is asked twice a second and not a thousand times; less up to a half
at random, so that nobody keeps step with a limit that comes and goes.
"""

from random import Random

_PACKETS_START = 32
_PACKETS_MAX = 1_024
# A hop that refuses a third of all packets, whatever we do, is not to bring us to a halt.
_BUSY_FACTOR = 0.75
_WAIT_MIN_MS = 20
_WAIT_MAX_MS = 500
_PACE_MIN = 5.0
_PACE_START_MIN = 20.0
_PACE_START_MAX = 200.0


class Congestion:
    """`window` in source units. Feed it what was sent and what became of it; ask `room`."""

    def __init__(self, amount: int, random: Random | None = None) -> None:
        self.window = max(amount, 1)
        self.packets_window = float(_PACKETS_START)
        self.refusals_in_a_row = 0
        self.pace: float | None = None
        """Packets per second; None: as many as the windows allow."""
        self._random = random or Random()
        self._amount = max(amount, 1)
        self._threshold = self.window
        self._is_limited = False
        # Refusals of packets sent before the last reduction say nothing new.
        self._reduced_at = 0
        self._wait_until_ms = 0
        self._next_ms = 0.0
        self._lately: list[tuple[int, int]] = []

    def room(self, now_ms: int, amount_in_flight: int, packets_in_flight: int) -> int:
        """Source units that may leave now."""
        if self.wake_ms(now_ms) is not None or packets_in_flight >= int(self.packets_window):
            return 0
        return max(self.window - amount_in_flight, 0)

    def wake_ms(self, now_ms: int) -> int | None:
        """When a packet may leave that may not yet."""
        due = max(self._wait_until_ms, int(self._next_ms))
        return due if due > now_ms else None

    def sent(self, now_ms: int) -> None:
        if self.pace is not None:
            pause_ms = 1_000 / self.pace * self._random.uniform(0.75, 1.25)
            self._next_ms = max(self._next_ms, float(now_ms)) + pause_ms

    def fulfilled(self, amount: int, now_ms: int) -> None:
        self.refusals_in_a_row = 0
        self._wait_until_ms = 0
        self._note(now_ms)
        slow = self.window >= self._threshold
        self.window += max(amount // 10, 1) if slow else max(amount, 1)
        self.window = min(self.window, self._amount)
        self.packets_window = min(self.packets_window + 1, _PACKETS_MAX)
        if self.pace is not None:
            self.pace += max(self.pace / 100, 0.5)

    def no_liquidity(self, sequence: int, sequence_next: int, now_ms: int) -> None:
        if sequence < self._reduced_at:
            return
        if self.refusals_in_a_row == 0:
            self._threshold = max(self.window // 2, 1)
        self.window = max(self.window // 2, 1)
        self._is_limited = True
        self._refused(sequence_next, now_ms)

    def too_fast(self, sequence: int, sequence_next: int, now_ms: int) -> None:
        if sequence < self._reduced_at:
            return
        lately = float(sum(count for _, count in self._lately))
        start = min(max(lately, _PACE_START_MIN), _PACE_START_MAX)
        current = start if self.pace is None else self.pace
        self.pace = max(current / 2, _PACE_MIN)
        self._refused(sequence_next, now_ms)

    def busy(self, sequence: int, sequence_next: int, now_ms: int) -> None:
        """Any other reason to come back later: fewer packets at a time."""
        if sequence < self._reduced_at:
            return
        self.packets_window = max(self.packets_window * _BUSY_FACTOR, 1.0)
        self._refused(sequence_next, now_ms)

    def allow(self, amount: int) -> None:
        """Another payment on the same path: so much is there to send."""
        self._amount = max(amount, 1)
        if not self._is_limited:
            self.window = self._threshold = self._amount

    def start_with(self, amount: int) -> None:
        """More than this was refused before any money was sent."""
        self.window = self._threshold = max(min(amount, self.window), 1)
        self._is_limited = True

    def _refused(self, sequence_next: int, now_ms: int) -> None:
        self._reduced_at = sequence_next
        if self.refusals_in_a_row:
            wait_ms = min(_WAIT_MIN_MS << min(self.refusals_in_a_row - 1, 10), _WAIT_MAX_MS)
            self._wait_until_ms = now_ms + self._random.randint(wait_ms // 2, wait_ms)
        self.refusals_in_a_row += 1

    def _note(self, now_ms: int) -> None:
        """Successes of the last second, by the tenth of a second."""
        tenth = now_ms // 100
        if self._lately and self._lately[-1][0] == tenth:
            self._lately[-1] = (tenth, self._lately[-1][1] + 1)
        else:
            self._lately = [one for one in self._lately if one[0] > tenth - 10]
            self._lately.append((tenth, 1))
