"""JSON to a ledger's node, by POST. Imports errors.

Whatever comes back that is no JSON is a NotNowError: the node is the operator's, and may be
starting, behind, or another one after the next call.
"""

from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from fastilp.engines.errors import NotNowError

TIMEOUT_S = 30


def shown_url(url: str) -> str:
    """Without what may be secret: providers have their keys in the path, others a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class NodeHttp:
    """`open` before, `close` after. `trouble` is the last failure, empty while calls succeed."""

    def __init__(self, url: str, name: str, answer_bytes_max: int) -> None:
        """`name` as in "the Ethereum node"."""
        self._url = url
        self._name = name
        self._answer_bytes_max = answer_bytes_max
        self._session: aiohttp.ClientSession | None = None
        self.trouble = ""

    def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def exchange(self, body: Any) -> Any:
        """The answer. Raises NotNowError. Whether it is the right one, the caller says."""
        try:
            return await self._post(orjson.dumps(body))
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            reason = str(error) or type(error).__name__
            self.trouble = f"{self._name} does not answer: {reason}"
            raise NotNowError(self.trouble) from None

    def odd(self) -> NotNowError:
        """For an answer that is none."""
        self.trouble = f"{self._name} answers something else than JSON-RPC"
        return NotNowError(self.trouble)

    async def _post(self, body: bytes) -> Any:
        assert self._session is not None
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as response:
            raw = bytearray()
            async for part in response.content.iter_any():
                raw += part
                if len(raw) > self._answer_bytes_max:
                    raise aiohttp.ClientPayloadError("the answer is too long")
        if response.status != 200 and not raw.startswith(b"{"):
            raise aiohttp.ClientPayloadError(f"status {response.status}")
        return orjson.loads(raw)
