"""Payments: each under its key is one transaction, whatever happens. Imports the neighbours.

A signed transaction is in the store before it is sent. It can only be mined at its nonce, and all
that replaces it, at a higher fee, has the same nonce: so the payment is made at most once. It is
done when it is mined and has its confirmations. If the transaction failed, or the nonce was used by
a transaction of another program with our key, then ours can never be mined any more, and the
payment gets a new one. That must be seen in a block: what cannot be told is waited for.

The payee may be a contract, whose work we pay for: what would fail, or takes more than `max_gas`,
gets no nonce, and what fails on the chain all the same is tried less and less often.
"""

import asyncio
import contextlib
import time
from typing import Any, NoReturn

from fastilp.engines import failures, paid
from fastilp.engines.context import Context
from fastilp.engines.errors import NotNowError
from fastilp.engines.ethereum.fees import (
    TRANSFER_GAS,
    Fees,
    bumped,
    market,
    most_per_gas,
)
from fastilp.engines.ethereum.rpc import Rpc, RpcError, as_number
from fastilp.engines.ethereum.settings import EthereumSettings
from fastilp.engines.ethereum.signing import Key
from fastilp.engines.pinning import pinned

# transfer(address,uint256) and balanceOf(address) of ERC-20.
_TRANSFER, _BALANCE_OF = "a9059cbb", "70a08231"
# Each offers a quarter more: after so many only the market is waited for.
REPLACEMENTS_MAX = 20
# What is above the block that a payment was signed at may have been below it before.
REORGANISED_BLOCKS_MAX = 16


