"""The engine's side of the connector's settlement listener (RFC 38). Imports errors and quantity.

Only 2xx is an acknowledgement: whatever else comes back, the call is not done.
"""

import uuid
from urllib.parse import quote

import aiohttp
import orjson

from fastilp.engines.errors import NotNowError
from fastilp.engines.quantity import Quantity

# A message travels through both connectors and back, with 30 seconds in its Prepare.
MESSAGE_TIMEOUT_S = 35
CREDIT_TIMEOUT_S = 15
# An ILP packet carries no more data; what is longer is no answer of an engine.
ANSWER_BYTES_MAX = 65_535
_SHOWN_BYTES = 200


class Connector:
    """`open` before, `close` after; in between any number of calls at a time."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        # One call each: of a connector that answers twice, the second answer must not be taken for
        # that to the next call.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def credit(self, account_id: str, quantity: Quantity, key: str) -> None:
        """Raises NotNowError unless the connector has acknowledged."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        body = orjson.dumps(quantity.to_json())
        await self._post(account_id, "settlements", body, headers, CREDIT_TIMEOUT_S)

    async def message(self, account_id: str, message: bytes) -> bytes:
        headers = {
            "Idempotency-Key": str(uuid.uuid4()),
            "Content-Type": "application/octet-stream",
        }
        return await self._post(account_id, "messages", message, headers, MESSAGE_TIMEOUT_S)

    async def _post(
        self, account_id: str, what: str, body: bytes, headers: dict[str, str], timeout_s: int
    ) -> bytes:
        assert self._session is not None
        url = f"{self._url}/accounts/{quote(account_id, safe='')}/{what}"
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answer = await _read(response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise NotNowError(f"the connector does not answer: {reason}") from None
        if not 200 <= response.status < 300:
            shown = answer[:_SHOWN_BYTES].decode(errors="replace")
            raise NotNowError(f"the connector answered {response.status}: {shown}", status=502)
        return answer


async def _read(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for part in response.content.iter_any():
        found += part
        if len(found) > ANSWER_BYTES_MAX:
            raise NotNowError(f"the connector's answer exceeds {ANSWER_BYTES_MAX} bytes")
    return bytes(found)
