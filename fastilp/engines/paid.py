"""What an engine remembers of the payments that it has made. Imports the neighbours.

The framework asks for a payment until it knows that it is made, and never again. Between the
ledger's word and that there may be a crash, and any time after it: what is still asked for is
remembered, the rest for some months, for a person to read.
"""

from typing import Any

from fastilp.engines.backoff import now_ms
from fastilp.engines.context import Context, OwnChange, Records

KEPT_MS = 90 * 24 * 3_600_000


def is_paid(records: Records, key: str) -> bool:
    return records.get(f"paid/{key}") is not None


def ledger_id(records: Records, key: str) -> str | None:
    """What it is called on the ledger, once made or on its way."""
    record = records.get(f"paid/{key}") or records.get(f"sent/{key}") or {}
    names = [record.get(name) for name in ("hash", "transaction", "batch")]
    newest = record.get("hashes", [None])[-1]
    return next((str(name) for name in [*names, newest] if name), None)


def note(change: OwnChange, key: str, **facts: Any) -> None:
    """It is made: what was on its way is not any more."""
    change.put(f"paid/{key}", {**facts, "done_ms": now_ms()})
    change.delete(f"sent/{key}")


def sweep(context: Context, kept_ms: int = KEPT_MS) -> list[Any]:
    """Forget what was done long ago. Returns the records of it."""
    before_ms, gone = now_ms() - kept_ms, []
    with context.change() as change:
        for name, record in change.items("paid/"):
            if record["done_ms"] < before_ms and not change.is_waiting(name.removeprefix("paid/")):
                change.delete(name)
                gone.append(record)
    return gone
