"""A client for the few calls of PayPal's REST API that an engine needs. Imports errors.

PayPal has no maintained Python package for payouts. A token lasts some hours and is fetched again a
little earlier, or when PayPal does not take it any more.
"""

import asyncio
import base64
import time
from typing import Any

import aiohttp
import orjson

from fastilp.engines.errors import NotNowError

TIMEOUT_S = 60
ANSWER_BYTES_MAX = 1 << 24
# Before it ends: a call with it may take that long.
TOKEN_MARGIN_S = 90
_SHOWN_LENGTH = 200


class PayPalError(NotNowError):
    """PayPal refused: `code` of HTTP, its `name` for it, and the whole `answer`."""

    def __init__(self, code: int, answer: Any) -> None:
        self.code = code
        self.answer: dict[str, Any] = answer if isinstance(answer, dict) else {}
        self.name = str(self.answer.get("name", self.answer.get("error", "")))
        text = self.answer.get("message", self.answer.get("error_description", ""))
        super().__init__(f"PayPal refuses with {code} {self.name}: {str(text)[:_SHOWN_LENGTH]}")


class Client:
    """`open` before, `close` after. `trouble` is the last failure, empty while calls succeed."""

    def __init__(self, url: str, client_id: str, secret: str) -> None:
        self._url = url
        login = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        self._login = {"Authorization": f"Basic {login}"}
        self._session: aiohttp.ClientSession | None = None
        self._token, self._token_until_s = "", 0.0
        self._lock = asyncio.Lock()
        self.trouble = ""

    def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """Raises PayPalError, else NotNowError."""
        return await self._call("GET", path, params, None)

    async def post(self, path: str, body: bytes) -> dict[str, Any]:
        """JSON. Raises PayPalError, else NotNowError."""
        return await self._call("POST", path, {}, body)

    async def _call(
        self, method: str, path: str, params: dict[str, str], body: bytes | None
    ) -> dict[str, Any]:
        for is_last in (False, True):
            token = await self._fetch_token()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            try:
                return await self._send(method, path, params=params, data=body, headers=headers)
            except PayPalError as error:
                if error.code != 401 or is_last:
                    raise
                # It was withdrawn before its time.
                if token == self._token:
                    self._token = ""
        raise AssertionError("unreachable")

    async def _fetch_token(self) -> str:
        async with self._lock:
            if not self._token or time.monotonic() >= self._token_until_s:
                asked_s = time.monotonic()
                answer = await self._send(
                    "POST",
                    "/v1/oauth2/token",
                    data={"grant_type": "client_credentials"},
                    headers=self._login,
                )
                token, lasts_s = answer.get("access_token"), answer.get("expires_in")
                if not isinstance(token, str) or not token.isascii() or not token.isprintable():
                    raise self._odd("a token")
                if type(lasts_s) is not int:
                    raise self._odd("the time of a token")
                self._token, self._token_until_s = token, asked_s + lasts_s - TOKEN_MARGIN_S
            return self._token

    async def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Its answer if that is 2xx."""
        assert self._session is not None
        url = self._url + path
        try:
            async with self._session.request(
                method, url, allow_redirects=False, **options
            ) as response:
                raw = await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.trouble = f"PayPal does not answer: {str(error) or type(error).__name__}"
            raise NotNowError(self.trouble) from None
        return self._judged(response.status, raw)

    def _judged(self, status: int, raw: bytes) -> dict[str, Any]:
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        if status == 429 or status >= 500:
            self.trouble = f"PayPal answers {status}"
            raise NotNowError(self.trouble)
        if not 200 <= status < 300:
            error = PayPalError(status, answer)
            self.trouble = str(error) if status in (401, 403) else ""
            raise error
        if not isinstance(answer, dict):
            raise self._odd("an object")
        self.trouble = ""
        return answer

    def _odd(self, what: str) -> NotNowError:
        self.trouble = f"PayPal answers something else than {what}"
        return NotNowError(self.trouble)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for part in response.content.iter_any():
        found += part
        if len(found) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(found)
