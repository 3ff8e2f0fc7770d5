"""What comes out of what goes in: the exchange rate of a path, from what receivers say they got.

Plain arithmetic, exact. A packet of s source units of which d arrived says that the rate lies from
d / s to below (d + n) / s, since each of n hops rounds down. Observations that agree narrow the
interval; one that does not agree replaces it, for the rate has changed. Imports sizing.
"""

from fractions import Fraction

from fastilp.endpoints.stream.sizing import AMOUNT_MAX

# Hops that round down, each by less than a unit, before we take the difference for another rate.
_ROUNDINGS = 3
_SLACK_MIN = Fraction(1, 16)


def ceil_of(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def floor_of(value: Fraction) -> int:
    return value.numerator // value.denominator


class RateEstimate:
    """`lower` is None before the first observation. A path of several hops rounds several times:
    `slack`, in destination units, is what that was seen to cost a packet."""

    __slots__ = ("lower", "slack", "upper")

    def __init__(self) -> None:
        self.lower: Fraction | None = None
        self.upper: Fraction | None = None
        self.slack = Fraction(0)

    def observe(self, source: int, delivered: int) -> None:
        if source <= 0:
            return
        lower, upper = Fraction(delivered, source), Fraction(delivered + _ROUNDINGS, source)
        if self.lower is not None and self.upper is not None:
            agreed = max(lower, self.lower), min(upper, self.upper)
            if agreed[0] < agreed[1]:
                lower, upper = agreed
        self.lower, self.upper = lower, upper

    def rounded(self, source: int, delivered: int) -> None:
        """So little arrived that the packet was refused: if it is a matter of rounding, allow for
        more of it."""
        if self.lower is None or self.slack >= _ROUNDINGS:
            return
        if self.expected(source) - delivered <= _ROUNDINGS:
            self.slack = max(2 * self.slack, _SLACK_MIN)

    def expected(self, source: int) -> int:
        """What arrives at least of so much, if the rate stays."""
        if self.lower is None:
            return 0
        if not self.slack:
            return source * self.lower.numerator // self.lower.denominator
        return max(floor_of(source * self.lower - self.slack), 0)

    def needed(self, delivery: int) -> int | None:
        """The least that has to be sent so that so much arrives; None if no amount will do."""
        if not self.lower:
            return None
        return ceil_of((delivery + self.slack) / self.lower)

    def aligned(self, source: int) -> int:
        """The least that delivers what `source` delivers: the rest would be lost to rounding."""
        delivery = self.expected(source)
        needed = self.needed(delivery) if delivery else None
        return source if needed is None else needed


class Bounds:
    """The least that a sender puts up with, per packet and in all.

    A packet asks for its share, rounded up. Where rounding alone makes that impossible, it asks for
    what it can deliver, as long as the whole payment keeps to the minimum rate.
    """

    __slots__ = ("minimum", "_rate", "_source", "_delivery")

    def __init__(self, rate: RateEstimate, minimum: Fraction) -> None:
        self.minimum = minimum
        self._rate = rate
        # What packets that were fulfilled or are in flight carry, and what they ask for.
        self._source = 0
        self._delivery = 0

    def asked(self, source: int) -> int | None:
        """What a packet has to deliver; None if rounding would cost more than is allowed."""
        strict = ceil_of(source * self.minimum)
        if self._rate.expected(source) >= strict:
            return strict
        if self.is_too_low:
            return strict
        possible = self._rate.expected(source)
        in_all = floor_of((self._source + source) * self.minimum)
        return possible if possible > 0 and self._delivery + possible >= in_all else None

    def least(self) -> int:
        """So much surely delivers its share, in spite of rounding; 0 if no amount surely does."""
        lower = self._rate.lower
        if lower is None or lower <= self.minimum:
            return 0
        return ceil_of(1 / (lower - self.minimum))

    def most(self) -> int:
        """A packet of more would have to deliver what no packet can."""
        return floor_of(AMOUNT_MAX / self.minimum)

    @property
    def is_too_low(self) -> bool:
        """The rate itself, not rounding, is below the minimum."""
        return self._rate.upper is not None and self._rate.upper <= self.minimum

    def sent(self, source: int, asked: int) -> None:
        self._source += source
        self._delivery += asked

    def refused(self, source: int, asked: int) -> None:
        self._source -= source
        self._delivery -= asked

    def fulfilled(self, asked: int, delivered: int) -> None:
        """More than was asked for makes room for later rounding."""
        self._delivery += delivered - asked
