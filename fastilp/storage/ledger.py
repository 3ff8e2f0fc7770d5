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

    async def committed(self, ticket: int) -> None:
        """Return once `ticket` is on disk. Raises StorageError if that takes longer than 30 s."""
        if self.committed_ticket >= ticket:
            return
        if self.store is None:
            while self.committed_ticket < ticket:
                await asyncio.sleep(MANUAL_POLL_S)
            return
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, self.store.wait, ticket, COMMIT_WAIT_S):
            raise StorageError(
                f"{self.store.path}: a commit has not ended after {COMMIT_WAIT_S:.0f} s; "
                "look at the disk"
            )
