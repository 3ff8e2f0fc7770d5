"""Amounts as engines and connectors tell each other (RFC 38, Quantity), and exact arithmetic on
them. Imports errors.

Integers without bounds: a scale may be up to 255, so no difference of scales may overflow, and
nothing is ever rounded; what does not fit a scale is kept as a quantity of its own.
"""

import re
from dataclasses import dataclass
from typing import Any

from fastilp.errors import DecodeError

SCALE_MAX = 255
# 78 digits hold any number of 256 bits; the rest is for scales that are finer than any ledger's.
AMOUNT_DIGITS_MAX = 400

_DIGITS = re.compile(f"[0-9]{{1,{AMOUNT_DIGITS_MAX}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quantity:
    """`amount` times 10^-`scale` standard units."""

    amount: int
    scale: int

    @classmethod
    def of_json(cls, value: Any) -> "Quantity":
        """Of decoded JSON from the wire. Raises DecodeError in words for whoever sent it."""
        if not isinstance(value, dict):
            raise DecodeError('must be an object such as {"amount": "100", "scale": 9}')
        amount, scale = value.get("amount"), value.get("scale")
        if not isinstance(amount, str):
            raise DecodeError('"amount" must be a text of decimal digits, such as "100"')
        if not _DIGITS.fullmatch(amount):
            raise DecodeError(f'"amount" must be 1 to {AMOUNT_DIGITS_MAX} decimal digits')
        if not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= SCALE_MAX:
            raise DecodeError(f'"scale" must be a whole number from 0 to {SCALE_MAX}')
        return cls(int(amount), scale)

    def to_json(self) -> dict[str, Any]:
        return {"amount": str(self.amount), "scale": self.scale}

    def __add__(self, other: "Quantity") -> "Quantity":
        """At the finer of the two scales, as nothing would be lost there."""
        scale = max(self.scale, other.scale)
        return Quantity(self._amount_at(scale) + other._amount_at(scale), scale)

    def split(self, scale: int) -> tuple["Quantity", "Quantity"]:
        """What is whole at `scale`, and what is left over, at our own scale."""
        if self.scale <= scale:
            return Quantity(self._amount_at(scale), scale), Quantity(0, self.scale)
        units, rest = divmod(self.amount, 10 ** (self.scale - scale))
        return Quantity(units, scale), Quantity(rest, self.scale)

    def _amount_at(self, finer: int) -> int:
        # A power of an integer that the type checker takes for a float.
        return self.amount * int(10 ** (finer - self.scale))

    def __str__(self) -> str:
        return f"{self.amount}e-{self.scale}"
