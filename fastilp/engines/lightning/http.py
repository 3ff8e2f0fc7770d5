"""JSON over HTTP to a Lightning node, for both kinds of it. Imports node."""

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from fastilp.engines.errors import NotNowError

TIMEOUT_S = 30
# A history of a hundred thousand payments has some 50 MB.
ANSWER_BYTES_MAX = 1 << 27


class Http:
    """`open` before, `close` after. `trouble`: see LightningNode."""

    def __init__(self, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        self._headers = headers
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self.trouble = ""

    def open(self) -> None:
        self._session = aiohttp.ClientSession(headers=self._headers)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        url: str,
        body: Any = None,
        timeout_s: float = TIMEOUT_S,
        line: int | None = None,
    ) -> tuple[int, Any]:
        """Status and JSON; of a stream its first line, 0, or its last, -1. Raises NotNowError."""
        status = 0
        try:
            status, raw = await self._exchange(method, url, body, timeout_s, line == 0)
            if line is not None:
                raw = raw.strip().split(b"\n")[line]
            answer = orjson.loads(raw)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            self.trouble = f"the Lightning node does not answer: {reason}"
            raise NotNowError(self.trouble) from None
        except orjson.JSONDecodeError:
            self.trouble = f"the Lightning node answers something else than JSON, status {status}"
            raise NotNowError(self.trouble) from None
        self.trouble = ""
        return status, answer

    async def _exchange(
        self, method: str, url: str, body: Any, timeout_s: float, is_first_enough: bool
    ) -> tuple[int, bytes]:
        assert self._session is not None
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        raw = bytearray()
        async with self._session.request(
            method,
            url,
            data=None if body is None else orjson.dumps(body),
            headers={"Content-Type": "application/json"},
            timeout=timeout,
            ssl=True if self._tls is None else self._tls,
        ) as response:
            async for part in response.content.iter_any():
                raw += part
                if len(raw) > ANSWER_BYTES_MAX:
                    raise aiohttp.ClientPayloadError("the answer is too long")
                if is_first_enough and b"\n" in part:
                    break
        return response.status, bytes(raw)
