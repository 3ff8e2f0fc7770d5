"""Answers to calls with an `Idempotency-Key` that are not settlements: those are kept with their
payment. Imports the neighbours.

The same key and call get the same answer without anything being done again, another call under the
key gets 409, and a call that comes while the first one is under way waits for it. Only successes
are kept: a refused call has changed nothing and may be tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import NamedTuple

from fastilp.engines.backoff import now_ms
from fastilp.engines.errors import EngineError
from fastilp.engines.store import ANSWERS, Store

# RFC 38: at least 24 hours since the last use.
KEPT_MS = 7 * 24 * 3_600_000


class Reply(NamedTuple):
    status: int
    content_type: str
    body: bytes


class Answers:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[str, tuple[str, asyncio.Event]] = {}

    async def once(
        self, key: str | None, call: bytes, act: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        """`call` is everything that makes two calls the same."""
        if key is None:
            return await act()
        digest = sha256(call).hexdigest()
        while key in self._running:
            other, ended = self._running[key]
            if other != digest:
                raise _tied()
            await ended.wait()
        kept = self._kept(key, digest)
        if kept is not None:
            return kept
        ended = asyncio.Event()
        self._running[key] = (digest, ended)
        try:
            reply = await act()
            self._keep(key, digest, reply)
        finally:
            del self._running[key]
            ended.set()
        return reply

    def sweep(self) -> int:
        """Forget what nobody has asked for in a long time. Returns how many."""
        before_ms = now_ms() - KEPT_MS
        with self._store.write() as change:
            old = [name for name, kept in change.items(ANSWERS) if kept["used_ms"] < before_ms]
            for name in old:
                change.delete(ANSWERS, name)
        return len(old)

    def _kept(self, key: str, digest: str) -> Reply | None:
        with self._store.write() as change:
            kept = change.get(ANSWERS, key)
            if kept is None:
                return None
            if kept["digest"] != digest:
                raise _tied()
            change.put(ANSWERS, key, kept | {"used_ms": now_ms()})
        return Reply(kept["status"], kept["type"], bytes.fromhex(kept["body"]))

    def _keep(self, key: str, digest: str, reply: Reply) -> None:
        record = {
            "digest": digest,
            "status": reply.status,
            "type": reply.content_type,
            "body": reply.body.hex(),
            "used_ms": now_ms(),
        }
        with self._store.write() as change:
            change.put(ANSWERS, key, record)


def _tied() -> EngineError:
    return EngineError("this Idempotency-Key was used for another call", status=409)
