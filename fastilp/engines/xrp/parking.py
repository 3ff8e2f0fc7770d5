"""Payments that have arrived with a tag that no account has, or none. Imports the framework.

They are *parked*: they stop nothing, and are credited when the account of their tag opens again.
All others are for a person to look at, who finds them in the log and in the figures.
"""

from typing import NamedTuple

import structlog

from fastilp.engines.context import OwnChange
from fastilp.engines.quantity import Quantity

# Of XRP: a drop is a millionth.
SCALE = 6
# Anybody can send dust; what is beyond this is in the log and on the ledger only.
PARKED_MAX = 10_000

_log = structlog.get_logger("fastilp.engine")


class Arrival(NamedTuple):
    """A payment to us. `key` names it for ever: the hash of its transaction."""

    key: str
    sender: str
    tag: int | None
    drops: int


def park(change: OwnChange, arrival: Arrival) -> None:
    name = f"parked/{arrival.key}"
    if change.get(name) is not None:
        return
    record = {"sender": arrival.sender, "tag": arrival.tag, "drops": str(arrival.drops)}
    _log.warning("payment of an unknown tag", key=arrival.key, **record)
    if len(change.items("parked/")) < PARKED_MAX:
        change.put(name, record)


def credit_parked(change: OwnChange, account_id: str, tag: int) -> None:
    for name, record in change.items("parked/"):
        if record["tag"] == tag:
            drops = Quantity(int(record["drops"]), SCALE)
            change.credit(account_id, drops, name.removeprefix("parked/"))
            change.delete(name)
