"""A JSON-RPC client for the few methods of a node of the XRP Ledger that an engine needs. Imports
node_http: whatever the node answers that is not what was asked for is a NotNowError.
"""

from typing import Any, NamedTuple

from fastilp.engines.errors import NotNowError
from fastilp.engines.node_http import NodeHttp

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
    hash: str
    reserve_base: int
    reserve_each: int
    network_id: int | None


class Rpc(NodeHttp):
    def __init__(self, url: str) -> None:
        super().__init__(url, "the XRP node", ANSWER_BYTES_MAX)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result. Raises RpcError, else NotNowError."""
        # The first version of the interface: every node has it.
        body = {"method": method, "params": [{"api_version": 1, **params}]}
        answer = await self.exchange(body)
        result = answer.get("result") if isinstance(answer, dict) else None
        if not isinstance(result, dict):
            raise self.odd()
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
        network_id = None if network_id is None else as_number(network_id)
        return Ledger(number, field(validated, "hash", str), base, each, network_id)

    async def ledger_hash(self, number: int) -> str | None:
        """Of a ledger that is validated; None if the node does not have it any more."""
        try:
            result = await self.call("ledger", ledger_index=number)
        except RpcError as error:
            if error.code == "lgrNotFound":
                return None
            raise
        return str(field(result, "ledger_hash", str))


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
