"""A look at the ledger, again and again. Imports the neighbours.

What fails is looked at again after the same time: nothing is lost, as an engine's cursor stays
where it was.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger("fastilp.engine")


class Watcher:
    """`start` and `stop` once each."""

    def __init__(self, look: Callable[[], Awaitable[None]], every_ms: int, what: str) -> None:
        """`what` it looks at, for the log."""
        self._look = look
        self._every_s = every_ms / 1_000
        self._what = what
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""
        """Why the last look failed; empty if it did not."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
                self.trouble = ""
            except Exception as error:
                self.trouble = str(error) or type(error).__name__
                _log.warning(f"cannot look at {self._what}", why=self.trouble)
            await asyncio.sleep(self._every_s)
