"""Amounts as PayPal writes them, `"12.34"`, and exact units of them. Imports errors.

Never a fraction in binary: a cent that is rounded away is somebody's.
"""

import re

from fastilp.errors import DecodeError

# All others that PayPal has, have cents.
WITHOUT_DECIMALS = frozenset({"HUF", "JPY", "TWD"})
_VALUE = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,4}))?", re.ASCII)


def scale_of(currency: str) -> int:
    return 0 if currency in WITHOUT_DECIMALS else 2


def text_of(units: int, scale: int) -> str:
    if scale == 0:
        return str(units)
    whole, rest = divmod(units, int(10**scale))
    return f"{whole}.{rest:0{scale}}"


def units_of(value: object, scale: int) -> int:
    """Raises DecodeError, for parts of the smallest unit as well."""
    found = _VALUE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise DecodeError(f"{str(value)[:40]!r} is no amount")
    sign, whole, decimals = found[1], found[2], (found[3] or "").rstrip("0")
    if len(decimals) > scale:
        raise DecodeError(f"{found[0]!r} has parts of the smallest unit")
    units = int(whole + decimals.ljust(scale, "0"))
    return -units if sign else units
