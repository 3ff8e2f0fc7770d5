"""The connector's accounts, as the engine knows them. Imports the neighbours.

An account is taken at once and set up with the peer as soon as the peer can be reached: the two
connectors start in some order, and neither must wait for the other. What is asked of an account
before it is set up is taken as well, and done later. One that is deleted takes nothing more, and
goes when everything that it is owed has been paid.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from fastilp.engines.backoff import delay_ms
from fastilp.engines.base import Engine
from fastilp.engines.errors import EngineError, NotNowError
from fastilp.engines.outbox import FAILING_TRIES
from fastilp.engines.payments import is_owed, unknown_account
from fastilp.engines.settings import EngineSettings
from fastilp.engines.store import ACCOUNTS, Store

# Connectors give up after 5 seconds; what takes longer goes on without them.
ANSWER_AFTER_S = 3
_NOTE_LENGTH_MAX = 300

_log = structlog.get_logger("fastilp.engine")


class Accounts:
    def __init__(self, store: Store, engine: Engine[Any], settings: EngineSettings) -> None:
        self._store = store
        self._engine = engine
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failing: dict[str, str] = {}
        """Accounts that do not get ready, or do not go, with the last error."""

    def start(self) -> None:
        """Go on where an earlier process has ended."""
        with self._store.read() as view:
            accounts = view.items(ACCOUNTS)
        for account_id, record in accounts:
            if record["closing"]:
                self._begin(account_id, self._close).cancel()
            elif not record["ready"]:
                self._begin(account_id, self._set_up).cancel()

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, account_id: str) -> None:
        """Returns when it is taken, at best when it is set up. Raises EngineError if the peer was
        reached and will not do, StorageError if there is no room for it."""
        with self._store.read() as view:
            is_new = view.get(ACCOUNTS, account_id) is None
        if is_new:
            self._store.check_room()
        with self._store.write() as change:
            record = change.get(ACCOUNTS, account_id) or {"ready": False, "closing": False}
            # One that is being closed begins anew: who knows how far that has come.
            ready = record["ready"] and not record["closing"]
            change.put(ACCOUNTS, account_id, {"ready": ready, "closing": False})
        if not ready:
            await self._at_best(self._begin(account_id, self._set_up))

    async def delete(self, account_id: str) -> None:
        with self._store.write() as change:
            record = change.get(ACCOUNTS, account_id)
            if record is None or record["closing"]:
                raise unknown_account(account_id)
            change.put(ACCOUNTS, account_id, record | {"closing": True})
        await self._at_best(self._begin(account_id, self._close))

    def check(self, account_id: str) -> None:
        """Raises EngineError if there is no such account."""
        with self._store.read() as view:
            record = view.get(ACCOUNTS, account_id)
        if record is None or record["closing"]:
            raise unknown_account(account_id)

    @property
    def unready_count(self) -> int:
        return len(self._tasks)

    def _begin(
        self, account_id: str, step: Callable[[str], Awaitable[None]]
    ) -> asyncio.Future[None]:
        """Repeat the step until it succeeds. The future knows what became of the first try; it is
        cancelled when nobody wants to know."""
        if account_id in self._tasks:
            self._tasks[account_id].cancel()
        self.failing.pop(account_id, None)
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._repeat(account_id, step, first))
        self._tasks[account_id] = task
        task.add_done_callback(lambda ended: self._ended(account_id, ended))
        return first

    def _ended(self, account_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(account_id) is task:
            del self._tasks[account_id]

    async def _repeat(
        self,
        account_id: str,
        step: Callable[[str], Awaitable[None]],
        first: asyncio.Future[None],
    ) -> None:
        tries = 0
        while True:
            try:
                await step(account_id)
            except Exception as error:
                tries += 1
                if self._failed(account_id, tries, error, first):
                    return
            else:
                self.failing.pop(account_id, None)
                _settle(first, None)
                return
            _settle(first, None)
            wait_ms = delay_ms(
                tries, self._settings.retry_first_ms, self._settings.retry_longest_ms
            )
            await asyncio.sleep(wait_ms / 1_000)

    def _failed(
        self, account_id: str, tries: int, error: Exception, first: asyncio.Future[None]
    ) -> bool:
        """Whether that was the end of it. A refusal is, but only where a caller is told: nobody
        else would ask again, and one wrong answer must not end an account for ever."""
        why = str(error) or type(error).__name__
        is_refusal = isinstance(error, EngineError) and not isinstance(error, NotNowError)
        is_final = is_refusal and not first.done()
        _log.warning("account is not ready", account=account_id, why=why, final=is_final)
        if is_refusal or tries >= FAILING_TRIES:
            self.failing[account_id] = why[:_NOTE_LENGTH_MAX]
        if is_final:
            _settle(first, error)
        return is_final

    async def _at_best(self, first: asyncio.Future[None]) -> None:
        await asyncio.wait({first}, timeout=ANSWER_AFTER_S)
        if first.done() and not first.cancelled():
            first.result()
        first.cancel()

    async def _set_up(self, account_id: str) -> None:
        await self._engine.create_account(account_id)
        with self._store.write() as change:
            record = change.get(ACCOUNTS, account_id)
            if record is not None:
                change.put(ACCOUNTS, account_id, record | {"ready": True})
        _log.info("account is ready", account=account_id)

    async def _close(self, account_id: str) -> None:
        with self._store.read() as view:
            if is_owed(view, account_id):
                raise NotNowError("payments to it are still to be made")
        await self._engine.delete_account(account_id)
        with self._store.write() as change:
            change.delete(ACCOUNTS, account_id)
        _log.info("account is gone", account=account_id)


def _settle(first: asyncio.Future[None], error: Exception | None) -> None:
    if first.done():
        return
    if error is None:
        first.set_result(None)
    else:
        first.set_exception(error)
        # Nobody may be waiting any more.
        first.exception()
