"""How large a packet may be: what F08 teaches (RFC 27), with its data or without. Imports nothing.

With data a refusal names the maximum in the units of the hop that refused, which is converted by
the ratio of what that hop got to what we sent. Without, the bound lies between the largest packet
that passed and the smallest that was refused, and is found by halving that interval.
"""

from struct import Struct

AMOUNT_MAX = (1 << 64) - 1

_DATA = Struct(">QQ")
# Close enough: what is left of the interval is less than a sixteenth of what passes.
_PRECISION = 16


class PacketSize:
    """`maximum` is what to try now; packets up to `passed` are known to pass."""

    __slots__ = ("maximum", "passed", "refused", "is_known")

    def __init__(self) -> None:
        self.maximum = AMOUNT_MAX
        self.passed = 0
        self.refused = AMOUNT_MAX + 1
        self.is_known = False
        """A hop has named its maximum."""

    @property
    def is_bounded(self) -> bool:
        return self.refused <= AMOUNT_MAX

    @property
    def is_settled(self) -> bool:
        """No need to look closer."""
        if not self.is_bounded or self.is_known:
            return True
        return self.refused - self.passed <= self.passed // _PRECISION + 1

    def took(self, amount: int) -> None:
        """A packet of this amount got through."""
        if amount <= self.passed:
            return
        self.passed = amount
        if amount >= self.refused:
            # The limit was raised.
            self.refused = min(2 * amount, AMOUNT_MAX) + 1
            self.is_known = False
        if not self.is_known and self.is_bounded:
            self._halve()

    def refuse(self, amount: int, data: bytes) -> bool:
        """F08 for a packet of this amount. Whether there is something smaller to try."""
        if amount > self.refused:
            # Sent before we knew.
            return True
        before = self.maximum
        self.refused = amount
        if self.passed >= amount:
            # The limit was lowered.
            self.passed = 0
        named = self._named(amount, data)
        self.is_known = named > 0
        if named:
            self.maximum = min(self.maximum, named)
        else:
            self._halve()
        return self.maximum < before or amount > before

    def _named(self, amount: int, data: bytes) -> int:
        """The maximum in our units, 0 if the data names none that makes sense."""
        if len(data) != _DATA.size:
            return 0
        received, maximum = _DATA.unpack(data)
        if received == 0 or maximum >= received:
            return 0
        return int(amount * maximum // received)

    def _halve(self) -> None:
        if self.is_settled:
            self.maximum = max(self.passed, 1)
        elif self.passed:
            self.maximum = (self.passed + self.refused) // 2
        else:
            self.maximum = max(self.refused // 2, 1)
