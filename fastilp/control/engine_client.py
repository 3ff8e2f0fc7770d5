"""HTTP calls to settlement engines (RFC 38). Imports errors.

One call is one try: who calls decides about the next one, under the same key. A few calls to an
engine are under way at a time; whoever waits for its turn has not called yet. Bodies of answers are
bounded, and mean something only for messages: engines answer anything at all. The HTTP client is
aiohttp, because this is cold traffic.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp

from fastilp.control.quantities import Quantity
from fastilp.errors import FastILPError

OCTET_STREAM = "application/octet-stream"
_JSON = "application/json"
# What fits into the data of a packet, and room for an error's text.
BODY_SIZE_MAX = 65_536
# At a time, to one engine.
CALLS_MAX = 16
_CONNECT_SECONDS = 10.0
# An engine that keeps silent to one message must not be out of reach for the next ones.
_SILENCE_SECONDS = 10.0
# A token, or a proxy's: wrong until somebody has set it right, and nothing of the settlement's.
_UNAUTHORIZED = (401, 403, 407)
# Those that say "not now": the same call may do later.
_RETRIED = (408, 425, 429, *_UNAUTHORIZED)


class EngineError(FastILPError):
    """No answer, or not a whole one: whether the engine has done it is uncertain."""


class NotSentError(EngineError):
    """The engine has not been reached at all."""


Before = Callable[[], Awaitable[None]]
"""Awaited when it is a call's turn, before anything of it leaves."""


async def nothing_before() -> None:
    return


class _Try:
    """Whether its connection came about: from then on the engine may have the call."""

    is_connected = False


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.is_connected = True


class EngineAnswer(NamedTuple):
    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return self.status // 100 == 2

    @property
    def is_unauthorized(self) -> bool:
        """The engine has not let us in, so it has done nothing."""
        return self.status in _UNAUTHORIZED

    @property
    def is_refusal(self) -> bool:
        """The engine has not done it, and will not."""
        return self.status // 100 == 4 and self.status not in _RETRIED

    def text(self) -> str:
        """For logs and records."""
        shown = self.body[:200].decode("utf-8", "replace")
        return f"HTTP {self.status}: {shown}" if shown.isprintable() else f"HTTP {self.status}"


def engine_account_id(account_id: bytes) -> str:
    """As the API shows it."""
    return str(uuid.UUID(bytes=account_id))


class EngineClient:
    """`tokens`: bearer tokens by the engines' URLs."""

    def __init__(
        self, tokens: Mapping[str, str] | None = None, *, timeout_seconds: float = 30.0
    ) -> None:
        self._tokens = {url.rstrip("/"): token for url, token in (tokens or {}).items()}
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None
        # Whoever sends us messages must not keep payments waiting: turns of their own.
        self._turns: dict[tuple[str, bool], asyncio.Semaphore] = {}

    async def create_account(self, engine_url: str, account_id: bytes, key: str) -> EngineAnswer:
        body = json.dumps({"id": engine_account_id(account_id)}).encode()
        return await self._call("POST", engine_url, "/accounts", body, _JSON, key)

    async def delete_account(self, engine_url: str, account_id: bytes, key: str) -> EngineAnswer:
        path = f"/accounts/{engine_account_id(account_id)}"
        return await self._call("DELETE", engine_url, path, b"", "", key)

    async def settle(
        self,
        engine_url: str,
        account_id: bytes,
        quantity: Quantity,
        key: str,
        before: Before = nothing_before,
    ) -> EngineAnswer:
        path = f"/accounts/{engine_account_id(account_id)}/settlements"
        return await self._call("POST", engine_url, path, quantity.json(), _JSON, key, before)

    async def message(
        self, engine_url: str, account_id: bytes, data: bytes, key: str, timeout_seconds: float
    ) -> EngineAnswer:
        path = f"/accounts/{engine_account_id(account_id)}/messages"
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._call("POST", engine_url, path, data, OCTET_STREAM, key)
        except TimeoutError:
            raise EngineError("no answer in time") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self,
        method: str,
        engine_url: str,
        path: str,
        body: bytes,
        content_type: str,
        key: str,
        before: Before = nothing_before,
    ) -> EngineAnswer:
        """Raises EngineError, and what `before` raises."""
        base = engine_url.rstrip("/")
        headers = {"Idempotency-Key": key, "Accept-Encoding": "identity"}
        if content_type:
            headers["Content-Type"] = content_type
        if base in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[base]}"
        is_message = content_type == OCTET_STREAM
        turns = self._turns.setdefault((base, is_message), asyncio.Semaphore(CALLS_MAX))
        async with turns:
            await before()
            timeout = self._timeout(is_message)
            return await self._exchange(method, base + path, body, headers, timeout)

    def _timeout(self, is_message: bool) -> aiohttp.ClientTimeout:
        total = self._timeout_seconds
        return aiohttp.ClientTimeout(
            total=total,
            sock_connect=min(total, _CONNECT_SECONDS),
            sock_read=min(total, _SILENCE_SECONDS) if is_message else total,
        )

    async def _exchange(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> EngineAnswer:
        """Raises EngineError."""
        this = _Try()
        try:
            # A redirect could carry the token elsewhere.
            async with self._open().request(
                method,
                url,
                data=body or None,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                trace_request_ctx=this,
            ) as response:
                return EngineAnswer(response.status, await _read(response))
        except (aiohttp.ClientError, OSError, ValueError, EngineError) as error:
            text = str(error) or type(error).__name__
            if this.is_connected:
                is_late = isinstance(error, TimeoutError)
                raise EngineError("no answer in time" if is_late else text) from None
            raise NotSentError(text) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_connection_create_end.append(_connected)
            tracing.on_connection_reuseconn.append(_connected)
            self._session = aiohttp.ClientSession(
                # One call each: of an engine that answers twice, the second answer must not be
                # taken for that to the next call. And no waiting for one: turns are taken before.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trace_configs=[tracing],
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > BODY_SIZE_MAX:
            raise EngineError(f"an answer of more than {BODY_SIZE_MAX} bytes")
    return bytes(body)
