"""A JSON-RPC client for the few methods of a node of the XRP Ledger that an engine needs. Imports
errors.

Whatever the node answers that is not what was asked for is a NotNowError: the node is the
operator's, and may be starting, behind, or another one after the next call.
"""

from typing import Any, NamedTuple

import aiohttp
import orjson

from fastilp.engines.errors import NotNowError

TIMEOUT_S = 30
# A page of an account's transactions has some hundred kilobytes.
ANSWER_BYTES_MAX = 1 << 24
_SHOWN_LENGTH = 200


class RpcError(NotNowError):
    """The node answered, with an error of its own: `code`, and `result` with it."""

    def __init__(self, message: str, code: str, result: dict[str, Any]) -> None:
        self.code = code
        self.result = result
        super().__init__(message)


class Ledger(NamedTuple):
    """The newest that is validated, and what it asks for, in drops."""

    number: int
    reserve_base: int
    reserve_each: int
    network_id: int | None


class Rpc:
    """`open` before, `close` after. `trouble` is the last failure, empty while calls succeed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None
        self.trouble = ""

    def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result. Raises RpcError, else NotNowError."""
        # The first version of the interface: every node has it.
        body = {"method": method, "params": [{"api_version": 1, **params}]}
        try:
            answer = await self._post(orjson.dumps(body))
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            reason = str(error) or type(error).__name__
            self.trouble = f"the XRP node does not answer: {reason}"
            raise NotNowError(self.trouble) from None
        result = answer.get("result") if isinstance(answer, dict) else None
        if not isinstance(result, dict):
            self.trouble = "the XRP node answers something else than JSON-RPC"
            raise NotNowError(self.trouble)
        self.trouble = ""
        if "error" in result or result.get("status") == "error":
            code = str(result.get("error"))
            text = str(result.get("error_message", code))[:_SHOWN_LENGTH]
            raise RpcError(f"{method}: {text}", code, result)
        return result

    async def ledger(self) -> Ledger:
        # In drops, where `server_info` has fractions of XRP.
        state = field(await self.call("server_state"), "state", dict)
        validated = state.get("validated_ledger")
        if not isinstance(validated, dict):
            raise NotNowError("the XRP node has no validated ledger yet")
        names = ("seq", "reserve_base", "reserve_inc")
        number, base, each = (as_number(validated.get(name)) for name in names)
        network_id = state.get("network_id")
        return Ledger(number, base, each, None if network_id is None else as_number(network_id))

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


def field(result: dict[str, Any], name: str, kind: type) -> Any:
    """Raises NotNowError if it is not there, or something else."""
    found = result.get(name)
    if not isinstance(found, kind):
        raise NotNowError(f"the XRP node answers {str(found)[:_SHOWN_LENGTH]!r} for {name!r}")
    return found


def as_number(value: Any) -> int:
    """Of a whole number, or the text of one, as the ledger writes drops. Raises NotNowError."""
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        return int(value)
    shown = str(value)[:_SHOWN_LENGTH]
    raise NotNowError(f"the XRP node answers {shown!r} for a number")
