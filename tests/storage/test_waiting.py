"""Waiting for the disk from coroutines."""

import asyncio
from pathlib import Path

from fastilp.storage.ledger import Ledger


def test_many_wait_for_the_disk_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        ledger = Ledger.open(str(tmp_path))
        tickets = [ledger.transact(puts=[(b"x:%d" % i, b"1")]) for i in range(500)]
        gone = asyncio.ensure_future(ledger.committed(tickets[-1]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(*(ledger.committed(ticket) for ticket in tickets))
        assert ledger.committed_ticket >= tickets[-1]
        ledger.close()

    asyncio.run(scene())
