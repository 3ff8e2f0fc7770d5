"""Answers to calls that carried an `Idempotency-Key`, so that a call that is sent again does
nothing again. Imports storage and _core.

An answer is written in the transaction of the change that it tells of. Only successes are kept: a
refused call has changed nothing, and may be tried again under the same key. Two calls with one key
at the same time are one call.
"""

import asyncio
import hmac
import time
from collections.abc import Callable
from hashlib import sha256

from fastilp._core.ledger import Ledger
from fastilp.control.accounts import Puts
from fastilp.errors import ConflictError
from fastilp.storage.kinds import IDEMPOTENCY, IdempotencyRecord

KEPT_MS = 24 * 3_600_000
# A clock that moves by more than this, beyond the time that has passed, was set.
_JUMP_MS = 60_000
# Ledger.transact takes at most 500 records.
_RECORDS_PER_CALL = 400
PARTS = 256


# Where there is one, a clock that goes on while the machine sleeps.
_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _steady_ms() -> int:
    return time.clock_gettime_ns(_STEADY_CLOCK) // 1_000_000


class TiedError(ConflictError):
    """The key was used for another call."""


class Idempotency:
    """`secret` is the node's: calls hold tokens, and whoever reads the disk must not be able to try
    them against what is kept. `now_ms` and `steady_ms`, the clock that nobody sets, are for
    tests."""

    def __init__(
        self,
        ledger: Ledger,
        secret: bytes,
        now_ms: Callable[[], int] = _now_ms,
        steady_ms: Callable[[], int] = _steady_ms,
    ) -> None:
        self._ledger = ledger
        self._secret = secret
        self._now_ms = now_ms
        self._steady_ms = steady_ms
        self._clocks_apart_ms = now_ms() - steady_ms()
        self._unswept_until_ms = steady_ms()
        self._running: dict[str, tuple[bytes, asyncio.Event]] = {}
        self._swept = 0

    async def begin(
        self, scope: str, key: str, call: bytes, *, is_known_until_swept: bool = False
    ) -> "Call | IdempotencyRecord":
        """A call to carry out, or the answer to the one that was. `scope` is whose key it is,
        `call` everything that makes two calls the same; `is_known_until_swept`: an answer counts
        for as long as it is there. Raises TiedError."""
        name = self._digest(f"{scope}\0{key}".encode("utf-8", "surrogateescape")).hex()
        digest = self._digest(call)
        while name in self._running:
            other, ended = self._running[name]
            if other != digest:
                raise TiedError(key)
            await ended.wait()
        record = self._kept(name)
        if record is not None and not is_known_until_swept and self._is_old(record):
            record = None
        if record is None:
            self._running[name] = (digest, asyncio.Event())
            return Call(self, name, digest)
        if record.input_hash != digest:
            raise TiedError(key)
        return record

    def _digest(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, text, sha256)

    def _kept(self, name: str) -> IdempotencyRecord | None:
        store = self._ledger.store
        return None if store is None else IDEMPOTENCY.get(store, name)

    def _is_old(self, record: IdempotencyRecord) -> bool:
        return record.expires_at_ms <= self._now_ms()

    def ended(self, name: str) -> None:
        _, ended = self._running.pop(name)
        ended.set()

    def put(
        self,
        name: str,
        digest: bytes,
        status: int,
        content_type: str,
        body: bytes,
        kept_ms: int = KEPT_MS,
    ) -> Puts:
        record = IdempotencyRecord(
            key_hash=name,
            input_hash=digest,
            status=status,
            content_type=content_type,
            body=body,
            expires_at_ms=self._now_ms() + kept_ms,
        )
        return [IDEMPOTENCY.put(record)]

    def sweep(self) -> int:
        """Forget what is too old of the next part of the keys; so many calls look at all of them.
        When the clock has been set, nothing for a day. Returns how many were forgotten."""
        store = self._ledger.store
        if store is None or self._is_clock_in_doubt():
            return 0
        now_ms = self._now_ms()
        # Names are hashes: their first two digits cut them into parts of a size.
        part, self._swept = f"{self._swept:02x}", (self._swept + 1) % PARTS
        old = [
            key
            for key, _, fields in IDEMPOTENCY.raw(store, part)
            if fields["expires_at_ms"] <= now_ms
        ][:_RECORDS_PER_CALL]
        if old:
            self._ledger.transact(deletes=old)
        return len(old)

    def _is_clock_in_doubt(self) -> bool:
        """What a clock that was set calls old may be a minute old: whoever had no answer asks again
        before the day is over."""
        steady_ms = self._steady_ms()
        apart_ms = self._now_ms() - steady_ms
        if abs(apart_ms - self._clocks_apart_ms) > _JUMP_MS:
            self._unswept_until_ms = steady_ms + KEPT_MS
        self._clocks_apart_ms = apart_ms
        return steady_ms < self._unswept_until_ms


class Call:
    """A call that is carried out now; `end` it whatever becomes of it."""

    def __init__(self, idempotency: Idempotency, name: str, digest: bytes) -> None:
        self._idempotency = idempotency
        self._name = name
        self._digest = digest

    def puts(self, status: int, content_type: str, body: bytes, kept_ms: int = KEPT_MS) -> Puts:
        """The record of its answer."""
        return self._idempotency.put(self._name, self._digest, status, content_type, body, kept_ms)

    def end(self) -> None:
        self._idempotency.ended(self._name)
