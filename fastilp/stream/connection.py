"""The paying side for programs: a connection to a receiver, and payments over it.

Imports endpoints, and stream's uplink. Payments of one connection go one after the other and share
what they have learnt of the path; connections of one uplink go side by side.
"""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

from fastilp.endpoints.spsp import SpspClient
from fastilp.endpoints.stream.conversation import Conversation
from fastilp.endpoints.stream.path import Path
from fastilp.endpoints.stream.payment import ExpectedRate, Terms
from fastilp.endpoints.stream.progress import Outcome, Progress, State
from fastilp.endpoints.stream.sender import Drive, OnProgress
from fastilp.endpoints.stream.uplink import Uplink
from fastilp.errors import PaymentError, UsageError
from fastilp.stream.uplink import open_uplink

_NOTHING = Terms(source_amount=0)


class PaymentFailed(PaymentError):
    """A payment ended before all of it was sent; `outcome` says what was."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.error or "the payment was cancelled")


class Sending:
    """A payment on its way. `await` it for the Outcome; `async for` gives Progress as it changes,
    the newest each time, and ends with the payment. It runs whether or not anybody looks."""

    def __init__(self, connection: "Connection", terms: Terms) -> None:
        self._connection = connection
        self._terms = terms
        self._drive: Drive | None = None
        self._latest: Progress | None = None
        self._changed = asyncio.Event()
        self._is_cancelled = False
        self.task: asyncio.Task[Outcome] = asyncio.ensure_future(self._run())
        self.task.add_done_callback(lambda task: self._changed.set())

    def __await__(self) -> Generator[object, None, Outcome]:
        """Raises PaymentFailed unless it is completed."""
        outcome = yield from self.task.__await__()
        if outcome.state is not State.COMPLETED:
            raise PaymentFailed(outcome)
        return outcome

    async def __aiter__(self) -> AsyncIterator[Progress]:
        seen: Progress | None = None
        while True:
            changed, latest = self._changed, self._latest
            if latest is not None and latest is not seen:
                seen = latest
                yield latest
            elif self.task.done():
                return
            else:
                await changed.wait()

    @property
    def progress(self) -> Progress | None:
        """None: others of the connection come first."""
        return self._latest

    def cancel(self) -> None:
        """Send no more. What is in flight is waited for, and counts."""
        self._is_cancelled = True
        if self._drive is not None:
            self._drive.cancel()

    async def _run(self) -> Outcome:
        async with self._connection.turn:
            self._drive = self._connection.drive(self._terms, self._note)
            if self._is_cancelled:
                self._drive.cancel()
            return await self._drive.run()

    def _note(self, progress: Progress) -> None:
        self._latest = progress
        self._changed.set()
        self._changed = asyncio.Event()


class Connection:
    """What `connect` gives."""

    def __init__(
        self,
        uplink: Uplink,
        destination: str,
        shared_secret: bytes,
        *,
        slippage: Decimal = Decimal("0.015"),
        rate: ExpectedRate = None,
        patience_ms: int = 30_000,
    ) -> None:
        self.turn = asyncio.Lock()
        self._uplink = uplink
        self._conversation = Conversation(destination, shared_secret)
        self._path = Path()
        self._slippage = slippage
        self._rate = rate
        self._patience_ms = patience_ms
        self._running: set[Sending] = set()
        self._is_closed = False

    @property
    def delivered_amount(self) -> int:
        """Destination units that the receiver got, of all payments."""
        return self._conversation.delivered

    @property
    def destination_asset(self) -> tuple[str, int] | None:
        """Code and scale, once the receiver has told."""
        asset = self._path.asset
        return None if asset is None else (asset.asset_code, asset.asset_scale)

    def send(
        self, amount: int | None = None, *, delivery_amount: int | None = None, data: bytes = b""
    ) -> Sending:
        """Begin a payment: `amount` in the smallest units of the sender's asset, or
        `delivery_amount` of the receiver's; with `data`, octets of stream 1, alone if no amount is
        given. Raises UsageError."""
        if self._is_closed:
            raise UsageError("the connection is closed")
        if amount is None and delivery_amount is None and data:
            amount = 0
        terms = Terms(
            source_amount=amount,
            delivery_amount=delivery_amount,
            slippage=self._slippage,
            rate=self._rate,
            data=data,
            closes=False,
            patience_ms=self._patience_ms,
        )
        terms.check()
        sending = Sending(self, terms)
        self._running.add(sending)
        sending.task.add_done_callback(lambda task: self._running.discard(sending))
        return sending

    def drive(self, terms: Terms, note: OnProgress | None = None) -> Drive:
        """Its turn has come."""
        return Drive(self._uplink, terms, self._conversation, self._path, note)

    async def close(self, *, cancel: bool = False) -> None:
        """Wait for payments that are under way, or cancel them, and say good-bye."""
        if self._is_closed:
            return
        self._is_closed = True
        running = list(self._running)
        if cancel:
            for sending in running:
                sending.cancel()
        await asyncio.gather(*(sending.task for sending in running), return_exceptions=True)
        if self._path.round_trip_ms is not None:
            await self.drive(_NOTHING).run()


@asynccontextmanager
async def connect(
    uplink: Uplink | str,
    receiver: str,
    shared_secret: bytes | None = None,
    *,
    slippage: Decimal = Decimal("0.015"),
    rate: ExpectedRate = None,
    patience_ms: int = 30_000,
    ca_file: str | None = None,
) -> AsyncIterator[Connection]:
    """A connection to a receiver: a payment pointer (`$host/path`) or SPSP URL, or an ILP address
    with its shared secret. `uplink`: one that is open, or its URL (see `open_uplink`). `ca_file`:
    certificates to trust where SPSP is asked. Nothing is sent before the first payment. Leaving the
    block waits for payments under way; leaving it by an exception cancels them. Raises
    PaymentError, UsageError."""
    async with AsyncExitStack() as stack:
        if isinstance(uplink, str):
            uplink = await stack.enter_async_context(open_uplink(uplink))
        if shared_secret is None:
            receiver, shared_secret = await _asked(receiver, ca_file)
        connection = Connection(
            uplink, receiver, shared_secret, slippage=slippage, rate=rate, patience_ms=patience_ms
        )
        try:
            yield connection
        except BaseException:
            await connection.close(cancel=True)
            raise
        await connection.close()


async def _asked(receiver: str, ca_file: str | None) -> tuple[str, bytes]:
    client = SpspClient(ca_file)
    try:
        details = await client.query(receiver)
    finally:
        await client.close()
    return details.destination, details.shared_secret
