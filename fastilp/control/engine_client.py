"""HTTP calls to settlement engines (RFC 38). Imports errors.

One call is one try: who calls decides about the next one, under the same key. Bodies of answers
are bounded, and mean something only for messages: engines answer anything at all. The HTTP client
is aiohttp, because this is cold traffic.
"""

import json
import uuid
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp

from fastilp.control.quantities import Quantity
from fastilp.errors import FastILPError

OCTET_STREAM = "application/octet-stream"
_JSON = "application/json"
# What fits into the data of a packet, and room for an error's text.
BODY_SIZE_MAX = 65_536
_CONNECTIONS_PER_ENGINE = 16
# A token, or a proxy's: wrong until somebody has set it right, and nothing of the settlement's.
_UNAUTHORIZED = (401, 403, 407)
# Those that say "not now": the same call may do later.
_RETRIED = (408, 425, 429, *_UNAUTHORIZED)


class EngineError(FastILPError):
    """No answer, or not a whole one: whether the engine has done it is uncertain."""


class NotSentError(EngineError):
    """The engine has not been reached at all."""


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
        # Whoever sends us messages must not keep payments waiting: connections of their own.
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def create_account(self, engine_url: str, account_id: bytes, key: str) -> EngineAnswer:
        body = json.dumps({"id": engine_account_id(account_id)}).encode()
        return await self._call("POST", engine_url, "/accounts", body, _JSON, key)

    async def delete_account(self, engine_url: str, account_id: bytes, key: str) -> EngineAnswer:
        path = f"/accounts/{engine_account_id(account_id)}"
        return await self._call("DELETE", engine_url, path, b"", "", key)

    async def settle(
        self, engine_url: str, account_id: bytes, quantity: Quantity, key: str
    ) -> EngineAnswer:
        path = f"/accounts/{engine_account_id(account_id)}/settlements"
        return await self._call("POST", engine_url, path, quantity.json(), _JSON, key)

    async def message(
        self, engine_url: str, account_id: bytes, data: bytes, key: str, timeout_seconds: float
    ) -> EngineAnswer:
        path = f"/accounts/{engine_account_id(account_id)}/messages"
        return await self._call("POST", engine_url, path, data, OCTET_STREAM, key, timeout_seconds)

    async def close(self) -> None:
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def _call(
        self,
        method: str,
        engine_url: str,
        path: str,
        body: bytes,
        content_type: str,
        key: str,
        timeout_seconds: float | None = None,
    ) -> EngineAnswer:
        """Raises EngineError."""
        base = engine_url.rstrip("/")
        headers = {"Idempotency-Key": key, "Accept-Encoding": "identity"}
        if content_type:
            headers["Content-Type"] = content_type
        if base in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[base]}"
        is_message = timeout_seconds is not None
        timeout = aiohttp.ClientTimeout(total=timeout_seconds or self._timeout_seconds)
        try:
            # A redirect could carry the token elsewhere.
            async with self._open(is_message).request(
                method,
                base + path,
                data=body or None,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                return EngineAnswer(response.status, await _read(response))
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(str(error)) from None
        except TimeoutError:
            raise EngineError("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise EngineError(str(error) or type(error).__name__) from None

    def _open(self, is_message: bool) -> aiohttp.ClientSession:
        if is_message not in self._sessions:
            self._sessions[is_message] = aiohttp.ClientSession(
                # One call each: of an engine that answers twice, the second answer must not be
                # taken for that to the next call.
                connector=aiohttp.TCPConnector(
                    limit_per_host=_CONNECTIONS_PER_ENGINE, force_close=True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._sessions[is_message]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > BODY_SIZE_MAX:
            raise EngineError(f"an answer of more than {BODY_SIZE_MAX} bytes")
    return bytes(body)
