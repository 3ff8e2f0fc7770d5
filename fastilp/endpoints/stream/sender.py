"""A payment on an event loop: drives a PaymentMachine over an uplink. Imports neighbours only.

    payment = Payment(uplink, "g.hub.bob.Xy3…", secret, source_amount=1_000_000)
    outcome = await payment.run()

`on_progress` is called before packets leave and after each answer, in the same turn, so that
whoever writes the figures down never knows less than what may have happened. `may_leave` is awaited
between: packets go when it says so, or never.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

from fastilp._core.packet import Reject
from fastilp.endpoints.stream.conversation import Conversation, Sent
from fastilp.endpoints.stream.path import Path
from fastilp.endpoints.stream.payment import ExpectedRate, PaymentMachine, Terms
from fastilp.endpoints.stream.progress import Outcome, Progress
from fastilp.endpoints.stream.uplink import Uplink

OnProgress = Callable[[Progress], None]
MayLeave = Callable[[], Awaitable[bool]]


def _nothing(progress: Progress) -> None: ...


async def _always() -> bool:
    return True


class Payment:
    """Amounts in the smallest units: `source_amount` of the sender's account, or `delivery_amount`
    of the receiver's. `rate`: destination units for a source unit that are expected, or a function
    of the receiver's asset code and scale that gives them; without one, what the path gives at the
    start. Raises UsageError."""

    def __init__(
        self,
        uplink: Uplink,
        destination: str,
        shared_secret: bytes,
        *,
        source_amount: int | None = None,
        delivery_amount: int | None = None,
        slippage: Decimal = Decimal("0.015"),
        rate: ExpectedRate = None,
        data: bytes = b"",
        on_progress: OnProgress | None = None,
        may_leave: MayLeave = _always,
        sequence_first: int = 1,
        patience_ms: int = 30_000,
    ) -> None:
        terms = Terms(
            source_amount=source_amount,
            delivery_amount=delivery_amount,
            slippage=slippage,
            rate=rate,
            data=data,
            patience_ms=patience_ms,
        )
        conversation = Conversation(destination, shared_secret, sequence_first)
        self._drive = Drive(uplink, terms, conversation, Path(), on_progress, may_leave)

    async def run(self) -> Outcome:
        """Until it is completed, failed or cancelled, and nothing is in flight any more. If the
        task is cancelled, what is in flight still counts in `progress`."""
        return await self._drive.run()

    def cancel(self) -> None:
        """Send no more; `run` returns once what is in flight has come back."""
        self._drive.cancel()

    def progress(self) -> Progress:
        return self._drive.progress()


class Drive:
    """The same for a conversation and a path that outlive the payment."""

    def __init__(
        self,
        uplink: Uplink,
        terms: Terms,
        conversation: Conversation,
        path: Path,
        on_progress: OnProgress | None = None,
        may_leave: MayLeave = _always,
    ) -> None:
        self._uplink = uplink
        self._on_progress = on_progress or _nothing
        self._may_leave = may_leave
        self._machine = PaymentMachine(terms, conversation, path, uplink.address, uplink.now_ms())
        self._wakes = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> Outcome:
        machine = self._machine
        try:
            while not machine.is_finished:
                self._wakes.clear()
                await self._send()
                if machine.has_more:
                    # Others want their turn of the loop.
                    await asyncio.sleep(0)
                elif not machine.is_finished:
                    self._set_timer()
                    await self._wakes.wait()
        finally:
            self._cancel_timer()
            machine.cancel()
        outcome = machine.progress()
        self._on_progress(outcome)
        return outcome

    def cancel(self) -> None:
        self._machine.cancel()
        self._wakes.set()

    def progress(self) -> Progress:
        return self._machine.progress()

    async def _send(self) -> None:
        packets = self._machine.take(self._uplink.now_ms())
        if not packets:
            return
        self._on_progress(self._machine.progress())
        leaves = False
        try:
            leaves = await self._may_leave()
        finally:
            if not leaves:
                self._take_back(packets)
        if leaves:
            for sent in packets:
                self._uplink.send(sent.prepare, partial(self._answered, sent.sequence))

    def _take_back(self, packets: list[Sent]) -> None:
        """They have not left, so nobody can fulfil them."""
        reject = Reject(code="T00", triggered_by=self._uplink.address, message="it was not sent")
        for sent in packets:
            self._machine.answered(sent.sequence, bytes(reject), self._uplink.now_ms())
        self._on_progress(self._machine.progress())

    def _answered(self, sequence: int, octets: bytes) -> None:
        self._machine.answered(sequence, octets, self._uplink.now_ms())
        self._wakes.set()
        self._on_progress(self._machine.progress())

    def _set_timer(self) -> None:
        self._cancel_timer()
        deadline_ms = self._machine.deadline_ms()
        if deadline_ms is not None:
            delay_ms = max(deadline_ms - self._uplink.now_ms(), 0) + 1
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay_ms / 1_000, self._wakes.set)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
