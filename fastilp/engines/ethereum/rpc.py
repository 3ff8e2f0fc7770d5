"""A JSON-RPC client for the few methods of an Ethereum node that an engine needs. Imports
node_http: whatever the node answers that is not what was asked for is a NotNowError.
"""

import asyncio
import itertools
from typing import Any

from fastilp.engines.errors import NotNowError
from fastilp.engines.node_http import NodeHttp

# A block with all its transactions has a few megabytes.
ANSWER_BYTES_MAX = 1 << 26
_SHOWN_LENGTH = 200


class RpcError(NotNowError):
    """The node answered, with an error of its own."""


class Rpc(NodeHttp):
    def __init__(self, url: str) -> None:
        super().__init__(url, "the Ethereum node", ANSWER_BYTES_MAX)
        self._numbers = itertools.count(1)

    async def call(self, method: str, *params: Any) -> Any:
        """The result. Raises RpcError, else NotNowError."""
        number = next(self._numbers)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        answer = await self.exchange(body)
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise self.odd()
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


def as_number(value: Any) -> int:
    """Of the hex that JSON-RPC has for numbers. Raises NotNowError."""
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        raise NotNowError(f"the Ethereum node answers {value!r} for a number") from None


def _message(error: Any) -> str:
    text = error.get("message", error) if isinstance(error, dict) else error
    return str(text)[:_SHOWN_LENGTH]
