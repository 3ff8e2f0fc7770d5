"""What two Lightning engines say to each other, through their connectors. Imports errors.

    {"type": "invoice", "id": "<hex>", "sat": "500"}   the payer wants to pay so much
    {"invoice": "lnbc5u1p…"}                           the payee's answer

The same `id` is the same payment, however often it is asked for.
"""

import re
from typing import Any, NamedTuple

import orjson

from fastilp.errors import DecodeError

# All bitcoins that there will be.
SAT_MAX = 21_000_000 * 10**8
INVOICE_LENGTH_MAX = 7_000
_ID = re.compile(r"[0-9a-f]{16,64}", re.ASCII)
_DIGITS = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
# Bech32, whose first part names network and amount.
_INVOICE = re.compile(r"ln[a-z0-9]{20,}", re.ASCII)


class Wanted(NamedTuple):
    name: str
    sat: int


def question(wanted: Wanted) -> bytes:
    return orjson.dumps({"type": "invoice", "id": wanted.name, "sat": str(wanted.sat)})


def answer(invoice: str) -> bytes:
    return orjson.dumps({"invoice": invoice})


def wanted(raw: bytes) -> Wanted:
    """Raises DecodeError."""
    found = _object(raw)
    if found.get("type") != "invoice":
        raise DecodeError('"type" must be "invoice"')
    name, sat = found.get("id"), found.get("sat")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise DecodeError('"id" must be 16 to 64 digits of lower hex')
    if not isinstance(sat, str) or not _DIGITS.fullmatch(sat) or int(sat) > SAT_MAX:
        raise DecodeError(f'"sat" must be a text of digits, from 1 to {SAT_MAX}')
    return Wanted(name, int(sat))


def invoice(raw: bytes) -> str:
    """Raises DecodeError."""
    found = _object(raw).get("invoice")
    if not isinstance(found, str) or len(found) > INVOICE_LENGTH_MAX:
        raise DecodeError(f'"invoice" must be a text of at most {INVOICE_LENGTH_MAX} characters')
    lowered = found.lower()
    if not _INVOICE.fullmatch(lowered):
        raise DecodeError('"invoice" must be one of BOLT 11')
    return lowered


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise DecodeError("a message must be JSON") from None
    if not isinstance(found, dict):
        raise DecodeError("a message must be an object")
    return found
