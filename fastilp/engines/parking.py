"""Payments that have arrived and are nobody's yet. Imports the neighbours.

They are *parked* under their owner, whom the ledger names (an address, a tag): they stop nothing,
and are credited when an account turns out to be the owner's. Anybody can send dust, so their number
is bounded and a larger payment takes the place of the smallest; what goes is in the log and on the
ledger. Nothing here looks at more records than it changes.
"""

from typing import Any

import structlog

from fastilp.engines.context import OwnChange, Records
from fastilp.engines.quantity import Quantity

PARKED_MAX = 10_000
_COUNT = "parked-count"
# Enough for any number of 256 bits: texts of one length are in the order of their numbers.
_DIGITS = 78

_log = structlog.get_logger("fastilp.engine")


def park(change: OwnChange, owner: str, key: str, units: int, **notes: Any) -> None:
    """`key` names the payment for ever, `notes` are for the reader of the store and the log."""
    if change.is_credited(key) or change.get(f"parked/{owner}/{key}") is not None:
        return
    _log.warning("payment of nobody", owner=owner, key=key, units=str(units), **notes)
    if parked_count(change) >= PARKED_MAX:
        _, smallest = change.first("parked-size/")
        kept = change.get(f"parked/{smallest['owner']}/{smallest['key']}")
        if int(kept["units"]) >= units:
            _log.error("no room to park a payment", owner=owner, key=key, units=str(units))
            return
        _log.error("a parked payment gives way to a larger one", units=kept["units"], **smallest)
        _forget(change, smallest["owner"], smallest["key"], int(kept["units"]))
    change.put(f"parked/{owner}/{key}", {"units": str(units), **notes})
    change.put(_size_name(owner, key, units), {"owner": owner, "key": key})
    change.put(_COUNT, parked_count(change) + 1)


def credit_parked(change: OwnChange, account_id: str, owner: str, scale: int) -> None:
    """The owner is known now."""
    prefix = f"parked/{owner}/"
    for name, record in change.items(prefix):
        key, units = name.removeprefix(prefix), int(record["units"])
        change.credit(account_id, Quantity(units, scale), key)
        _forget(change, owner, key, units)


def parked_count(records: Records) -> int:
    return int(records.get(_COUNT) or 0)


def _forget(change: OwnChange, owner: str, key: str, units: int) -> None:
    change.delete(f"parked/{owner}/{key}")
    change.delete(_size_name(owner, key, units))
    change.put(_COUNT, parked_count(change) - 1)


def _size_name(owner: str, key: str, units: int) -> str:
    return f"parked-size/{units:0{_DIGITS}}/{owner}/{key}"
