"""A JSON-RPC client for the few methods of an Ethereum node that an engine needs. Imports errors.

Whatever the node answers that is not what was asked for is a NotNowError: the node is the
operator's, and may be starting, behind, or another one after the next call.
"""

import asyncio
import itertools
from typing import Any

import aiohttp
import orjson

from fastilp.engines.errors import NotNowError

TIMEOUT_S = 30
# A block with all its transactions has a few megabytes.
ANSWER_BYTES_MAX = 1 << 26
_SHOWN_LENGTH = 200


class RpcError(NotNowError):
    """The node answered, with an error of its own."""


class Rpc:
    """`open` before, `close` after. `trouble` is the last failure, empty while calls succeed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self.trouble = ""

    def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, *params: Any) -> Any:
        """The result. Raises RpcError, else NotNowError."""
        number = next(self._numbers)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            answer = await self._post(orjson.dumps(body))
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            reason = str(error) or type(error).__name__
            self.trouble = f"the Ethereum node does not answer: {reason}"
            raise NotNowError(self.trouble) from None
        if not isinstance(answer, dict) or answer.get("id") != number:
            self.trouble = "the Ethereum node answers something else than JSON-RPC"
            raise NotNowError(self.trouble)
        self.trouble = ""
        if answer.get("error") is not None:
            raise RpcError(f"{method}: {_message(answer['error'])}")
        return answer.get("result")

    async def number(self, method: str, *params: Any) -> int:
        return as_number(await self.call(method, *params))

    async def block(self, number: int, whole: bool) -> dict[str, Any]:
        """`whole`: with all transactions, not their hashes alone."""
        block = await self.call("eth_getBlockByNumber", hex(number), whole)
        if not isinstance(block, dict) or not isinstance(block.get("hash"), str):
            raise NotNowError(f"the Ethereum node does not have the block {number}")
        return block

    async def blocks(self, numbers: range, whole: bool) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(self.block(number, whole) for number in numbers)))

    async def receipt(self, transaction_hash: str) -> dict[str, Any] | None:
        """None while the transaction is in no block."""
        receipt = await self.call("eth_getTransactionReceipt", transaction_hash)
        mined = isinstance(receipt, dict) and receipt.get("blockNumber") is not None
        return receipt if mined else None

    async def _post(self, body: bytes) -> Any:
        assert self._session is not None
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as response:
            raw = bytearray()
            async for part in response.content.iter_any():
                raw += part
                if len(raw) > ANSWER_BYTES_MAX:
                    raise aiohttp.ClientPayloadError("the answer is too long")
        if response.status != 200 and not raw.startswith(b"{"):
            raise aiohttp.ClientPayloadError(f"status {response.status}")
        return orjson.loads(raw)


def as_number(value: Any) -> int:
    """Of the hex that JSON-RPC has for numbers. Raises NotNowError."""
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        raise NotNowError(f"the Ethereum node answers {value!r} for a number") from None


def _message(error: Any) -> str:
    text = error.get("message", error) if isinstance(error, dict) else error
    return str(text)[:_SHOWN_LENGTH]
