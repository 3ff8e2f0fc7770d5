"""The HTTP API of an engine (RFC 38, ENG-02 to ENG-06), health and metrics. Imports the neighbours.

A settlement is answered when it is on the disk, not when it is paid. Bodies are limited before they
are read; whatever a caller sends is answered with a problem (RFC 7807) at worst.
"""

import hmac
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from fastilp.engines.answers import Answers, Reply
from fastilp.engines.errors import EngineError
from fastilp.engines.quantity import Quantity
from fastilp.errors import DecodeError, StorageError

# The data of an ILP packet, and with it a message, has at most 32,767 bytes (RFC 27).
BODY_BYTES_MAX = 32_767
# URL-safe, as RFC 38 wants; with room for keys of the store.
ACCOUNT_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)
KEY = re.compile(r"[!-~]{1,255}", re.ASCII)
JSON = "application/json"

_log = structlog.get_logger("fastilp.engine")


class Desk(Protocol):
    """What the calls lead to."""

    async def create(self, account_id: str) -> None: ...
    async def delete(self, account_id: str) -> None: ...
    def settle(self, account_id: str, quantity: Quantity, key: str) -> None: ...
    async def message(self, account_id: str, message: bytes) -> bytes: ...
    def problems(self) -> list[str]: ...


class Api:
    def __init__(
        self, desk: Desk, answers: Answers, registry: CollectorRegistry, token: str | None
    ) -> None:
        self._desk = desk
        self._answers = answers
        self._registry = registry
        self._authorization = None if token is None else f"Bearer {token}".encode()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._problems])
        app.router.add_post("/accounts", self._create)
        app.router.add_delete("/accounts/{id}", self._delete)
        for name in ("settlements", "settlement"):
            app.router.add_post(f"/accounts/{{id}}/{name}", self._settle)
        app.router.add_post("/accounts/{id}/messages", self._message)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        return app

    @web.middleware
    async def _problems(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        try:
            self._check_token(request)
            return await handler(request)
        except EngineError as error:
            return problem(error.status, str(error))
        except web.HTTPException as error:
            return problem(error.status, error.reason, error.headers.get("Allow"))
        except StorageError as error:
            _log.error("the store refuses", why=str(error))
            return problem(503, str(error))
        except Exception:
            _log.exception("a call failed", path=request.path)
            return problem(500, "the engine failed; its log says how")

    def _check_token(self, request: web.Request) -> None:
        if self._authorization is None or request.path == "/health":
            return
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            raise EngineError("the bearer token is missing or wrong", status=401)

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.read()
        given = decoded(body) if body else {}
        if not isinstance(given, dict):
            raise EngineError('the body must be an object such as {"id": "…"}', status=400)
        account_id = given.get("id", None) or str(uuid.uuid4())
        checked_id(account_id)

        async def act() -> Reply:
            await self._desk.create(account_id)
            return Reply(201, JSON, orjson.dumps({"id": account_id}))

        return await self._once(request, body, act)

    async def _delete(self, request: web.Request) -> web.Response:
        account_id = _account_id(request)

        async def act() -> Reply:
            await self._desk.delete(account_id)
            return Reply(204, JSON, b"")

        return await self._once(request, b"", act)

    async def _settle(self, request: web.Request) -> web.Response:
        account_id, key = _account_id(request), _key(request)
        if key is None:
            raise EngineError("the header Idempotency-Key is missing", status=400)
        try:
            quantity = Quantity.of_json(decoded(await request.read()))
        except DecodeError as error:
            raise EngineError(str(error), status=400) from None
        self._desk.settle(account_id, quantity, key)
        return _response(Reply(201, JSON, orjson.dumps(quantity.to_json())))

    async def _message(self, request: web.Request) -> web.Response:
        account_id, body = _account_id(request), await request.read()

        async def act() -> Reply:
            answer = await self._desk.message(account_id, body)
            return Reply(201, "application/octet-stream", answer)

        return await self._once(request, body, act, account_id)

    async def _once(
        self,
        request: web.Request,
        body: bytes,
        act: Callable[[], Awaitable[Reply]],
        messenger: str | None = None,
    ) -> web.Response:
        call = f"{request.method} {request.path}\0".encode() + body
        return _response(await self._answers.once(_key(request), call, act, messenger))

    async def _health(self, request: web.Request) -> web.Response:
        problems = self._desk.problems()
        status = "degraded" if problems else "ok"
        body = orjson.dumps({"status": status, "problems": problems})
        return web.Response(status=503 if problems else 200, body=body, content_type=JSON)

    async def _metrics(self, request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        return web.Response(body=generate_latest(self._registry), headers=headers)


def problem(status: int, detail: str, allow: str | None = None) -> web.Response:
    title = web.Response(status=status).reason
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/problem+json",
        headers={} if allow is None else {"Allow": allow},
    )


def _response(reply: Reply) -> web.Response:
    if reply.status == 204:
        return web.Response(status=204)
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)


def decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EngineError(f"the body is not JSON: {error}", status=400) from None


def _account_id(request: web.Request) -> str:
    return checked_id(request.match_info["id"])


def checked_id(account_id: Any) -> str:
    if not isinstance(account_id, str) or not ACCOUNT_ID.fullmatch(account_id):
        raise EngineError(
            "an id must be 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -", status=400
        )
    return account_id


def _key(request: web.Request) -> str | None:
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        message = "Idempotency-Key must be one text of 1 to 255 visible ASCII characters"
        raise EngineError(message, status=400)
    return keys[0]
