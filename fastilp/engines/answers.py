"""Answers to calls with an `Idempotency-Key` that are not settlements: those are kept with their
payment. Imports the neighbours.

The same key and call get the same answer without anything being done again, another call under the
key gets 409, and a call that comes while the first one is under way waits for it. Only successes
are kept: a refused call has changed nothing and may be tried again.

Calls about accounts are the connector's, and their answers are in the store for days. A message is
the peer's, as many as it likes: their answers are in memory for minutes, so many of each account.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, NamedTuple

from fastilp.engines.backoff import now_ms
from fastilp.engines.errors import EngineError
from fastilp.engines.store import ANSWERS, Change, Store

# RFC 38: at least 24 hours since the last use.
KEPT_MS = 7 * 24 * 3_600_000
# A connector repeats a message for as long as the packet lasts that brought it.
RECENT_S = 600
RECENT_MAX = 64
RECENT_BYTES_MAX = 1 << 17


class Reply(NamedTuple):
    status: int
    content_type: str
    body: bytes


class _Recent(NamedTuple):
    digest: str
    reply: Reply
    until_s: float


class Answers:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[str, tuple[str, asyncio.Event]] = {}
        self._recent: dict[str, OrderedDict[str, _Recent]] = {}
        """By account and key, the oldest first."""

    async def once(
        self,
        key: str | None,
        call: bytes,
        act: Callable[[], Awaitable[Reply]],
        messenger: str | None = None,
    ) -> Reply:
        """`call` is everything that makes two calls the same. `messenger`: the account that sends
        it as a message."""
        if key is None:
            return await act()
        digest = sha256(call).hexdigest()
        while key in self._running:
            other, ended = self._running[key]
            if other != digest:
                raise _tied()
            await ended.wait()
        kept = self._kept(key, digest, messenger)
        if kept is not None:
            return kept
        ended = asyncio.Event()
        self._running[key] = (digest, ended)
        try:
            reply = await act()
            if messenger is None:
                self._keep(key, digest, reply)
            else:
                self._keep_recent(messenger, key, digest, reply)
        finally:
            del self._running[key]
            ended.set()
        return reply

    async def sweep(self) -> None:
        """Forget what nobody has asked for in a long time."""
        before_ms = now_ms() - KEPT_MS

        def forget(change: Change, name: str, record: Any) -> None:
            if record["used_ms"] < before_ms:
                change.delete(ANSWERS, name)

        await self._store.walk(ANSWERS, forget)
        for account_id in list(self._recent):
            self._forget_recent(account_id)

    def _kept(self, key: str, digest: str, messenger: str | None) -> Reply | None:
        """Raises EngineError if it is that of another call."""
        if messenger is not None:
            self._forget_recent(messenger)
            recent = self._recent.get(messenger, OrderedDict()).get(key)
            if recent is not None and recent.digest != digest:
                raise _tied()
            return None if recent is None else recent.reply
        with self._store.write() as change:
            kept = change.get(ANSWERS, key)
            if kept is None:
                return None
            if kept["digest"] != digest:
                raise _tied()
            change.put(ANSWERS, key, kept | {"used_ms": now_ms()})
        return Reply(kept["status"], kept["type"], bytes.fromhex(kept["body"]))

    def _keep(self, key: str, digest: str, reply: Reply) -> None:
        if self._store.problem():
            # What is left is for payments: then the call would be done again.
            return
        record = {
            "digest": digest,
            "status": reply.status,
            "type": reply.content_type,
            "body": reply.body.hex(),
            "used_ms": now_ms(),
        }
        with self._store.write() as change:
            change.put(ANSWERS, key, record)

    def _keep_recent(self, account_id: str, key: str, digest: str, reply: Reply) -> None:
        kept = self._recent.setdefault(account_id, OrderedDict())
        kept[key] = _Recent(digest, reply, time.monotonic() + RECENT_S)
        size = sum(len(each.reply.body) for each in kept.values())
        while len(kept) > RECENT_MAX or size > RECENT_BYTES_MAX:
            _, oldest = kept.popitem(last=False)
            size -= len(oldest.reply.body)

    def _forget_recent(self, account_id: str) -> None:
        kept, now_s = self._recent.get(account_id), time.monotonic()
        if kept is None:
            return
        while kept and next(iter(kept.values())).until_s <= now_s:
            kept.popitem(last=False)
        if not kept:
            del self._recent[account_id]


def _tied() -> EngineError:
    return EngineError("this Idempotency-Key was used for another call", status=409)
