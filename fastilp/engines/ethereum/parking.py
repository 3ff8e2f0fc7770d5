"""Payments that have arrived, and whose they are. Imports the framework.

One from an address that no account has is *parked*: it stops nothing, and is credited when an
account turns out to own the address.
"""

from typing import NamedTuple

import structlog

from fastilp.engines.context import OwnChange
from fastilp.engines.quantity import Quantity

# Anybody can send dust; what is beyond this is in the log and on the chain only.
PARKED_MAX = 10_000

_log = structlog.get_logger("fastilp.engine")


class Arrival(NamedTuple):
    """A payment to us. `key` names it for ever: the hash of its transaction."""

    key: str
    sender: str
    units: int


def take(change: OwnChange, arrival: Arrival, asset_scale: int) -> None:
    account_id = change.get(f"address/{arrival.sender}")
    if account_id is not None:
        change.credit(account_id, Quantity(arrival.units, asset_scale), arrival.key)
        return
    name = f"parked/{arrival.key}"
    if change.get(name) is not None:
        return
    _log.warning(
        "payment of an unknown sender",
        key=arrival.key,
        sender=arrival.sender,
        units=str(arrival.units),
    )
    if len(change.items("parked/")) < PARKED_MAX:
        change.put(name, {"sender": arrival.sender, "units": str(arrival.units)})


def credit_parked(change: OwnChange, account_id: str, address: str, asset_scale: int) -> None:
    for name, record in change.items("parked/"):
        if record["sender"] == address:
            units = Quantity(int(record["units"]), asset_scale)
            change.credit(account_id, units, name.removeprefix("parked/"))
            change.delete(name)
