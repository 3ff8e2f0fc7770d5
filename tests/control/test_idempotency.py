"""Kept answers go when they are too old, a part of them at a time."""

from pathlib import Path

from fastilp.control.idempotency import KEPT_MS, PARTS, Call, Idempotency
from fastilp.storage.kinds import IDEMPOTENCY
from fastilp.storage.ledger import Ledger

CALLS = 1_000


def keep(ledger: Ledger, idempotency: Idempotency, number: int) -> None:
    call = Call(idempotency, f"{number * 2654435761 % 2**32:08x}", b"digest")
    ledger.transact(puts=call.puts(200, "text/plain", b"body"))


def test_what_is_too_old_is_forgotten(tmp_path: Path) -> None:
    now_ms = [0]
    ledger = Ledger.open(str(tmp_path))
    idempotency = Idempotency(ledger, lambda: now_ms[0])
    for number in range(CALLS):
        keep(ledger, idempotency, number)
    assert [idempotency.sweep() for _ in range(PARTS)] == [0] * PARTS
    now_ms[0] = KEPT_MS - 1
    for number in range(CALLS, CALLS + 10):
        keep(ledger, idempotency, number)
    now_ms[0] = KEPT_MS
    swept = [idempotency.sweep() for _ in range(PARTS)]
    # Evenly: no look takes long.
    assert sum(swept) == CALLS and max(swept) < CALLS // 50
    assert ledger.store is not None
    assert len(list(IDEMPOTENCY.items(ledger.store))) == 10
    ledger.close()
