"""Records that leave the node: to a webhook or a file of JSON lines. Imports errors only.

A sink has a queue that is bounded; what does not fit is dropped and counted, so that a slow reader
stops nobody. The HTTP client is aiohttp, the file is written in a thread.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp
import orjson

_log = logging.getLogger("fastilp.sinks")

_BATCH = 1_000
_RETRIES = 3
_PAUSE_SECONDS = 0.5


class Writer(Protocol):
    """Raises OSError or aiohttp.ClientError."""

    async def write(self, records: Sequence[dict[str, Any]]) -> None: ...
    async def close(self) -> None: ...


class JsonLines:
    """Appends a line for each record, opened for each batch: the file may be moved away."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def write(self, records: Sequence[dict[str, Any]]) -> None:
        lines = b"".join(orjson.dumps(record) + b"\n" for record in records)
        await asyncio.to_thread(self._append, lines)

    def _append(self, lines: bytes) -> None:
        with open(self._path, "ab") as file:
            file.write(lines)

    async def close(self) -> None:
        """Nothing is kept open."""


class Webhook:
    """POSTs a batch as a JSON array; anything but 2xx is a failure."""

    def __init__(self, url: str, token: str = "", *, timeout_seconds: float = 10.0) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def write(self, records: Sequence[dict[str, Any]]) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        body = orjson.dumps(list(records))
        async with self._session.post(self._url, data=body, allow_redirects=False) as response:
            if response.status // 100 != 2:
                raise OSError(f"the webhook answered HTTP {response.status}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class Sink:
    """`put` never waits; `start` in the running loop."""

    def __init__(self, name: str, writer: Writer, *, queue_max: int = 10_000) -> None:
        self._name = name
        self._writer = writer
        self._queue_max = queue_max
        self._queue: deque[dict[str, Any]] = deque()
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.written = 0
        self.dropped = 0

    def put(self, record: dict[str, Any]) -> None:
        if len(self._queue) >= self._queue_max:
            self.dropped += 1
            return
        self._queue.append(record)
        self._filled.set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """What waits is written if that works at once, else dropped and counted."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._queue and await self._write_once():
            pass
        self.dropped += len(self._queue)
        self._queue.clear()
        await self._writer.close()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                await self._write_some()

    async def _write_some(self) -> None:
        for attempt in range(1, _RETRIES + 1):
            if await self._write_once():
                return
            await asyncio.sleep(_PAUSE_SECONDS * attempt)
        lost = min(len(self._queue), _BATCH)
        for _ in range(lost):
            self._queue.popleft()
        self.dropped += lost

    async def _write_once(self) -> bool:
        batch = [self._queue[i] for i in range(min(len(self._queue), _BATCH))]
        try:
            await self._writer.write(batch)
        except (OSError, aiohttp.ClientError, ValueError) as error:
            # Their number, and why; never what is in them.
            extra = {"sink": self._name, "records": len(batch), "reason": str(error)}
            _log.warning("records could not be written", extra=extra)
            return False
        for _ in batch:
            self._queue.popleft()
        self.written += len(batch)
        return True