class Outgoing:
    def __init__(self, context: Context, rpc: Rpc, key: Key, settings: EthereumSettings) -> None:
        self._context = context
        self._rpc = rpc
        self._key = key
        self._settings = settings
        # Of the choice of nonces: two payments at the same time must not choose the same.
        self._lock = asyncio.Lock()
        self.said: dict[str, str] = {}
        """Of payments that are not mined, by key: why nothing more is offered."""

    async def pay(self, account_id: str, to: str, units: int, key: str, chain_id: int) -> None:
        """Returns when it is done. Raises NotNowError to be called again."""
        with self._context.read() as records:
            if paid.is_paid(records, key):
                return
            record = records.get(f"sent/{key}")
        if record is None:
            async with self._lock:
                self._check_failures(account_id)
                record = await self._prepare(account_id, to, units, key, chain_id)
        try:
            while record is not None:
                await self._send(record)
                record = await self._wait(key, record)
        finally:
            self.said.pop(key, None)

    async def resend(self) -> None:
        """What the node has forgotten, by a restart or a reorganisation. In the order of their
        nonces: a missing one holds up all behind it."""
        for record in self._pending():
            known = await self._rpc.call("eth_getTransactionByHash", record["hashes"][-1])
            if known is None:
                with contextlib.suppress(RpcError):
                    # Its own turn will say what is wrong with it.
                    await self._send(record)

    async def _prepare(
        self, account_id: str, to: str, units: int, key: str, chain_id: int
    ) -> dict[str, Any]:
        """Chooses the nonce, signs, writes down."""
        token = self._settings.token_address
        fields: dict[str, Any] = {"to": to, "value": units, "chainId": chain_id}
        if token is not None:
            data = "0x" + _TRANSFER + _word(int(to, 16)) + _word(units)
            fields |= {"to": token, "value": 0, "data": data}
        fees = await market(
            self._rpc, self._settings.transaction_type, self._settings.max_fee_per_gas
        )
        try:
            fields["gas"] = await self._gas(fields)
        except RpcError as error:
            # What there is no money for would fail as well; that is the better word for it.
            await self._check_funds(fields | {"gas": TRANSFER_GAS}, fees, units)
            raise NotNowError(f"the payment to {to} would fail: {error}") from None
        await self._check_funds(fields, fees, units)
        nonces = [record["fields"]["nonce"] + 1 for record in self._pending()]
        count = await self._count("pending")
        fields["nonce"] = max([count, *nonces])
        record = {
            "account": account_id,
            "fields": _texts(fields),
            "units": str(units),
            "block": await self._rpc.number("eth_blockNumber"),
            "raws": [],
            "hashes": [],
        }
        return self._sign(key, record, fees)

    async def _gas(self, fields: dict[str, Any]) -> int:
        call = {"from": self._key.address, "to": fields["to"], "value": hex(fields["value"])}
        found = await self._rpc.number("eth_estimateGas", call | {"data": fields.get("data", "0x")})
        most = self._settings.gas_max
        if found > most:
            message = f"the payment to {fields['to']} takes {found} gas, and `max_gas` is {most}"
            raise NotNowError(message)
        # A contract's cost may change until it is mined; what is not used is not paid.
        return found if found == TRANSFER_GAS else min(found * 5 // 4, most)

    def _check_failures(self, account_id: str) -> None:
        busy = any(record["account"] == account_id for record in self._pending())
        with self._context.read() as records:
            failures.check(records, account_id, busy)

    async def _check_funds(self, fields: dict[str, Any], fees: Fees, units: int) -> None:
        """A nonce once chosen must be used, so what cannot be paid does not get one."""
        mined = await self._count("latest")
        pending = [each for each in self._pending() if each["fields"]["nonce"] >= mined]
        need = _cost(fields, fees) + sum(_cost(each["fields"], each["fees"]) for each in pending)
        have = await self._rpc.number("eth_getBalance", self._key.address, "latest")
        if have < need:
            raise NotNowError(f"{self._key.address} has {have} wei, and {need} are needed")
        if self._settings.token_address is not None:
            data = "0x" + _BALANCE_OF + _word(int(self._key.address, 16))
            call = {"to": self._settings.token_address, "data": data}
            tokens = as_number(await self._rpc.call("eth_call", call, "latest"))
            wanted = units + sum(int(each["units"]) for each in pending)
            if tokens < wanted:
                message = f"{self._key.address} has {tokens} units of the token, not {wanted}"
                raise NotNowError(message)

    def _pending(self) -> list[dict[str, Any]]:
        """By their nonces."""
        with self._context.read() as records:
            pending = [record for _, record in records.items("sent/")]
        return sorted(pending, key=lambda record: int(record["fields"]["nonce"]))

    def _sign(self, key: str, record: dict[str, Any], fees: Fees) -> dict[str, Any]:
        """The record with one transaction more, on the disk."""
        fields = _numbers(record["fields"]) | fees
        if "maxFeePerGas" in fees:
            fields["type"] = 2
        raw, transaction_hash = self._key.sign_transaction(fields)
        signed = record | {
            "fees": {name: str(fee) for name, fee in fees.items()},
            "raws": [*record["raws"], raw],
            "hashes": [*record["hashes"], transaction_hash],
        }
        with self._context.change() as change:
            change.put(f"sent/{key}", signed)
        return signed

    async def _send(self, record: dict[str, Any]) -> None:
        """The newest. Nodes refuse what they know already: only what matters is raised."""
        try:
            await self._rpc.call("eth_sendRawTransaction", record["raws"][-1])
        except RpcError:
            for transaction_hash in record["hashes"]:
                if await self._rpc.call("eth_getTransactionByHash", transaction_hash) is not None:
                    return
            if await self._count("latest") <= record["fields"]["nonce"]:
                raise

    async def _wait(self, key: str, record: dict[str, Any]) -> dict[str, Any] | None:
        """Until it is done, or a replacement is signed: the record with it. Raises NotNowError if
        it never will be."""
        nonce, begun = record["fields"]["nonce"], time.monotonic()
        while True:
            head = await self._rpc.number("eth_blockNumber")
            deep = head - self._settings.confirmations
            receipt = await self._receipt(record)
            if receipt is not None:
                self.said.pop(key, None)
            if receipt is not None and as_number(receipt["blockNumber"]) <= deep:
                self._ended(key, record, receipt)
                return None
            if receipt is None and deep >= 0 and await self._count(hex(deep)) > nonce:
                other = await self._user_of(nonce, record["block"], deep)
                await self._check_chain()
                if other not in record["hashes"]:
                    self._give_up(key, f"its nonce {nonce} was used by {other}")
            waited_ms = (time.monotonic() - begun) * 1_000
            if receipt is None and waited_ms >= self._settings.bump_after_ms:
                return await self._replace(key, record)
            await asyncio.sleep(self._settings.poll_frequency / 1_000)

    async def _user_of(self, nonce: int, first: int, last: int) -> str:
        """The hash of our transaction with this nonce, which is between these blocks. Raises
        NotNowError if the node cannot show it."""
        first = max(min(first - REORGANISED_BLOCKS_MAX, last), 0)
        while first < last:
            middle = (first + last) // 2
            if await self._count(hex(middle)) > nonce:
                last = middle
            else:
                first = middle + 1
        block = await self._rpc.block(first, whole=True)
        for transaction in block["transactions"]:
            is_ours = transaction["from"].lower() == self._key.address
            if is_ours and as_number(transaction["nonce"]) == nonce:
                return str(transaction["hash"])
        raise NotNowError(f"the nonce {nonce} is used, and the node does not show by what")

    async def _check_chain(self) -> None:
        """Another chain that the node is of now says nothing about our nonces."""
        known, genesis = pinned(self._context), await self._rpc.block(0, whole=False)
        if known is not None and known["block_0"] != genesis["hash"]:
            raise NotNowError("the Ethereum node is of another chain than it was")

    async def _receipt(self, record: dict[str, Any]) -> dict[str, Any] | None:
        for transaction_hash in record["hashes"]:
            receipt = await self._rpc.receipt(transaction_hash)
            if receipt is not None:
                return receipt
        return None

    def _ended(self, key: str, record: dict[str, Any], receipt: dict[str, Any]) -> None:
        transaction_hash = str(receipt["transactionHash"])
        if as_number(receipt.get("status", "0x1")) != 1:
            self._give_up(key, f"the transaction {transaction_hash} failed", record["account"])
        with self._context.change() as change:
            paid.note(change, key, hash=transaction_hash)
            failures.forget(change, record["account"])
        self._context.log.info("paid", key=key, transaction=transaction_hash)

    def _give_up(self, key: str, why: str, account_id: str | None = None) -> NoReturn:
        """Nothing of it can be mined any more. The next call makes a new transaction.
        `account_id`: whose payee it failed at."""
        with self._context.change() as change:
            change.delete(f"sent/{key}")
            if account_id is not None:
                failures.add(change, account_id, why)
        raise NotNowError(why)

    async def _replace(self, key: str, record: dict[str, Any]) -> dict[str, Any]:
        """With the same nonce and a higher fee, if there is one."""
        old = {name: int(fee) for name, fee in record["fees"].items()}
        now = await market(
            self._rpc, self._settings.transaction_type, self._settings.max_fee_per_gas
        )
        fees = bumped(old, now, self._settings.max_fee_per_gas)
        if fees is None or len(record["raws"]) > REPLACEMENTS_MAX:
            why = "`max_fee_per_gas`" if fees is None else f"{REPLACEMENTS_MAX} replacements"
            self.said[key] = f"is not mined, and {why} allow no higher fee"
            return record
        nonce = record["fields"]["nonce"]
        signed = self._sign(key, record, fees)
        self._context.log.warning("payment offers more", key=key, nonce=nonce, fees=signed["fees"])
        return signed

    async def _count(self, block: str) -> int:
        return await self._rpc.number("eth_getTransactionCount", self._key.address, block)


def _word(number: int) -> str:
    return f"{number:064x}"


def _texts(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON has no numbers of 256 bits."""
    return fields | {"value": str(fields["value"])}


def _numbers(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"value": int(fields["value"])}


def _cost(fields: dict[str, Any], fees: Any) -> int:
    """At most."""
    most = most_per_gas({name: int(fee) for name, fee in fees.items()})
    return int(fields["value"]) + int(fields["gas"]) * most
