"""Payments that reached the ledger and failed there. Imports the neighbours.

Such a payment costs its fee and moves nothing, and whether it fails may be up to the peer (a
contract that reverts, an account that refuses). So what a peer can burn is bounded: after one
failure its payments go one at a time, after a few they wait for hours, and all of that is forgotten
when one succeeds, or when the connector deletes the account.
"""

from fastilp.engines.backoff import now_ms
from fastilp.engines.context import OwnChange, Records
from fastilp.engines.errors import NotNowError

# So many are tried again like anything else that fails.
FREE = 3
WAIT_FIRST_MS = 3_600_000
WAIT_LONGEST_MS = 24 * 3_600_000
_DOUBLINGS_MAX = 10


def check(records: Records, account_id: str, busy: bool) -> None:
    """Raises NotNowError if the next payment must wait. `busy`: one is on its way."""
    known = records.get(f"failures/{account_id}")
    if known is None:
        return
    if busy:
        raise NotNowError("the last payment failed on the ledger; this one waits for another one")
    count = known["count"]
    if count < FREE:
        return
    doubled = WAIT_FIRST_MS << min(count - FREE, _DOUBLINGS_MAX)
    passed_ms = now_ms() - known["last_ms"]
    left_ms = min(doubled, WAIT_LONGEST_MS) - passed_ms
    # Before the failure: the clock has been set back, and nobody knows how long ago it was.
    if left_ms > 0 and passed_ms >= 0:
        minutes = left_ms // 60_000 + 1
        raise NotNowError(
            f"{count} payments in a row failed on the ledger, the last one because"
            f" {known['why']}; the next one is made in {minutes} minutes"
        )


def add(change: OwnChange, account_id: str, why: str) -> None:
    known = change.get(f"failures/{account_id}") or {"count": 0}
    record = {"count": known["count"] + 1, "last_ms": now_ms(), "why": why}
    change.put(f"failures/{account_id}", record)


def forget(change: OwnChange, account_id: str) -> None:
    change.delete(f"failures/{account_id}")
