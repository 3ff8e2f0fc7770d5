"""Payments that arrive: every block is looked at once, when it is deep enough. Imports the
neighbours.

The cursor and the credits of the blocks behind it are one transaction, so a crash neither skips nor
repeats one; and a payment that is seen again, after all, has the same key. Blocks that were
missed while the engine was down are next. A block must follow the one that was looked at before it:
else the chain was reorganised deeper than `confirmations`, and a stretch of it is looked at again.
"""

from typing import Any, NamedTuple

from fastilp.engines.context import Context, OwnChange
from fastilp.engines.errors import NotNowError
from fastilp.engines.ethereum.rpc import Rpc, RpcError, as_number
from fastilp.engines.ethereum.settings import EthereumSettings
from fastilp.engines.ethereum.signing import address_of
from fastilp.engines.parking import park
from fastilp.engines.quantity import Quantity
from fastilp.errors import DecodeError

# Fetched at the same time.
BLOCKS_AT_ONCE = 16
# Of a token: what common nodes answer in one call.
LOG_BLOCKS_AT_ONCE = 500
REWIND_BLOCKS = 128
CURSOR = "cursor"
# keccak256 of Transfer(address,address,uint256).
TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


class Arrival(NamedTuple):
    """A payment to us. `key` names it for ever: the hash of its transaction."""

    key: str
    sender: str
    units: int


class Incoming:
    def __init__(
        self, context: Context, rpc: Rpc, address: str, settings: EthereumSettings
    ) -> None:
        self._context = context
        self._rpc = rpc
        self._address = address
        self._settings = settings
        self.reorganised = 0
        """How often the chain was found to be another one than was credited from."""

    async def look(self) -> None:
        """At all blocks that have come. Raises NotNowError."""
        head = await self._rpc.number("eth_blockNumber")
        last = head - self._settings.confirmations
        with self._context.read() as records:
            cursor = records.get(CURSOR)
        if cursor is None:
            # What was paid before we were first started is not for us.
            cursor = {"next": max(last, 0), "hash": None}
            self._move(cursor, [])
        if last + REWIND_BLOCKS < cursor["next"] - 1:
            message = f"the Ethereum node is at {head}, and {cursor['next'] - 1} was looked at"
            raise NotNowError(message)
        while cursor["next"] <= last:
            size = BLOCKS_AT_ONCE if self._settings.token_address is None else LOG_BLOCKS_AT_ONCE
            end = min(last, cursor["next"] + size - 1)
            cursor = await self._step(cursor, range(cursor["next"], end + 1))

    def next_block(self) -> int:
        """The first one that was not looked at."""
        with self._context.read() as records:
            cursor = records.get(CURSOR)
        return 0 if cursor is None else int(cursor["next"])

    async def _step(self, cursor: dict[str, Any], numbers: range) -> dict[str, Any]:
        token = self._settings.token_address
        look = self._ether if token is None else self._tokens
        blocks, arrivals = await look(numbers)
        if cursor["hash"] is not None and not _follow(cursor["hash"], blocks):
            return self._rewind(cursor)
        moved = {"next": numbers[-1] + 1, "hash": blocks[-1]["hash"]}
        self._move(moved, arrivals)
        return moved

    async def _ether(self, numbers: range) -> tuple[list[dict[str, Any]], list[Arrival]]:
        blocks = await self._rpc.blocks(numbers, whole=True)
        arrivals = []
        for block in blocks:
            for transaction in block["transactions"]:
                if transaction.get("to") is None or as_number(transaction["value"]) == 0:
                    continue
                if transaction["to"].lower() == self._address:
                    arrivals += await self._arrival(transaction, block["hash"])
        return blocks, arrivals

    async def _arrival(self, transaction: dict[str, Any], block_hash: str) -> list[Arrival]:
        receipt = await self._rpc.receipt(transaction["hash"])
        if receipt is None or receipt.get("blockHash") != block_hash:
            raise NotNowError("the chain changes while it is looked at")
        if as_number(receipt.get("status", "0x1")) != 1:
            return []
        sender = transaction["from"].lower()
        return [Arrival(transaction["hash"], sender, as_number(transaction["value"]))]

    async def _tokens(self, numbers: range) -> tuple[list[dict[str, Any]], list[Arrival]]:
        wanted = {
            "fromBlock": hex(numbers[0]),
            "toBlock": hex(numbers[-1]),
            "address": self._settings.token_address,
            "topics": [TRANSFER_TOPIC, None, "0x" + self._address.removeprefix("0x").zfill(64)],
        }
        # The ends tell whether it is the chain that we know, before and after the call.
        ends = [numbers[0], numbers[-1]]
        before = [await self._rpc.block(number, whole=False) for number in ends]
        logs = await self._rpc.call("eth_getLogs", wanted)
        after = [await self._rpc.block(number, whole=False) for number in ends]
        if [block["hash"] for block in before] != [block["hash"] for block in after]:
            raise NotNowError("the chain changes while it is looked at")
        if not isinstance(logs, list):
            raise RpcError("eth_getLogs: no list")
        return after, self._transfers(logs)

    def _transfers(self, logs: list[Any]) -> list[Arrival]:
        """In the order of the chain. A transaction with several has as many keys."""
        ordered = sorted(
            logs, key=lambda log: (as_number(log["blockNumber"]), as_number(log["logIndex"]))
        )
        counts: dict[str, int] = {}
        arrivals = []
        for log in ordered:
            if log.get("removed") or log["address"].lower() != self._settings.token_address:
                continue
            name, units = str(log["transactionHash"]), as_number(log["data"])
            number = counts[name] = counts.get(name, 0) + 1
            if units > 0:
                key = name if number == 1 else f"{name}-{number}"
                arrivals.append(Arrival(key, _address(log["topics"][1]), units))
        return arrivals

    def _rewind(self, cursor: dict[str, Any]) -> dict[str, Any]:
        back = {"next": max(cursor["next"] - REWIND_BLOCKS, 0), "hash": None}
        self.reorganised += 1
        self._context.log.error(
            "the chain was reorganised deeper than the confirmations; compare what was credited",
            block=cursor["next"] - 1,
            again_from=back["next"],
        )
        self._move(back, [])
        return back

    def _move(self, cursor: dict[str, Any], arrivals: list[Arrival]) -> None:
        with self._context.change() as change:
            for arrival in arrivals:
                if arrival.sender != self._address:
                    self._take(change, arrival)
            change.put(CURSOR, cursor)

    def _take(self, change: OwnChange, arrival: Arrival) -> None:
        account_id = change.get(f"address/{arrival.sender}")
        if account_id is None:
            park(change, arrival.sender, arrival.key, arrival.units)
        else:
            quantity = Quantity(arrival.units, self._settings.asset_scale)
            change.credit(account_id, quantity, arrival.key)


def _follow(parent_hash: str, blocks: list[dict[str, Any]]) -> bool:
    """Whether the first follows the block of this hash, and each of them the one before it, if they
    are neighbours at all."""
    if blocks[0]["parentHash"] != parent_hash:
        return False
    for block, after in zip(blocks, blocks[1:], strict=False):
        neighbours = as_number(after["number"]) == as_number(block["number"]) + 1
        if neighbours and after["parentHash"] != block["hash"]:
            raise NotNowError("the chain changes while it is looked at")
    return True


def _address(topic: str) -> str:
    try:
        return address_of(topic[-40:])
    except DecodeError:
        raise RpcError(f"eth_getLogs: {topic!r} is no address") from None
