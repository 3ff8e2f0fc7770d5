"""Payments that have arrived and are nobody's yet. Imports the neighbours.

They are *parked* under their owner, whom the ledger names (an address, a tag): they stop nothing,
and are credited when an account turns out to be the owner's, or a person says whose they are.
Anybody can send dust, so their number is bounded and a larger payment takes the place of the
smallest; what goes is in the log and on the ledger. Nothing that happens by itself looks at more
records than it changes.
"""

from typing import Any

import structlog

from fastilp.engines.backoff import now_ms
from fastilp.engines.context import OwnChange, Records
from fastilp.engines.errors import EngineError
from fastilp.engines.payments import unknown_account
from fastilp.engines.quantity import Quantity

PARKED_MAX = 10_000
_COUNT = "parked-count"
_PREFIX = "parked/"
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
    change.put(f"parked/{owner}/{key}", {"units": str(units), "parked_ms": now_ms(), **notes})
    change.put(_size_name(owner, key, units), {"owner": owner, "key": key})
    change.put(_COUNT, parked_count(change) + 1)


def credit_parked(change: OwnChange, account_id: str, owner: str, scale: int) -> None:
    """The owner is known now."""
    prefix = f"parked/{owner}/"
    for name, record in change.items(prefix):
        key, units = name.removeprefix(prefix), int(record["units"])
        change.credit(account_id, Quantity(units, scale), key)
        _forget(change, owner, key, units)


def credit_by_hand(change: OwnChange, account_id: str, key: str, scale: int) -> bool:
    """False, and nothing is done, if it was credited to this account before. Raises EngineError."""
    credited_to = change.credited_to(key)
    if credited_to is not None:
        if credited_to != account_id:
            message = f"the payment {key} was credited to the account {credited_to}"
            raise EngineError(message, status=409)
        return False
    # They are bounded, and a person asks seldom.
    found = [each for each in page(change, "", PARKED_MAX) if each[1] == key]
    if not found:
        raise EngineError(f"there is no parked payment {key}", status=404)
    if not change.has_account(account_id):
        raise unknown_account(account_id)
    owner, _, record = found[0]
    units = int(record["units"])
    change.credit(account_id, Quantity(units, scale), key)
    _forget(change, owner, key, units)
    return True


def page(records: Records, after: str, size: int) -> list[tuple[str, str, Any]]:
    """Owners, keys and records; `after` is "owner/key", or empty."""
    named = records.page(_PREFIX, f"{_PREFIX}{after}" if after else "", size)
    split = [(name.removeprefix(_PREFIX).rpartition("/"), record) for name, record in named]
    return [(owner, key, record) for (owner, _, key), record in split]


def parked_count(records: Records) -> int:
    return int(records.get(_COUNT) or 0)


def _forget(change: OwnChange, owner: str, key: str, units: int) -> None:
    change.delete(f"parked/{owner}/{key}")
    change.delete(_size_name(owner, key, units))
    change.put(_COUNT, parked_count(change) - 1)


def _size_name(owner: str, key: str, units: int) -> str:
    return f"parked-size/{units:0{_DIGITS}}/{owner}/{key}"
