"""Payments: each under its key is one validated transaction. Imports the neighbours.

A signed transaction is in the store before it is submitted, with its LastLedgerSequence: the last
ledger that can contain it. Submitting it again changes nothing, and what the node says to that is
provisional. Only validated ledgers judge: the transaction is in one of them, or the node has all
ledgers up to that last one and it is in none. Then it never will be, and the payment is signed
anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastilp.engines import failures, paid
from fastilp.engines.context import Context
from fastilp.engines.errors import NotNowError
from fastilp.engines.xrp.accounts import Details
from fastilp.engines.xrp.rpc import Ledger, Rpc, RpcError, as_number, field
from fastilp.engines.xrp.settings import XrpSettings
from fastilp.engines.xrp.wallet import Wallet

# Networks above it want their number in every transaction.
NETWORK_ID_UNNAMED_MAX = 1_024

Find = Callable[[], Awaitable[Details]]


class Outgoing:
    def __init__(self, context: Context, rpc: Rpc, wallet: Wallet, settings: XrpSettings) -> None:
        self._context = context
        self._rpc = rpc
        self._wallet = wallet
        self._settings = settings
        # Of the choice of sequences: two payments at the same time must not choose the same.
        self._lock = asyncio.Lock()
        self.said: dict[str, str] = {}
        """What the node says to a payment that is on its way, by key, if that is a fault."""

    async def pay(self, account_id: str, find: Find, drops: int, key: str) -> None:
        """`find`: where to, asked for when it is signed. Returns when it is validated. Raises
        NotNowError to be called again."""
        with self._context.read() as records:
            if paid.is_paid(records, key):
                return
            record = records.get(f"sent/{key}")
        while True:
            if record is None:
                record = await self._prepare(account_id, await find(), drops, key)
                await self._submit(key, record)
            if await self._is_validated(key, record):
                return
            record = None

    async def resend(self) -> None:
        """All that is on its way. In the order of their sequences: a missing one holds up all
        behind it."""
        pending = self._pending()
        number = (await self._rpc.ledger()).number if pending else 0
        for key, record in pending:
            if number < record["last"]:
                await self._submit(key, record)

    async def _prepare(self, account_id: str, to: Details, drops: int, key: str) -> dict[str, Any]:
        """Chooses the sequence, signs, writes down."""
        async with self._lock:
            self._check_failures(account_id)
            ledger = await self._rpc.ledger()
            fee = await self._fee()
            sequence = await self._sequence(ledger, drops + fee)
            await self._check_payee(ledger, to.address, drops)
            last = ledger.number + self._settings.expiry_ledgers
            fields: dict[str, Any] = {
                "TransactionType": "Payment",
                "Destination": to.address,
                "DestinationTag": to.tag,
                "Amount": str(drops),
                "Fee": str(fee),
                "Flags": 0,
                "Sequence": sequence,
                "LastLedgerSequence": last,
            }
            if ledger.network_id is not None and ledger.network_id > NETWORK_ID_UNNAMED_MAX:
                fields["NetworkID"] = ledger.network_id
            blob, transaction_hash = self._wallet.sign(fields)
            record = {
                "account": account_id,
                "blob": blob,
                "hash": transaction_hash,
                "sequence": sequence,
                "first": ledger.number,
                "first_hash": ledger.hash,
                "last": last,
                "cost": str(drops + fee),
            }
            with self._context.change() as change:
                change.put(f"sent/{key}", record)
        return record

    def _check_failures(self, account_id: str) -> None:
        busy = any(record["account"] == account_id for _, record in self._pending())
        with self._context.read() as records:
            failures.check(records, account_id, busy)

    async def _fee(self) -> int:
        drops = field(await self._rpc.call("fee"), "drops", dict)
        asked = max(as_number(drops.get(name)) for name in ("base_fee", "open_ledger_fee"))
        return min(asked, self._settings.max_fee)

    async def _sequence(self, ledger: Ledger, cost: int) -> int:
        """The lowest that is free. Raises NotNowError if the account does not have the money."""
        found = await self._account(self._wallet.address)
        if found is None:
            raise NotNowError(f"{self._wallet.address} is no account yet: it has no XRP")
        current = as_number(found.get("Sequence"))
        # Those below are in the node's open ledger: their cost is off the balance.
        pending = [each for _, each in self._pending() if each["sequence"] >= current]
        need = cost + sum(int(each["cost"]) for each in pending)
        reserve = ledger.reserve_base + ledger.reserve_each * as_number(found.get("OwnerCount"))
        have = as_number(found.get("Balance")) - reserve
        if have < need:
            address = self._wallet.address
            raise NotNowError(
                f"{address} has {have} drops above its reserve, and {need} are needed"
            )
        taken = {each["sequence"] for each in pending}
        return next(n for n in range(current, current + len(taken) + 1) if n not in taken)

    async def _check_payee(self, ledger: Ledger, address: str, drops: int) -> None:
        """A payment that fails on the ledger costs its fee."""
        if drops < ledger.reserve_base and await self._account(address) is None:
            raise NotNowError(
                f"the peer's {address} is no account yet, and {drops} drops do not make it one"
            )

    async def _account(self, address: str) -> dict[str, Any] | None:
        try:
            result = await self._rpc.call("account_info", account=address, ledger_index="current")
        except RpcError as error:
            if error.code == "actNotFound":
                return None
            raise
        found: dict[str, Any] = field(result, "account_data", dict)
        return found

    def _pending(self) -> list[tuple[str, dict[str, Any]]]:
        """By their sequences."""
        with self._context.read() as records:
            pending = records.items("sent/")
        named = [(name.removeprefix("sent/"), record) for name, record in pending]
        return sorted(named, key=lambda each: int(each[1]["sequence"]))

    async def _submit(self, key: str, record: dict[str, Any]) -> None:
        """Whatever the node says to it is provisional."""
        try:
            result = await self._rpc.call("submit", tx_blob=record["blob"])
            said = str(result.get("engine_result"))
        except RpcError as error:
            said = error.code
        with self._context.read() as records:
            is_ended = records.get(f"sent/{key}") is None
        # A tef is what it says to one that it has already.
        if is_ended or said.startswith(("tes", "tef", "terQUEUED", "terPRE_SEQ")):
            self.said.pop(key, None)
        elif self.said.get(key) != said:
            self.said[key] = said
            self._context.log.warning("payment is not taken yet", key=key, said=said)

    async def _is_validated(self, key: str, record: dict[str, Any]) -> bool:
        """False if it never will be. Raises NotNowError if it failed, or nobody can tell."""
        while True:
            # First this: what is validated later may be in the ledgers looked at.
            number = (await self._rpc.ledger()).number
            found, whole = await self._look(record)
            if found is not None and found.get("validated") is True:
                self._ended(key, record, found)
                return True
            if number >= record["last"]:
                if not whole and not await self._is_absent(record):
                    first, last = record["first"], record["last"]
                    raise NotNowError(f"the XRP node does not have all ledgers {first} to {last}")
                await self._check_ledgers(record)
                self._give_up(key)
                self._context.log.warning("payment expired, is signed anew", key=key)
                return False
            await asyncio.sleep(self._settings.poll_frequency / 1_000)

    async def _look(self, record: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """The transaction if it is anywhere; and whether it is nowhere, and the node has all
        ledgers where it may be."""
        asked = {"min_ledger": record["first"], "max_ledger": record["last"]}
        try:
            return await self._rpc.call("tx", transaction=record["hash"], **asked), False
        except RpcError as error:
            if error.code != "txnNotFound":
                raise
            return None, error.result.get("searched_all") is True

    async def _check_ledgers(self, record: dict[str, Any]) -> None:
        """Those of another network that the node is of now say nothing about ours."""
        known = record.get("first_hash")
        if known is not None and await self._rpc.ledger_hash(record["first"]) != known:
            raise NotNowError("the XRP node is of another ledger than the payment was made on")

    async def _is_absent(self, record: dict[str, Any]) -> bool:
        """Whether the list of our transactions, of all ledgers where it may be, is without it. A
        node shows what was submitted for some time, even if no ledger will ever contain it."""
        asked = {
            "account": self._wallet.address,
            "ledger_index_min": record["first"],
            "ledger_index_max": record["last"],
            "forward": True,
        }
        marker: Any = None
        while True:
            page = asked if marker is None else asked | {"marker": marker}
            try:
                result = await self._rpc.call("account_tx", **page)
            except RpcError as error:
                if error.code.startswith("lgr"):
                    return False
                raise
            first, last = (as_number(result.get(f"ledger_index_{end}")) for end in ("min", "max"))
            if first > record["first"] or last < record["last"]:
                return False
            for entry in field(result, "transactions", list):
                transaction = entry.get("tx") if isinstance(entry, dict) else None
                if not isinstance(transaction, dict) or transaction.get("hash") == record["hash"]:
                    return False
            marker = result.get("marker")
            if marker is None:
                return True

    def _ended(self, key: str, record: dict[str, Any], found: dict[str, Any]) -> None:
        result = field(found, "meta", dict).get("TransactionResult")
        why = f"the transaction {record['hash']} failed: {result}"
        self.said.pop(key, None)
        with self._context.change() as change:
            if result == "tesSUCCESS":
                paid.note(change, key, hash=record["hash"])
                failures.forget(change, record["account"])
            else:
                change.delete(f"sent/{key}")
                failures.add(change, record["account"], why)
        if result != "tesSUCCESS":
            raise NotNowError(why)
        self._context.log.info("paid", key=key, transaction=record["hash"])

    def _give_up(self, key: str) -> None:
        """No ledger can contain it any more."""
        self.said.pop(key, None)
        with self._context.change() as change:
            change.delete(f"sent/{key}")
