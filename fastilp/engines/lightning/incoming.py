"""Invoices that our peers ask for, and what is paid to them. Imports the neighbours.

An invoice is in the store, under its hash with its account, before the peer is told: so whatever
can be paid is looked for. It is looked for until long after it has expired, since a payment that
began in time may come to its end later. The credit's key is the payment hash, and it is written
together with the end of the invoice.
"""

import time
from typing import Any

from fastilp.engines.context import Context
from fastilp.engines.errors import EngineError, NotNowError
from fastilp.engines.lightning import messages
from fastilp.engines.lightning.node import LightningNode
from fastilp.engines.lightning.settings import LightningSettings
from fastilp.engines.quantity import Quantity
from fastilp.errors import DecodeError

SAT_SCALE, MSAT_SCALE = 8, 11
# What a payment may be on its way at most, by what nodes accept as a time lock.
LATE_S = 14 * 24 * 3_600
KEPT_S = 180 * 24 * 3_600
# Of one account, not paid yet: whoever wants more has not paid what it asked for.
OPEN_MAX = 200
# Of one account, expired ones too: each is looked up again and again until it is forgotten.
KNOWN_MAX = 2_000


class Incoming:
    def __init__(self, context: Context, node: LightningNode, settings: LightningSettings) -> None:
        self._context = context
        self._node = node
        self._settings = settings

    async def answer(self, account_id: str, message: bytes) -> bytes:
        """Raises EngineError."""
        try:
            wanted = messages.wanted(message)
        except DecodeError as error:
            raise EngineError(str(error), status=400) from None
        kept = self._kept(account_id, wanted)
        if kept is None:
            kept = await self._create(account_id, wanted)
        return messages.answer(kept)

    async def look(self) -> None:
        """At all invoices that may have been paid. Raises NotNowError."""
        asked_s = time.time()
        with self._context.read() as records:
            open_ones = dict(records.items("invoice/"))
            accounts = set(records.accounts())
        names = {name.removeprefix("invoice/"): record for name, record in open_ones.items()}
        if not names:
            # Whether it answers, an operator should know before there is something to settle.
            await self._node.describe()
            return
        paid = await self._node.received(names)
        for payment_hash, record in names.items():
            if payment_hash in paid:
                if record["account"] in accounts:
                    self._credit(payment_hash, record, paid[payment_hash])
            elif record["expires_s"] + LATE_S < asked_s:
                self._forget(payment_hash, record)

    def sweep(self) -> None:
        """Forget the questions of payments that were made long ago."""
        before_s = time.time() - KEPT_S
        with self._context.change() as change:
            for name, kept in change.items("asked/"):
                is_open = change.get(f"invoice/{kept['hash']}") is not None
                if kept["expires_s"] < before_s and not is_open:
                    change.delete(name)

    def counts(self) -> tuple[int, int]:
        """Invoices that are open, and among them those of accounts that are gone."""
        with self._context.read() as records:
            accounts = set(records.accounts())
            found = [record["account"] for _, record in records.items("invoice/")]
        return len(found), sum(account not in accounts for account in found)

    def _kept(self, account_id: str, wanted: messages.Wanted) -> str | None:
        """The invoice that was made for this payment, unless it is about to expire."""
        with self._context.read() as records:
            kept = records.get(f"asked/{account_id}/{wanted.name}")
            if kept is None:
                return None
            is_open = records.get(f"invoice/{kept['hash']}") is not None
        if kept["sat"] != wanted.sat:
            raise EngineError("this id was used for another amount", status=409)
        # One that was paid is the answer for ever: the payer's node knows that it has paid.
        is_fresh = kept["expires_s"] - time.time() > self._settings.invoice_expiry / 2
        return str(kept["invoice"]) if is_fresh or not is_open else None

    async def _create(self, account_id: str, wanted: messages.Wanted) -> str:
        with self._context.read() as records:
            invoices = [record for _, record in records.items("invoice/")]
        mine = [record["expires_s"] for record in invoices if record["account"] == account_id]
        open_count = sum(expires_s > time.time() for expires_s in mine)
        if open_count >= OPEN_MAX or len(mine) >= KNOWN_MAX:
            message = f"{len(mine)} invoices of this account are unpaid, {open_count} of them open"
            raise NotNowError(message, status=429)
        # Until they are forgotten they are many, and cost a peer nothing.
        self._context.check_room()
        invoice = await self._node.create_invoice(
            wanted.sat * 1_000, "settlement", self._settings.invoice_expiry
        )
        found = await self._node.decode(invoice)
        record = {"account": account_id, "sat": wanted.sat, "expires_s": found.expires_s}
        asked: dict[str, Any] = {"hash": found.payment_hash, "invoice": invoice, **record}
        with self._context.change() as change:
            change.put(f"invoice/{found.payment_hash}", {**record, "name": wanted.name})
            change.put(f"asked/{account_id}/{wanted.name}", asked)
        return invoice

    def _credit(self, payment_hash: str, record: dict[str, Any], msat: int) -> None:
        due_msat = record["sat"] * 1_000
        if msat < due_msat:
            # Of a payment in parts some have arrived: the payee's node takes all or none.
            return
        quantity = Quantity(msat, MSAT_SCALE)
        if msat % 1_000 == 0:
            quantity = Quantity(msat // 1_000, SAT_SCALE)
        with self._context.change() as change:
            change.delete(f"invoice/{payment_hash}")
            change.credit(record["account"], quantity, payment_hash)
        self._context.log.info("received", account=record["account"], msat=msat, hash=payment_hash)

    def _forget(self, payment_hash: str, record: dict[str, Any]) -> None:
        with self._context.change() as change:
            change.delete(f"invoice/{payment_hash}")
            name = f"asked/{record['account']}/{record['name']}"
            kept = change.get(name)
            if kept is not None and kept["hash"] == payment_hash:
                change.delete(name)
