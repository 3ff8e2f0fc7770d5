"""Payments of this node's accounts: begun, looked at, cancelled, resumed. Imports storage, errors
and `paying`.

A payment is a record in the store from its first moment to its end, and stays one. What ran when
the node ended is `interrupted` at the next start, with all that was sent and delivered, and an
upper bound of what is uncertain; it goes on when somebody asks for that.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterator

from fastilp._core.books import Account
from fastilp.control.accounts import Puts
from fastilp.control.entries import Entry
from fastilp.control.paying import (
    CANCELLED,
    COMPLETED,
    FAILED,
    INTERRUPTED,
    RUNNING,
    Order,
    Payer,
    Payment,
    rest_of,
)
from fastilp.errors import ConflictError, FastILPError, PaymentError, StorageError, UsageError
from fastilp.storage.ledger import Ledger
from fastilp.storage.payments import (
    PAYMENTS,
    PAYMENTS_OF,
    PAYMENTS_RUNNING,
    PaymentName,
    PaymentRecord,
    beginning_of,
    canonical_id,
    name_in_list,
    new_payment_id,
)

_log = logging.getLogger("fastilp.payments")

# What one process runs at once, and one account; each costs some kilobytes.
RUNNING_MAX = 10_000
RUNNING_PER_ACCOUNT_MAX = 1_000
_DAY_MS = 24 * 3_600_000
# Looked at in one sweep.
_SWEPT_MAX = 100

Also = Callable[[PaymentRecord], Puts]
"""More records for the transactions of a payment's begin and end."""


class BusyError(FastILPError):
    """Too many payments run."""


class NoPaymentError(FastILPError):
    """The account has no such payment."""


def _nothing(record: PaymentRecord) -> Puts:
    return []


