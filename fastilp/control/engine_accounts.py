"""Accounts as settlement engines know them: created there, and deleted. Imports storage, errors,
accounts and engine_client.

What an engine is to know is written down, so that a node that ends, or an engine that is away for
days, changes nothing: it is told later. Nobody waits here for an engine.
"""

import asyncio
import dataclasses
import heapq
import logging
import random
import secrets
from collections.abc import Callable

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp.control.accounts import Puts
from fastilp.control.engine_client import EngineAnswer, EngineClient, EngineError, NotSentError
from fastilp.control.slices import set_within
from fastilp.errors import StorageError
from fastilp.storage.outbox import (
    CREATED,
    ENGINE_ACCOUNTS,
    GONE,
    UNWANTED,
    WANTED,
    EngineAccount,
    engine_account_name,
)

_log = logging.getLogger("fastilp.settlement")

_AT_ONCE_MAX = 16
_INTERVAL_MAX_MS = 3_600_000
_NOT_FOUND = 404


class EngineAccounts:
    """`is_pending`: whether a settlement of the account waits for its engine; it is deleted there
    after that."""

    def __init__(
        self,
        ledger: Ledger,
        client: EngineClient,
        *,
        first_interval_ms: int = 1_000,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._first_interval_ms = first_interval_ms
        self.is_pending: Callable[[bytes], bool] = lambda account_id: False
        # What is to be done, by name; and when by the loop's clock, in a heap.
        self._waiting: dict[str, EngineAccount] = {}
        self._tries: dict[str, int] = {}
        self._due: list[tuple[int, str]] = []
        self._telling: set[str] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many an engine is still to be told of."""
        return len(self._waiting)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        tasks = [*self._running, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def set(self, account_id: bytes, username: str, engine_url: str | None) -> None:
        """The engine of the account, or that it has none. Raises StorageError."""
        known = {record.engine_url: record for record in self._records(account_id)}
        for url, record in known.items():
            if url != engine_url:
                self._unwant(record)
        if engine_url is None:
            return
        wanted = known.get(engine_url)
        if wanted is None or wanted.state != CREATED:
            self._put(
                EngineAccount(account_id=account_id, username=username, engine_url=engine_url)
            )

    def leaving(self, account_id: bytes) -> Puts:
        """For the transaction in which the account goes, so that no end of the node comes between;
        `set` follows it."""
        if self._ledger.store is None:
            return []
        return [
            ENGINE_ACCOUNTS.put(dataclasses.replace(record, state=UNWANTED))
            for record in self._records(account_id)
            if record.state in (WANTED, CREATED)
        ]

    def page(self, after: EngineAccount | None, limit: int) -> list[EngineAccount]:
        """The first `limit` behind that one, of all that engines know, knew or are to know."""
        store = self._ledger.store
        if store is None:
            return []
        name = "" if after is None else engine_account_name(after.account_id, after.engine_url)
        return list(ENGINE_ACCOUNTS.page(store, "", name, limit))

    def restore(self) -> None:
        """Go on with what earlier runs have not ended."""
        store = self._ledger.store
        for record in ENGINE_ACCOUNTS.items(store) if store is not None else ():
            if record.state in (WANTED, UNWANTED):
                self._wait(record)

    async def ensure(self, account: Account, engine_url: str, *, again: bool = False) -> None:
        """Return once the engine knows the account; `again`: it says that it does not. Raises
        NotSentError."""
        name = engine_account_name(account.id, engine_url)
        record = self._record(name)
        if record is not None and record.state == CREATED and not again:
            return
        wanted = EngineAccount(account_id=account.id, username=account.name, engine_url=engine_url)
        try:
            answer = await self._create(wanted)
        except EngineError as error:
            raise NotSentError(f"the engine was not told of the account: {error}") from None
        if not answer.is_success:
            raise NotSentError(f"the engine does not take the account: {answer.text()}")
        now = self._record(name)
        if now is None or now.state in (WANTED, CREATED):
            self._ended(name, dataclasses.replace(wanted, state=CREATED))
        elif now.state == GONE:
            # It was deleted there already, and is known again for the sake of a settlement.
            self._put(dataclasses.replace(now, state=UNWANTED))

    # --- What waits -----------------------------------------------------------------------------

    def _put(self, record: EngineAccount) -> None:
        if self._ledger.store is not None:
            self._ledger.transact(puts=[ENGINE_ACCOUNTS.put(record)])
        self._wait(record)

    def _unwant(self, record: EngineAccount) -> None:
        """It is deleted there, behind its last settlement."""
        if record.state in (WANTED, CREATED):
            self._put(dataclasses.replace(record, state=UNWANTED))
        elif record.state == UNWANTED:
            waiting = self._waiting.get(engine_account_name(record.account_id, record.engine_url))
            if waiting is None or waiting.state != UNWANTED:
                self._wait(record)

    def _wait(self, record: EngineAccount) -> None:
        name = engine_account_name(record.account_id, record.engine_url)
        self._waiting[name] = record
        self._tries[name] = 0
        heapq.heappush(self._due, (0, name))
        self._changed.set()

    def _records(self, account_id: bytes) -> list[EngineAccount]:
        store = self._ledger.store
        if store is None:
            return [each for each in self._waiting.values() if each.account_id == account_id]
        beginning = f"{account_id.hex()}/"
        found = ENGINE_ACCOUNTS.raw(store, beginning)
        return [ENGINE_ACCOUNTS.unpack(key, value) for key, value, _ in found]

    def _record(self, name: str) -> EngineAccount | None:
        store = self._ledger.store
        if name in self._waiting or store is None:
            return self._waiting.get(name)
        return ENGINE_ACCOUNTS.get(store, name)

    def _ended(self, name: str, record: EngineAccount) -> None:
        self._waiting.pop(name, None)
        self._tries.pop(name, None)
        if self._ledger.store is not None:
            self._ledger.transact(puts=[ENGINE_ACCOUNTS.put(record)])

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            now_ms = _loop_ms()
            while self._due and self._due[0][0] <= now_ms and len(self._running) < _AT_ONCE_MAX:
                _, name = heapq.heappop(self._due)
                # Whoever is being told is looked at again behind that.
                if name in self._waiting and name not in self._telling:
                    self._telling.add(name)
                    task = asyncio.get_running_loop().create_task(self._tell(name))
                    self._running.add(task)
                    task.add_done_callback(self._told)
            delay_ms = _INTERVAL_MAX_MS
            if self._due and len(self._running) < _AT_ONCE_MAX:
                delay_ms = min(max(self._due[0][0] - now_ms, 1), _INTERVAL_MAX_MS)
            await set_within(self._changed, delay_ms / 1_000)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._changed.set()

    async def _tell(self, name: str) -> None:
        record = self._waiting[name]
        try:
            # Unless it is to be something else by now.
            if await self._tell_once(record) and self._waiting.get(name) is record:
                state = CREATED if record.state == WANTED else GONE
                if state == GONE:
                    self._create_elsewhere(record)
                self._ended(name, dataclasses.replace(record, state=state))
        except (EngineError, StorageError) as error:
            about = {"account": record.username, "engine": record.engine_url, "reason": str(error)}
            _log.info("an engine was not told of an account", extra=about)
        finally:
            self._telling.discard(name)
            self._again(name)

    def _create_elsewhere(self, gone: EngineAccount) -> None:
        """The account's engine now may be the very one, at another address: it has just forgotten
        the account. Any other one is told what it knows."""
        for record in self._records(gone.account_id):
            if record.engine_url != gone.engine_url and record.state in (WANTED, CREATED):
                self._put(dataclasses.replace(record, state=WANTED))

    async def _tell_once(self, record: EngineAccount) -> bool:
        """Whether the engine knows now. Raises EngineError."""
        if record.state == WANTED:
            answer = await self._create(record)
        elif self.is_pending(record.account_id):
            return False
        else:
            key = secrets.token_hex(16)
            answer = await self._client.delete_account(record.engine_url, record.account_id, key)
            if answer.status == _NOT_FOUND:
                return True
        if not answer.is_success:
            raise EngineError(answer.text())
        return True

    async def _create(self, record: EngineAccount) -> EngineAnswer:
        # An engine that has kept an answer to an old key would not look again.
        key = secrets.token_hex(16)
        return await self._client.create_account(record.engine_url, record.account_id, key)

    def _again(self, name: str) -> None:
        if name not in self._waiting:
            return
        tries = self._tries.get(name, 0)
        self._tries[name] = tries + 1
        interval_ms = min(self._first_interval_ms << min(tries, 32), _INTERVAL_MAX_MS)
        due_ms = _loop_ms() + round(interval_ms * random.uniform(0.5, 1.0))
        heapq.heappush(self._due, (due_ms, name))


def _loop_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1_000)
