"""Payments: each under its key is one payment hash at a time, whatever happens. Imports the
neighbours.

The invoice and its hash are in the store before the node hears of them. A node pays a hash at most
once, so asking it again is safe; and it does not begin to pay an invoice that has expired. Hence
another invoice is asked for only when the last one has expired, some time ago, and after that the
node still says that nothing of it was paid or is on its way. Everything else is waited for. Who
gives us an invoice cannot have one payment counted twice: a hash belongs to the key that it was
first given for, and one that the node knows already is refused.
"""

import asyncio
import time
from hashlib import sha256
from typing import Any

from fastilp.engines import paid
from fastilp.engines.context import Context
from fastilp.engines.errors import NotNowError
from fastilp.engines.lightning import messages
from fastilp.engines.lightning.node import LightningNode, Payment, State
from fastilp.engines.lightning.settings import LightningSettings
from fastilp.errors import DecodeError

# Clocks of the two nodes and of ours may differ by so much.
EXPIRED_AFTER_S = 60
# A payment that is on its way for longer is somebody's to look at.
HANGS_AFTER_S = 300
KEPT_MS = 180 * 24 * 3_600_000
FEES = "fees"


class Outgoing:
    def __init__(self, context: Context, node: LightningNode, settings: LightningSettings) -> None:
        self._context = context
        self._node = node
        self._settings = settings
        self.expired_after_s = EXPIRED_AFTER_S
        self.hangs_after_s = HANGS_AFTER_S
        self._begun: dict[str, float] = {}

    async def pay(self, account_id: str, sat: int, key: str) -> None:
        """Returns when it is done. Raises NotNowError, EngineError to be called again."""
        with self._context.read() as records:
            if paid.is_paid(records, key):
                return
            record = records.get(f"sent/{key}")
        if record is None:
            record = await self._prepare(account_id, sat, key)
        self._begun[key] = time.monotonic()
        try:
            await self._pay(key, record)
        finally:
            del self._begun[key]

    def hanging(self) -> dict[str, str]:
        """Payments of which nobody knows when they will end."""
        before_s = time.monotonic() - self.hangs_after_s
        text = f"on its way for more than {self.hangs_after_s / 60:.0f} minutes"
        return {key: text for key, since_s in self._begun.items() if since_s <= before_s}

    async def _pay(self, key: str, record: dict[str, Any]) -> None:
        is_tried = False
        while True:
            # Before the state: what it is after that moment does not count.
            asked_s = time.time()
            payment = await self._node.payment(record["hash"])
            if payment.state is State.PAID:
                self._ended(key, record, payment)
                return
            if payment.state is State.PENDING:
                await asyncio.sleep(self._settings.poll_frequency / 1_000)
                continue
            self._check_time(key, record, asked_s)
            if is_tried:
                raise NotNowError(f"not paid: {payment.reason or 'the node does not say why'}")
            await self._node.pay(
                record["invoice"], self._settings.fee_msat_max(record["sat"] * 1_000)
            )
            is_tried = True

    def sweep(self) -> None:
        """Forget what was done long ago."""
        for record in paid.sweep(self._context, KEPT_MS):
            with self._context.change() as change:
                change.delete(f"hash/{record['hash']}")

    def fees_msat(self) -> int:
        """Of all payments ever made."""
        with self._context.read() as records:
            return int(records.get(FEES) or 0)

    async def _prepare(self, account_id: str, sat: int, key: str) -> dict[str, Any]:
        """An invoice of the peer's, looked through and written down."""
        wanted = messages.Wanted(sha256(key.encode()).hexdigest()[:32], sat)
        raw = await self._context.message(account_id, messages.question(wanted))
        try:
            invoice = messages.invoice(raw)
        except DecodeError as error:
            raise NotNowError(f"the peer's engine answers wrongly: {error}") from None
        found = await self._node.decode(invoice)
        if found.msat != sat * 1_000:
            raise NotNowError(f"the peer's invoice is for {found.msat} msat, must be {sat * 1_000}")
        if found.expires_s <= time.time():
            raise NotNowError("the peer's invoice has expired")
        if (await self._node.payment(found.payment_hash)).state is not State.UNKNOWN:
            raise NotNowError("our node knows the peer's invoice already")
        record = {
            "hash": found.payment_hash,
            "invoice": invoice,
            "expires_s": found.expires_s,
            "sat": sat,
            "account": account_id,
        }
        with self._context.change() as change:
            if change.get(f"hash/{found.payment_hash}") is not None:
                raise NotNowError("the peer has given us this invoice before")
            change.put(f"hash/{found.payment_hash}", key)
            change.put(f"sent/{key}", record)
        return record

    def _check_time(self, key: str, record: dict[str, Any], asked_s: float) -> None:
        """Raises NotNowError unless the invoice may be paid; forgets it if it never will be."""
        if asked_s < record["expires_s"]:
            return
        if asked_s < record["expires_s"] + self.expired_after_s:
            raise NotNowError("the invoice has expired, and clocks may differ")
        with self._context.change() as change:
            change.delete(f"sent/{key}")
        self._context.log.warning("invoice has expired unpaid", key=key, hash=record["hash"])
        raise NotNowError("the invoice has expired unpaid; another one will be asked for")

    def _ended(self, key: str, record: dict[str, Any], payment: Payment) -> None:
        if not payment.proves(record["hash"]):
            # It says paid and cannot prove it: nothing that may be paid again.
            raise NotNowError("our node calls it paid, with a preimage that is not its own")
        facts = {"hash": record["hash"], "preimage": payment.preimage}
        with self._context.change() as change:
            paid.note(change, key, **facts, fee_msat=payment.fee_msat)
            change.put(FEES, str(int(change.get(FEES) or 0) + payment.fee_msat))
        self._context.log.info("paid", key=key, hash=record["hash"], fee_msat=payment.fee_msat)
