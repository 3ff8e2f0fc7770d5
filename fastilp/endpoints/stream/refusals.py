"""When a payment has been refused long enough. Imports verdicts and progress.

Nothing is lost by a refused packet, so temporary refusals are only a matter of patience. A rate
below the minimum, or a receiver that does not want the money, is told apart from congestion by
whether the receiver itself says so; then a few packets decide, spread over some time.
"""

from fastilp.endpoints.stream.conversation import WRONG_FULFILLMENT, Answer
from fastilp.endpoints.stream.progress import Reason
from fastilp.endpoints.stream.verdicts import Verdict, told, verdict_of

Failure = tuple[Reason, str]

_LOW_RATE_COUNT = 5
_LOW_RATE_MS = 2_000
_REFUSED_COUNT = 20
_LIQUIDITY_PATIENCES = 2


class Refusals:
    """`progressed` whenever money or data came through, and when the receiver was found."""

    def __init__(self, patience_ms: int, now_ms: int) -> None:
        self.last: Answer | None = None
        self._patience_ms = patience_ms
        self._since_ms = now_ms
        self._is_known = False
        self._low_rates = 0
        self._low_since_ms = 0
        self._in_a_row = 0
        self._counted_to = 0

    def progressed(self, now_ms: int) -> None:
        self._since_ms = now_ms
        self._is_known = True
        self.last = None
        self._low_rates = self._in_a_row = 0

    def nothing_since(self, moment_ms: int) -> bool:
        return self._since_ms <= moment_ms

    @property
    def deadline_ms(self) -> int:
        patience_ms = self._patience_ms
        if self.last is not None and verdict_of(self.last.code) is Verdict.LESS_IN_FLIGHT:
            patience_ms *= _LIQUIDITY_PATIENCES
        return self._since_ms + patience_ms

    def timed_out(self, now_ms: int) -> Failure | None:
        if now_ms < self.deadline_ms:
            return None
        seconds = (now_ms - self._since_ms) / 1_000
        last = f"; the last answer was {told(self.last)}" if self.last is not None else ""
        return Reason.TIMED_OUT, f"nothing went through for {seconds:.0f} s{last}"

    def by_hop(self, answer: Answer, sequence: int, following: int) -> Failure | None:
        """A refusal that is not the receiver's, of packet `sequence`; the next one is
        `following`."""
        self.last = answer
        verdict = verdict_of(answer.code)
        if answer.code == WRONG_FULFILLMENT:
            return Reason.WRONG_FULFILLMENT, f"a packet came back with {told(answer)}"
        if verdict is Verdict.NO_ROUTE:
            # Where there was a way, there may be one again.
            failure = Reason.UNREACHABLE, f"no way to the receiver: {told(answer)}"
            return self._again(failure, sequence, following) if self._is_known else failure
        if verdict is Verdict.FINAL:
            return Reason.REJECTED, f"refused for good: {told(answer)}"
        if verdict in (Verdict.REFUSED, Verdict.TOO_LITTLE):
            return self._again((Reason.REJECTED, told(answer)), sequence, following)
        return None

    def at_the_start(self, answer: Answer) -> Failure:
        """The answer that ended the probing."""
        verdict = verdict_of(answer.code)
        if verdict is Verdict.TOO_LITTLE:
            return Reason.AMOUNT_TOO_SMALL, f"so little does not arrive: {told(answer)}"
        if verdict is Verdict.REFUSED:
            # The receiver's own refusals can be read by us.
            return Reason.REJECTED, f"refused by somebody without the shared secret: {told(answer)}"
        return self.by_hop(answer, 0, 0) or (Reason.REJECTED, f"no packet passes: {told(answer)}")

    def by_receiver(self, answer: Answer, sequence: int, following: int) -> Failure | None:
        """It got enough, and does not want it."""
        self.last = answer
        failure = Reason.REJECTED, f"the receiver takes no packet: {told(answer)}"
        return self._again(failure, sequence, following)

    def low_rate(self, answer: Answer, delivered: int, asked: int, now_ms: int) -> Failure | None:
        self.last = answer
        if self._low_rates == 0:
            self._low_since_ms = now_ms
        self._low_rates += 1
        lasting = now_ms - self._low_since_ms >= _LOW_RATE_MS
        if self._low_rates < _LOW_RATE_COUNT or not lasting:
            return None
        text = f"the rate fell: {delivered} of at least {asked} units would have arrived"
        return Reason.RATE_TOO_LOW, text

    def _again(self, failure: Failure, sequence: int, following: int) -> Failure | None:
        if sequence < self._counted_to:
            # Sent before the last one that counted was refused: it says the same.
            return None
        self._counted_to = following
        self._in_a_row += 1
        if self._in_a_row < _REFUSED_COUNT:
            return None
        return failure[0], f"{failure[1]}, {self._in_a_row} times in a row"
