"""Kept answers go when they are too old, a part of them at a time."""

import asyncio
from hashlib import sha256
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
    idempotency = Idempotency(ledger, b"secret", lambda: now_ms[0], lambda: now_ms[0])
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


def test_nothing_is_forgotten_for_a_day_after_the_clock_was_set(tmp_path: Path) -> None:
    now_ms, steady_ms = [0], [0]
    ledger = Ledger.open(str(tmp_path))
    idempotency = Idempotency(ledger, b"secret", lambda: now_ms[0], lambda: steady_ms[0])
    keep(ledger, idempotency, 1)
    now_ms[0] = 50 * 365 * KEPT_MS
    for steady in (1_000, KEPT_MS, KEPT_MS + 999):
        now_ms[0] += steady - steady_ms[0]
        steady_ms[0] = steady
        assert sum(idempotency.sweep() for _ in range(PARTS)) == 0
    now_ms[0] += 1
    steady_ms[0] += 1
    assert sum(idempotency.sweep() for _ in range(PARTS)) == 1
    ledger.close()


def test_what_is_kept_can_be_tried_by_nobody(tmp_path: Path) -> None:
    """A call holds tokens: whoever has the disk alone must not find out by guessing."""
    ledger = Ledger.open(str(tmp_path))
    body = b'{"ilp_over_http_outgoing_token":"sesame"}'

    async def keep_one(secret: bytes) -> None:
        call = await Idempotency(ledger, secret).begin("scope", "key", body)
        assert isinstance(call, Call)
        ledger.transact(puts=call.puts(200, "text/plain", b"body"))

    for secret in (b"one", b"another"):
        asyncio.run(keep_one(secret))
    assert ledger.store is not None
    kept = list(IDEMPOTENCY.items(ledger.store))
    assert len({record.key_hash for record in kept}) == 2
    assert len({record.input_hash for record in kept} | {sha256(body).digest()}) == 3
    ledger.close()
