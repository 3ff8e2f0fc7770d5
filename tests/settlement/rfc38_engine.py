"""A settlement engine that speaks RFC 38, for tests of the connector: its ledger is a list in
memory. It does wrong whatever it is told to do wrong.

    engine = Rfc38Engine()
    await engine.start()            # engine.url
    engine.answers.append(503)      # to the next settlement; then as it should

As a thread (`EngineThread`) it serves nodes that are processes of their own.
"""

import asyncio
import json
import threading
from collections import deque
from types import TracebackType
from typing import Any, NamedTuple

from aiohttp import web

HANG = -1
"""Never answer."""
PAY_AND_DROP = -2
"""Pay, and lose the answer."""
DROP = -3
"""Lose the call."""
CREATED = 201
DELETED = 204


class Call(NamedTuple):
    method: str
    path: str
    key: str | None
    body: bytes
    authorization: str | None


class Rfc38Engine:
    def __init__(self, *, knows_all: bool = False) -> None:
        self.calls: list[Call] = []
        self.accounts: set[str] = set()
        self.paid: dict[str, tuple[str, int, int]] = {}
        """By key: account, amount, scale. One entry is one payment on its ledger."""
        self.answers: deque[int] = deque()
        """How to answer the next settlements."""
        self.create_answers: deque[int] = deque()
        self.delete_answers: deque[int] = deque()
        self.reply: bytes | int = b"pong"
        """To messages: a body, or an error's status."""
        self.url = ""
        self._knows_all = knows_all
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        """Again at the same port, after `stop`."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/accounts", self._create)
        app.router.add_delete("/accounts/{id}", self._delete)
        app.router.add_post("/accounts/{id}/settlements", self._settle)
        app.router.add_post("/accounts/{id}/messages", self._message)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def total_paid(self, account_id: str | None = None) -> int:
        return sum(amount for name, amount, _ in self.paid.values() if account_id in (None, name))

    def settlement_calls(self) -> list[Call]:
        return [call for call in self.calls if call.path.endswith("/settlements")]

    async def _seen(self, request: web.Request) -> Call:
        call = Call(
            request.method,
            request.path,
            request.headers.get("Idempotency-Key"),
            await request.read(),
            request.headers.get("Authorization"),
        )
        self.calls.append(call)
        return call

    async def _create(self, request: web.Request) -> web.Response:
        call = await self._seen(request)
        status = self.create_answers.popleft() if self.create_answers else CREATED
        if status == CREATED:
            self.accounts.add(json.loads(call.body)["id"])
        return web.Response(status=status, body=b"CREATED")

    async def _delete(self, request: web.Request) -> web.Response:
        await self._seen(request)
        status = self.delete_answers.popleft() if self.delete_answers else DELETED
        if status == DELETED:
            self.accounts.discard(request.match_info["id"])
        return web.Response(status=status)

    async def _settle(self, request: web.Request) -> web.StreamResponse:
        call = await self._seen(request)
        account_id = request.match_info["id"]
        if not self._knows_all and account_id not in self.accounts:
            return web.Response(status=404)
        answer = self.answers.popleft() if self.answers else CREATED
        if answer == HANG:
            await asyncio.sleep(3_600)
        if answer in (CREATED, PAY_AND_DROP):
            quantity: dict[str, Any] = json.loads(call.body)
            assert call.key is not None
            payment = account_id, int(quantity["amount"]), quantity["scale"]
            if self.paid.setdefault(call.key, payment) != payment:
                return web.Response(status=409)
        if answer in (DROP, PAY_AND_DROP):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=answer, body=b"EXECUTED", content_type="application/json")

    async def _message(self, request: web.Request) -> web.Response:
        await self._seen(request)
        if self.reply == HANG:
            await asyncio.sleep(3_600)
        if isinstance(self.reply, int):
            return web.Response(status=self.reply, body=b"engine's error")
        return web.Response(status=201, body=self.reply)


class EngineThread:
    """The engine in a loop of its own."""

    def __init__(self, engine: Rfc38Engine | None = None) -> None:
        self.engine = engine or Rfc38Engine()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Rfc38Engine:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.engine.start(), self._loop).result(60)
        return self.engine

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.engine.stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
