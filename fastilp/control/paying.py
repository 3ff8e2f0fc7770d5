"""One payment while it runs: what it has cost so far, as our books have it. Imports storage, errors
and types.

Promises that the record on the disk is never short: before a Prepare leaves, a record that says
that at most so much may have been sent is there. Whatever a crash takes, what is resumed after it
pays nothing twice.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from fastilp.control.entries import Entry
from fastilp.errors import StorageError
from fastilp.storage.payments import PaymentRecord

RUNNING = "running"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"
INTERRUPTED = "interrupted"
"""The node ended, or was told to end, before the payment did."""
STATES = (RUNNING, COMPLETED, FAILED, CANCELLED, INTERRUPTED)

DEFAULT_SLIPPAGE = Decimal("0.015")

# A record has room for an eighth more than is in flight: not every packet needs one.
_ROOM_DIVISOR = 8


@dataclass(frozen=True)
class Order:
    """Exactly one of the amounts is given: that of the source, or what is to be delivered."""

    receiver: str
    source_amount: int | None = None
    delivery_amount: int | None = None
    slippage: Decimal = DEFAULT_SLIPPAGE


class Delivered(NamedTuple):
    """What the sender has been told by the receiver so far."""

    amount: int
    asset_code: str | None = None
    asset_scale: int | None = None


class Books(Protocol):
    """Told of the money of a run of a payment."""

    def note(self, sent: int, in_flight: int) -> None:
        """So much was fulfilled, and so much may be: before Prepares are handed to the switch, and
        after each answer. What nobody can fulfil does not count."""

    async def may_leave(self) -> bool:
        """Returns once what was noted is on the disk; False: it never will be, or nothing is to
        leave any more."""


class Sender(Protocol):
    """Sends one payment; `node` makes it of the STREAM sender."""

    from_address: str
    to_address: str

    async def run(self) -> bool:
        """True when all of it is paid, False where it was cancelled before; nothing that can be
        fulfilled is in flight any more. Raises PaymentError."""

    def cancel(self) -> None:
        """Send nothing new; `run` returns when what is in flight has been answered, which the
        switch does by its expiry."""

    def delivered(self) -> Delivered: ...


class Payer(Protocol):
    async def open(self, entry: Entry, order: Order, books: Books) -> Sender:
        """Ask the receiver where to pay to. Raises PaymentError."""


class Payment:
    """The figures of a payment, this run's on top of those of the runs before. `put` writes the
    record and says which ticket it has, and `committed` waits for it; both raise StorageError."""

    def __init__(
        self,
        record: PaymentRecord,
        put: Callable[["Payment"], int],
        committed: Callable[[int], Awaitable[None]],
    ) -> None:
        self.ended = asyncio.Event()
        """Set once the record of its end is written."""
        self.ticket = 0
        """Of the newest record."""
        self.stopped_as: str | None = None
        """Why nothing more is sent, if it was stopped."""
        self.stopped_by: str | None = None
        """What it was that stopped it, for people."""
        self._sender: Sender | None = None
        self._before = record
        self._put = put
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._sent_before = self._sent = record.sent_amount
        self._in_flight = 0
        self._is_over = False
        # What the newest record covers.
        self._covered = record.sent_amount
        self._is_put_soon = False

    @property
    def payment_id(self) -> str:
        return self._before.payment_id

    @property
    def account_id(self) -> bytes:
        return self._before.account_id

    @property
    def username(self) -> str:
        return self._before.username

    # --- Its course -----------------------------------------------------------------------------

    def open(self, sender: Sender) -> None:
        """The receiver has said where to pay to."""
        self._sender = sender
        self._before = dataclasses.replace(
            self._before, from_address=sender.from_address, to_address=sender.to_address
        )
        if self.stopped_as is not None:
            sender.cancel()

    async def run(self) -> bool:
        """As the sender's."""
        assert self._sender is not None
        return await self._sender.run()

    def stop(self, state: str, by: str | None = None) -> None:
        if self.stopped_as is None:
            self.stopped_as, self.stopped_by = state, by
            if self._sender is not None:
                self._sender.cancel()

    def end(self, state: str, error: str | None) -> None:
        """The figures are final. Only of a run that broke off something is in flight, and then
        nobody will know what became of it."""
        uncertain = self._before.uncertain_amount + self._in_flight
        self._before = dataclasses.replace(
            self._before, state=state, error=error, uncertain_amount=uncertain
        )
        self._in_flight = 0
        self._is_over = True

    # --- Books ----------------------------------------------------------------------------------

    def note(self, sent: int, in_flight: int) -> None:
        if self._is_over:
            # The record may be another run's already.
            return
        self._sent = self._sent_before + sent
        self._in_flight = in_flight
        if self._sent + in_flight > self._covered:
            self.write()
        elif not self._is_put_soon:
            # All answers of a turn make one record.
            self._is_put_soon = True
            self._loop.call_soon(self._put_now)

    def _put_now(self) -> None:
        self._is_put_soon = False
        if not self._is_over:
            self.write()

    def write(self) -> None:
        try:
            self.ticket = self._put(self)
        except StorageError as error:
            self.stop(INTERRUPTED, f"it could not be written down: {error}")

    async def may_leave(self) -> bool:
        # Records may say less from one to the next, as packets come back, and a crash may leave
        # each: only with the newest on the disk does none count that says less.
        if self._in_flight and self.stopped_as is None:
            try:
                await self._committed(self.ticket)
            except StorageError as error:
                self.stop(INTERRUPTED, f"it could not be written down: {error}")
        return self.stopped_as is None

    # --- Records --------------------------------------------------------------------------------

    def shown(self, now_ms: int) -> PaymentRecord:
        """As it is now."""
        return self._with_figures(self._in_flight, now_ms)

    def to_put(self, now_ms: int) -> PaymentRecord:
        """The same with room for what may be sent until the next one is written."""
        in_flight = self._in_flight + self._in_flight // _ROOM_DIVISOR
        if self._before.source_amount is not None:
            # No more is ever sent than was ordered and is not uncertain already.
            left = self._before.source_amount - self._sent - self._before.uncertain_amount
            in_flight = max(self._in_flight, min(in_flight, left))
        self._covered = self._sent + in_flight
        return self._with_figures(in_flight, now_ms)

    def _with_figures(self, in_flight: int, now_ms: int) -> PaymentRecord:
        record = self._before
        told = self._sender.delivered() if self._sender is not None else Delivered(0)
        return dataclasses.replace(
            record,
            changed_at_ms=now_ms,
            sent_amount=self._sent,
            in_flight_amount=in_flight,
            delivered_amount=record.delivered_amount + told.amount,
            destination_asset_code=told.asset_code or record.destination_asset_code,
            destination_asset_scale=(
                record.destination_asset_scale if told.asset_scale is None else told.asset_scale
            ),
        )


def rest_of(record: PaymentRecord) -> Order | None:
    """What is left to pay of a payment that has ended; None: nothing that is surely unpaid. What is
    uncertain counts as sent and delivered."""
    slippage = Decimal(record.slippage)
    if record.delivery_amount is None:
        wanted = record.source_amount or 0
        left = wanted - record.sent_amount - record.uncertain_amount
        return Order(record.receiver, left, None, slippage) if left > 0 else None
    if record.uncertain_amount and not record.sent_amount:
        return None
    uncertain = 0
    if record.uncertain_amount:
        uncertain = -(-record.uncertain_amount * record.delivered_amount // record.sent_amount)
    left = record.delivery_amount - record.delivered_amount - uncertain
    return Order(record.receiver, None, left, slippage) if left > 0 else None
