"""The public `Ledger`: the core's, and a way to wait for a commit from a coroutine.

The core knows no event loop; waiting for the disk is the store's `wait`, which needs no GIL, on a
thread of the loop's executor. That is for control, which writes rarely; the data path never waits
(docs/ledger.md). May import `_core` and errors."""

import asyncio

from fastilp._core.ledger import Ledger as CoreLedger
from fastilp.errors import StorageError

COMMIT_WAIT_S = 30.0
# A memory ledger with manual commits has nobody to wake us; it is for tests.
MANUAL_POLL_S = 0.001


class Ledger(CoreLedger):
    """Accounts' counters in memory, made to last by LMDB. See `fastilp._core.ledger.Ledger`."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._waiter: asyncio.Task[None] | None = None

    async def committed(self, ticket: int) -> None:
        """Return once `ticket` is on disk. Raises StorageError if that takes longer than 30 s."""
        if self.committed_ticket >= ticket:
            return
        if self.store is None:
            while self.committed_ticket < ticket:
                await asyncio.sleep(MANUAL_POLL_S)
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((ticket, done))
        if self._waiter is None:
            self._waiter = loop.create_task(self._wait_for_all())
        await done

    async def _wait_for_all(self) -> None:
        """One thread waits, however many coroutines do."""
        try:
            while self._waiting:
                first = min(ticket for ticket, _ in self._waiting)
                error = await self._wait_for_one(first)
                reached = max(first, self.committed_ticket)
                ended = [done for ticket, done in self._waiting if ticket <= reached]
                self._waiting = [each for each in self._waiting if each[0] > reached]
                for done in ended:
                    _end(done, error)
        finally:
            self._waiter = None

    async def _wait_for_one(self, ticket: int) -> StorageError | None:
        assert self.store is not None
        loop = asyncio.get_running_loop()
        try:
            if await loop.run_in_executor(None, self.store.wait, ticket, COMMIT_WAIT_S):
                return None
        except StorageError as error:
            return error
        return StorageError(
            f"{self.store.path}: a commit has not ended after {COMMIT_WAIT_S:.0f} s; "
            "look at the disk"
        )


def _end(done: asyncio.Future[None], error: StorageError | None) -> None:
    if done.done():
        # Whoever waited has gone.
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
