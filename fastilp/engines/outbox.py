"""Work that is written down before it begins, and tried until it is done. Imports the neighbours.

A record of a table is `waiting` or `done`. Each waiting one has a task; so many of them work at a
time, the others wait for their turn or their next try. After a crash all waiting records are begun
again under the same names, so the work must be one that may be repeated.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from fastilp.engines.backoff import delay_ms, now_ms
from fastilp.engines.settings import EngineSettings
from fastilp.engines.store import Change, Store
from fastilp.errors import StorageError

WAITING, DONE = "waiting", "done"
# An operator hears of what has failed this often, and of each failure in the log.
FAILING_TRIES = 5
_NOTE_LENGTH_MAX = 300

Work = Callable[[str, Any], Awaitable[None]]
"""Gets a record's name and the record; returns when it is done, raises to be called again."""

_log = structlog.get_logger("fastilp.engine")


class Outbox:
    """Of one table of the store."""

    def __init__(
        self, store: Store, table: bytes, work: Work, settings: EngineSettings, at_a_time: int
    ) -> None:
        self._store = store
        self._table = table
        self._word = table.decode().removesuffix("s")
        self._work = work
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(at_a_time)
        self._added: list[str] = []
        self._running = False
        self.failing: dict[str, str] = {}
        """What has failed often, with its last error."""
        self.done_count = 0
        self.retried_count = 0

    def add(self, change: Change, name: str, record: dict[str, Any]) -> None:
        """In the caller's transaction; `wake` when it is committed."""
        fresh = {"state": WAITING, "tries": 0, "note": "", "created_ms": now_ms()}
        change.put(self._table, name, record | fresh)
        self._added.append(name)

    def start(self) -> None:
        """Begin with what an earlier process has left."""
        self._running = True
        with self._store.read() as view:
            waiting = [n for n, r in view.items(self._table) if r["state"] == WAITING]
        for name in waiting:
            self._begin(name)
        self._added.clear()

    def wake(self) -> None:
        """Begin with what has been added. A name whose transaction was undone ends by itself."""
        if self._running:
            while self._added:
                self._begin(self._added.pop())

    async def stop(self) -> None:
        """What is under way is cut off: its record says that it waits."""
        self._running = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def waiting_count(self) -> int:
        return len(self._tasks)

    def waiting(self) -> list[str]:
        """Names, in no order."""
        return list(self._tasks)

    def _begin(self, name: str) -> None:
        if name not in self._tasks:
            task = asyncio.create_task(self._run(name))
            self._tasks[name] = task
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _run(self, name: str) -> None:
        tries = 0
        while not await self._try(name, tries + 1):
            tries += 1
            wait_ms = delay_ms(
                tries, self._settings.retry_first_ms, self._settings.retry_longest_ms
            )
            await asyncio.sleep(wait_ms / 1_000)

    async def _try(self, name: str, tries: int) -> bool:
        """Whether there is nothing more to do."""
        try:
            async with self._turn:
                with self._store.read() as view:
                    record = view.get(self._table, name)
                if record is None or record["state"] == DONE:
                    return True
                await self._work(name, record)
                self._note(name, state=DONE, done_ms=now_ms(), note="")
        except Exception as error:
            # Whatever it was: money that is owed stays owed.
            self._failed(name, tries, error)
            return False
        self.failing.pop(name, None)
        self.done_count += 1
        _log.info(f"{self._word} done", key=name, tries=tries)
        return True

    def _failed(self, name: str, tries: int, error: Exception) -> None:
        note = _note_of(error)
        self.retried_count += 1
        _log.warning(f"{self._word} failed, will be tried again", key=name, tries=tries, why=note)
        if tries >= FAILING_TRIES:
            self.failing[name] = note
        try:
            self._note(name, tries=tries, note=note)
        except StorageError as refused:
            _log.error("the store refuses", why=str(refused))

    def _note(self, name: str, **changes: Any) -> None:
        with self._store.write() as change:
            record = change.get(self._table, name)
            if record is not None:
                change.put(self._table, name, record | changes)


def _note_of(error: Exception) -> str:
    """As JSON can have it: what others have said may hold anything."""
    text = str(error) or type(error).__name__
    return text[:_NOTE_LENGTH_MAX].encode(errors="replace").decode()
