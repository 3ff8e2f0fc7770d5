"""A proxy in front of a settlement listener, that holds a settlement on command: before it is
handed on, or behind that, before its answer goes back. So a test ends programs at the very moment.
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web

BEFORE, BEHIND = "before", "behind"
_WAIT_SECONDS = 60.0
# Of whom the answer's own head and HTTP's are.
_HEADERS = ("Content-Type", "Idempotency-Key", "Authorization")


class Gate:
    """A thread that listens on `port` and calls `target`."""

    def __init__(self, port: int, target: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port, self._target = port, target
        self._holds: str | None = None
        self._reached = threading.Event()
        self._hands_on = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def hold(self, where: str) -> None:
        """The next settlement."""
        self._reached.clear()
        self._holds = where

    def wait(self) -> None:
        """Until it is held."""
        assert self._reached.wait(_WAIT_SECONDS)

    def release(self, *, hands_on: bool) -> None:
        """It goes on, or is lost."""
        self._hands_on = hands_on
        self._loop.call_soon_threadsafe(self._released.set)

    def __enter__(self) -> "Gate":
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_SECONDS)

    async def _start(self) -> None:
        self._released = asyncio.Event()
        # Whom it calls is killed again and again.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        is_held = request.path.endswith("/settlements") and self._holds is not None
        where, self._holds = (self._holds, None) if is_held else (None, self._holds)
        if where == BEFORE and not await self._passed():
            return _lost(request)
        headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        try:
            async with self._session.request(
                request.method, self._target + request.path, data=body or None, headers=headers
            ) as response:
                status, answer = response.status, await response.read()
        except aiohttp.ClientError:
            return _lost(request)
        if where == BEHIND and not await self._passed():
            return _lost(request)
        return web.Response(status=status, body=answer)

    async def _passed(self) -> bool:
        self._released.clear()
        self._reached.set()
        await self._released.wait()
        return self._hands_on


def _lost(request: web.Request) -> web.Response:
    """Neither yes nor no."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