class Payments:
    """`now_ms`: the node's clock. `kept_days`: how long a payment that has ended is kept."""

    def __init__(
        self, ledger: Ledger, payer: Payer, now_ms: Callable[[], int], kept_days: int = 400
    ) -> None:
        self._ledger = ledger
        self._payer = payer
        self._now_ms = now_ms
        self._kept_ms = kept_days * _DAY_MS
        self._running: dict[str, Payment] = {}
        self._by_account: dict[bytes, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- Ends and beginnings of a run -----------------------------------------------------------

    def restore(self) -> int:
        """What ran when the node ended is interrupted. Returns how many there are."""
        store = self._ledger.store
        if store is None:
            return 0
        found = list(PAYMENTS_RUNNING.items(store))
        for name in found:
            record = PAYMENTS.get(store, name.payment_id)
            puts = [] if record is None else [PAYMENTS.put(_interrupted(record))]
            self._ledger.transact(puts=puts, deletes=[PAYMENTS_RUNNING.key(name.name)])
        return len(found)

    def interrupt(self) -> None:
        """Take nothing new, and send no more of what runs."""
        self._closed = True
        for payment in self._running.values():
            payment.stop(INTERRUPTED)

    async def close(self, timeout_seconds: float) -> None:
        """Interrupt all that run, and return when what they have in flight is answered. What is not
        in time is found at the next start."""
        self.interrupt()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def sweep(self) -> int:
        """Forget those of the oldest that are too old. Returns how many were."""
        store = self._ledger.store
        if store is None:
            return 0
        before = self._now_ms() - self._kept_ms
        oldest = next(PAYMENTS.page(store, "", "", 1), None)
        if oldest is None or oldest.created_at_ms >= before:
            return 0
        old = [
            record
            for record in PAYMENTS.page(store, "", "", _SWEPT_MAX)
            if record.created_at_ms < before and record.payment_id not in self._running
        ]
        deletes = []
        for record in old:
            name = name_in_list(record.account_id, record.payment_id)
            deletes += [PAYMENTS.key(record.payment_id), PAYMENTS_OF.key(name)]
        if deletes:
            self._ledger.transact(deletes=deletes)
        return len(old)

    # --- What is asked of it --------------------------------------------------------------------

    async def begin(self, entry: Entry, order: Order, also: Also = _nothing) -> Payment:
        """A new payment, which runs. Raises PaymentError where the receiver cannot be asked,
        BusyError."""
        now_ms = self._now_ms()
        account = entry.account
        record = PaymentRecord(
            payment_id=new_payment_id(now_ms),
            account_id=account.id,
            username=account.name,
            receiver=order.receiver,
            created_at_ms=now_ms,
            changed_at_ms=now_ms,
            state=RUNNING,
            source_asset_code=account.asset_code,
            source_asset_scale=account.asset_scale,
            source_amount=order.source_amount,
            delivery_amount=order.delivery_amount,
            slippage=str(order.slippage),
        )
        return await self._start(entry, record, order, also)

    async def resume(self, entry: Entry, payment_id: str, also: Also = _nothing) -> Payment:
        """Pay the rest of one that has ended too early. Raises NoPaymentError, ConflictError where
        there is no rest, and what `begin` does."""
        record = self.find(entry.account, payment_id)
        if record.state == RUNNING:
            raise ConflictError("the payment runs")
        if record.state == COMPLETED:
            raise ConflictError("the payment is complete; nothing is left of it")
        rest = rest_of(record)
        if rest is None:
            raise ConflictError("nothing is left of the payment that is surely unpaid")
        record = dataclasses.replace(record, state=RUNNING, error=None, in_flight_amount=0)
        return await self._start(entry, record, rest, also)

    def shown(self, payment: Payment) -> PaymentRecord:
        return payment.shown(self._now_ms())

    def find(self, account: Account, payment_id: str) -> PaymentRecord:
        """As it is now, and on its way to the disk. Raises NoPaymentError."""
        payment = self.running(account, payment_id)
        if payment is not None:
            return self._written(payment)
        store, record = self._ledger.store, None
        if store is not None:
            record = PAYMENTS.get(store, _canonical(payment_id))
        if record is None or record.account_id != account.id:
            raise NoPaymentError(f"account `{account.name}` has no payment {payment_id[:100]!r}")
        return record

    def running(self, account: Account, payment_id: str) -> Payment | None:
        payment = self._running.get(_canonical(payment_id))
        return payment if payment is not None and payment.account_id == account.id else None

    def page(self, account: Account, after: str, limit: int) -> Iterator[PaymentRecord]:
        """The first `limit` of an account's payments, the newest first, behind that one."""
        store = self._ledger.store
        if store is None:
            return
        behind = name_in_list(account.id, canonical_id(after)) if after else ""
        for name in PAYMENTS_OF.page(store, beginning_of(account.id), behind, limit):
            payment = self._running.get(name.payment_id)
            if payment is not None:
                yield self._written(payment)
            elif (record := PAYMENTS.get(store, name.payment_id)) is not None:
                yield record

    def cancel(self, account: Account, payment_id: str) -> None:
        """Send nothing more of it. Raises NoPaymentError; one that has ended stays as it is."""
        payment = self.running(account, payment_id)
        if payment is not None:
            payment.stop(CANCELLED)
        else:
            self.find(account, payment_id)

    def cancel_all(self, username: str) -> None:
        """The account is being closed."""
        for payment in list(self._running.values()):
            if payment.username == username:
                payment.stop(CANCELLED)

    # --- One payment ----------------------------------------------------------------------------

    async def _start(
        self, entry: Entry, record: PaymentRecord, order: Order, also: Also
    ) -> Payment:
        self._enter(record)
        payment = Payment(record, self._put, self._ledger.committed)
        self._running[record.payment_id] = payment
        try:
            payment.open(await self._payer.open(entry, order, payment))
            self._put_first(payment, also)
        except BaseException:
            self._leave(payment)
            raise
        task = asyncio.get_running_loop().create_task(self._run(payment, also))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return payment

    async def _run(self, payment: Payment, also: Also) -> None:
        state, error = COMPLETED, None
        try:
            if not await payment.run():
                state, error = payment.stopped_as or FAILED, payment.stopped_by
        except PaymentError as failure:
            state, error = FAILED, str(failure)
        except Exception:
            _log.exception("a payment failed", extra={"payment": payment.payment_id})
            state, error = FAILED, "an internal error; the log has it"
        payment.end(state, error)
        self._put_last(payment, also)
        self._leave(payment)
        payment.ended.set()

    def _enter(self, record: PaymentRecord) -> None:
        if self._closed:
            raise BusyError("the node takes no new payments: it is draining")
        if record.payment_id in self._running:
            raise ConflictError("the payment runs")
        count = self._by_account.get(record.account_id, 0)
        if len(self._running) >= RUNNING_MAX or count >= RUNNING_PER_ACCOUNT_MAX:
            raise BusyError("too many payments run; wait for some of them to end")
        self._by_account[record.account_id] = count + 1

    def _leave(self, payment: Payment) -> None:
        del self._running[payment.payment_id]
        count = self._by_account.pop(payment.account_id) - 1
        if count:
            self._by_account[payment.account_id] = count

    # --- Records --------------------------------------------------------------------------------

    def _put_first(self, payment: Payment, also: Also) -> None:
        record = payment.to_put(self._now_ms())
        name = PaymentName(name=record.payment_id, payment_id=record.payment_id)
        listed = dataclasses.replace(name, name=name_in_list(record.account_id, record.payment_id))
        puts = [PAYMENTS.put(record), PAYMENTS_OF.put(listed), PAYMENTS_RUNNING.put(name)]
        payment.ticket = self._ledger.transact(puts=[*puts, *also(record)])

    def _put(self, payment: Payment) -> int:
        return self._ledger.transact(puts=[PAYMENTS.put(payment.to_put(self._now_ms()))])

    def _written(self, payment: Payment) -> PaymentRecord:
        payment.write()
        return payment.shown(self._now_ms())

    def _put_last(self, payment: Payment, also: Also) -> None:
        record = payment.to_put(self._now_ms())
        deletes = [PAYMENTS_RUNNING.key(record.payment_id)]
        try:
            payment.ticket = self._ledger.transact(
                puts=[PAYMENTS.put(record), *also(record)], deletes=deletes
            )
        except StorageError as error:
            _log.error("a payment's end was not written", extra={"reason": str(error)})


def _interrupted(record: PaymentRecord) -> PaymentRecord:
    found = dataclasses.replace(
        record,
        state=INTERRUPTED,
        error="the node ended before the payment did",
        in_flight_amount=0,
        uncertain_amount=record.uncertain_amount + record.in_flight_amount,
    )
    if rest_of(found) is None:
        # All of it may have arrived: there is nothing to go on with.
        return dataclasses.replace(found, state=COMPLETED, error=None)
    return found


def _canonical(payment_id: str) -> str:
    try:
        return canonical_id(payment_id)
    except UsageError as error:
        raise NoPaymentError(str(error)) from None
