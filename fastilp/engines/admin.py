"""The operator's part of an engine's HTTP API: what it holds, and what a person decides. Imports
the neighbours.

It stands behind the same token as the connector's calls, whose errors it shares (`server`).
"""

from typing import Any

import orjson
from aiohttp import web

from fastilp.engines.errors import EngineError
from fastilp.engines.holdings import Holdings
from fastilp.engines.server import JSON, checked_id, decoded

LIMIT, LIMIT_MAX = 100, 1_000
# Of a name in the store, with room for what we put around it.
_NAME_BYTES_MAX = 500
_SWITCH = {"true": True, "false": False}


class Admin:
    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings

    def add_to(self, application: web.Application) -> None:
        router = application.router
        router.add_get("/admin/accounts", self._accounts)
        router.add_get("/admin/payments", self._payments)
        router.add_get("/admin/payments/{key}", self._payment)
        router.add_get("/admin/parked", self._parked)
        router.add_post("/admin/parked/{key}/credit", self._credit)

    async def _accounts(self, request: web.Request) -> web.Response:
        query = _query(request)
        return _answer(self._holdings.accounts(_after(query), _limit(query)))

    async def _payments(self, request: web.Request) -> web.Response:
        query = _query(request, "account", "open")
        open_only = _SWITCH.get(query.get("open", "false"))
        if open_only is None:
            raise EngineError('"open" must be true or false', status=400)
        account_id = query.get("account", "")
        page = await self._holdings.payments(_after(query), _limit(query), account_id, open_only)
        return _answer(page)

    async def _payment(self, request: web.Request) -> web.Response:
        return _answer(self._holdings.payment(_key(request)))

    async def _parked(self, request: web.Request) -> web.Response:
        query = _query(request)
        return _answer(self._holdings.parked(_after(query), _limit(query)))

    async def _credit(self, request: web.Request) -> web.Response:
        given = decoded(await request.read())
        if not isinstance(given, dict) or given.keys() != {"account"}:
            raise EngineError('the body must be an object such as {"account": "…"}', status=400)
        return _answer(self._holdings.credit(_key(request), checked_id(given["account"])))


def _query(request: web.Request, *more: str) -> dict[str, str]:
    known = {"after", "limit", *more}
    unknown = sorted(request.query.keys() - known)
    if unknown:
        message = f"{unknown[0]!r} is unknown here; there are {', '.join(sorted(known))}"
        raise EngineError(message, status=400)
    return dict(request.query)


def _after(query: dict[str, str]) -> str:
    after = query.get("after", "")
    if len(after.encode(errors="replace")) > _NAME_BYTES_MAX or not after.isprintable():
        raise EngineError('"after" must be the "next" of an answer', status=400)
    return after


def _limit(query: dict[str, str]) -> int:
    text = query.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 0 < int(text) <= LIMIT_MAX):
        raise EngineError(f'"limit" must be 1 to {LIMIT_MAX}', status=400)
    return int(text)


def _key(request: web.Request) -> str:
    key = request.match_info["key"]
    if len(key.encode(errors="replace")) > _NAME_BYTES_MAX or not key.isprintable():
        raise EngineError("that is no key of a payment", status=400)
    return key


def _answer(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type=JSON)
