"""A stand-in for the connectors of two engines: keeps what they credit, carries their messages, and
fails on command. Imports quantity and server.

Both engines have it as their connector. It judges: an Idempotency-Key that comes with two bodies,
and calls that RFC 38 does not know, are remarks of the report.
"""

from collections import deque
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp import web

from fastilp.engines.quantity import Quantity
from fastilp.engines.server import BODY_BYTES_MAX, problem
from fastilp.errors import DecodeError

ENGINE_TIMEOUT_S = 20


@dataclass
class Seen:
    """One account as the connector sees it."""

    credits: dict[str, Quantity] = field(default_factory=dict)
    calls: int = 0
    other_account: str = ""
    other_engine: str = ""


class StandIn:
    """Listens on `address`; `accounts` by id."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self.accounts: dict[str, Seen] = {}
        self.remarks: list[str] = []
        self.failures: deque[str] = deque()
        """What becomes of the next credits, before they go through: `refuse`, `fail`, `hang up`,
        `lose` (it is taken and the answer is lost)."""
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/accounts/{id}/settlements", self._credit)
        app.router.add_post("/accounts/{id}/messages", self._message)
        app.router.add_route("*", "/{rest:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self.url = f"http://{self._host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _credit(self, request: web.Request) -> web.StreamResponse:
        account = self.accounts.get(request.match_info["id"])
        key = request.headers.get("Idempotency-Key")
        if account is None or key is None:
            what = "an unknown account" if account is None else "no Idempotency-Key"
            self.remarks.append(f"a credit came with {what}: {request.path}")
            return problem(404 if account is None else 400, what)
        account.calls += 1
        try:
            quantity = Quantity.of_json(orjson.loads(await request.read()))
        except (orjson.JSONDecodeError, DecodeError) as error:
            self.remarks.append(f"a credit is no Quantity: {error}")
            return problem(400, str(error))
        failure = self.failures.popleft() if self.failures else ""
        if failure in ("refuse", "fail"):
            return problem(409 if failure == "refuse" else 500, "on command")
        if failure == "hang up":
            return _hung_up(request)
        if account.credits.setdefault(key, quantity) != quantity:
            self.remarks.append(f"the key {key} came with two amounts")
            return problem(409, "this Idempotency-Key was used for another call")
        return _hung_up(request) if failure == "lose" else _taken(quantity)

    async def _message(self, request: web.Request) -> web.Response:
        """What both connectors do: the peer's engine is called, its answer comes back."""
        account = self.accounts.get(request.match_info["id"])
        if account is None or not account.other_engine:
            return problem(404, "there is no such account, or its peer has no engine")
        url = f"{account.other_engine}/accounts/{quote(account.other_account)}/messages"
        timeout = aiohttp.ClientTimeout(total=ENGINE_TIMEOUT_S)
        headers = {"Content-Type": "application/octet-stream"}
        if "Idempotency-Key" in request.headers:
            headers["Idempotency-Key"] = request.headers["Idempotency-Key"]
        body = await request.read()
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=body, headers=headers) as response,
            ):
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return problem(502, f"the peer's engine does not answer: {error}")
        if response.status >= 300:
            return problem(502, f"the peer's engine answered {response.status}")
        return web.Response(status=201, body=answer, content_type="application/octet-stream")

    async def _unknown(self, request: web.Request) -> web.Response:
        self.remarks.append(f"a connector knows no {request.method} {request.path}")
        return problem(404, "no such call")


def _taken(quantity: Quantity) -> web.Response:
    body = orjson.dumps(quantity.to_json())
    return web.Response(status=201, body=body, content_type="application/json")


def _hung_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.StreamResponse()
