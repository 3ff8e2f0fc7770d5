"""Amounts as settlement engines have them (RFC 38), and the exact way to whole units of an account.
Imports errors and storage.

A quantity is any number of digits at a scale from 0 to 255; nothing is rounded, and what is less
than a unit is kept.
"""

import json
import re
from typing import NamedTuple

from fastilp.errors import UsageError

SCALE_MAX = 255
# 10 ** 255 units of the largest account are 275 digits.
_DIGITS_MAX = 512
_RIGHT = 'send {"amount": "<decimal digits>", "scale": <0 to 255>}'


class Quantity(NamedTuple):
    """`amount` times 10 ** -`scale` standard units."""

    amount: int
    scale: int

    def json(self) -> bytes:
        return json.dumps({"amount": str(self.amount), "scale": self.scale}).encode()


class QuantityError(UsageError):
    """These bytes are no quantity."""


def parse_quantity(body: bytes) -> Quantity:
    """Raises QuantityError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise QuantityError(f"the body is no JSON; {_RIGHT}") from None
    if not isinstance(found, dict):
        raise QuantityError(f"the body is no JSON object; {_RIGHT}")
    amount, scale = found.get("amount"), found.get("scale")
    if not isinstance(amount, str) or not re.fullmatch(r"[0-9]+", amount):
        raise QuantityError(f"amount must be a text of decimal digits; {_RIGHT}")
    if len(amount) > _DIGITS_MAX:
        raise QuantityError(f"amount has more than {_DIGITS_MAX} digits")
    if isinstance(scale, bool) or not isinstance(scale, int) or not 0 <= scale <= SCALE_MAX:
        raise QuantityError(f"scale must be a whole number; {_RIGHT}")
    return Quantity(int(amount), scale)


def whole_units(quantity: Quantity, leftover: Quantity, scale: int) -> tuple[int, Quantity]:
    """How many units of `scale` both are together, and what is left: less than one of them, at the
    finest scale of all."""
    finest = max(quantity.scale, leftover.scale, scale)
    total = sum(each.amount * 10 ** (finest - each.scale) for each in (quantity, leftover))
    units, rest = divmod(total, 10 ** (finest - scale))
    return units, Quantity(rest, finest) if rest else Quantity(0, scale)
