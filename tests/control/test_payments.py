"""Payments and their records, with a sender that does what the test says: what is on the disk at
any moment covers what the books may say."""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.control import payments as module
from fastilp.control.entries import Entry
from fastilp.control.paying import (
    CANCELLED,
    COMPLETED,
    FAILED,
    INTERRUPTED,
    RUNNING,
    Books,
    Delivered,
    Order,
    rest_of,
)
from fastilp.control.payments import BusyError, NoPaymentError, Payments
from fastilp.errors import ConflictError, PaymentError
from fastilp.storage.ledger import Ledger
from fastilp.storage.payments import PAYMENTS, PAYMENTS_RUNNING, PaymentRecord
from fastilp.types import AccountDetails

ORDER = Order("$bob.example", 1_000)


class Sums:
    """Tells the books of one packet after another."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._sent = self._in_flight = 0

    def sending(self, amount: int) -> None:
        self._in_flight += amount
        self._books.note(self._sent, self._in_flight)

    def answered(self, amount: int, *, fulfilled: bool) -> None:
        self._in_flight -= amount
        self._sent += amount if fulfilled else 0
        self._books.note(self._sent, self._in_flight)


class Script:
    """A sender of which the test decides each step."""

    from_address = "example.alice"
    to_address = "example.bob.token"

    def __init__(self, order: Order, books: Books) -> None:
        self.order = order
        self.books = Sums(books)
        self.got = Delivered(0)
        self.is_cancelled = False
        self._end: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def run(self) -> bool:
        return await self._end

    def cancel(self) -> None:
        self.is_cancelled = True

    def delivered(self) -> Delivered:
        return self.got

    def fulfil(self, amount: int, delivered: int) -> None:
        self.got = Delivered(self.got.amount + delivered, "XYZ", 2)
        self.books.answered(amount, fulfilled=True)

    def end(self, is_paid: bool = True) -> None:
        self._end.set_result(is_paid)

    def fail(self, error: Exception) -> None:
        self._end.set_exception(error)


class Scripts:
    """The payer: remembers the senders that it made."""

    def __init__(self) -> None:
        self.made: list[Script] = []
        self.refusal: PaymentError | None = None
        self.room = asyncio.Event()
        self.room.set()

    async def open(self, entry: Entry, order: Order, books: Books) -> Script:
        await self.room.wait()
        if self.refusal is not None:
            raise self.refusal
        self.made.append(Script(order, books))
        return self.made[-1]


class Scene:
    """A node's payments on a ledger in a directory; opened anew it is the next run."""

    def __init__(self, path: Path) -> None:
        self.now_ms = 1_000_000
        self.ledger = Ledger.open(str(path))
        self.payer = Scripts()
        self.payments = Payments(self.ledger, self.payer, lambda: self.now_ms, kept_days=1)
        self.alice = Entry(_account("alice"), _details("alice"), "api")

    @property
    def sender(self) -> Script:
        return self.payer.made[-1]

    def record(self, payment_id: str) -> PaymentRecord:
        """As the store has it."""
        assert self.ledger.store is not None
        found = PAYMENTS.get(self.ledger.store, payment_id)
        assert found is not None
        return found

    def running(self) -> int:
        assert self.ledger.store is not None
        return len(list(PAYMENTS_RUNNING.items(self.ledger.store)))


def _account(name: str) -> Account:
    switch = Switch(Ledger.memory(), address="example.node")
    return switch.add_account(name, asset_code="ABC", asset_scale=9)


def _details(name: str) -> AccountDetails:
    return AccountDetails(name, f"example.{name}", "ABC", 9)


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_payment_from_its_order_to_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        record = scene.record(payment.payment_id)
        assert (record.state, record.from_address) == (RUNNING, "example.alice")
        assert (record.to_address, record.source_amount) == ("example.bob.token", 1_000)
        assert scene.running() == 1
        scene.sender.books.sending(600)
        scene.sender.books.sending(400)
        scene.sender.fulfil(600, 6)
        scene.sender.books.answered(400, fulfilled=False)
        scene.sender.books.sending(400)
        scene.sender.fulfil(400, 4)
        scene.sender.end()
        await payment.ended.wait()
        found = scene.payments.find(scene.alice.account, payment.payment_id)
        assert found == scene.record(payment.payment_id)
        assert (found.state, found.error) == (COMPLETED, None)
        assert (found.sent_amount, found.delivered_amount) == (1_000, 10)
        assert (found.in_flight_amount, found.uncertain_amount) == (0, 0)
        assert (found.destination_asset_code, found.destination_asset_scale) == ("XYZ", 2)
        assert scene.running() == 0
        with pytest.raises(ConflictError):
            await scene.payments.resume(scene.alice, payment.payment_id)
        scene.ledger.close()

    run(test)


def test_money_leaves_once_its_record_is_on_the_disk(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        for amount in (100, 200, 300):
            scene.sender.books.sending(amount)
            ticket = payment.ticket
            assert ticket > scene.ledger.committed_ticket
            assert await payment.may_leave()
            assert ticket <= scene.ledger.committed_ticket
        payment.stop(CANCELLED)
        assert not await payment.may_leave()
        scene.sender.end(is_paid=False)
        await payment.ended.wait()
        scene.ledger.close()

    run(test)


def test_a_crash_that_leaves_nothing_to_go_on_with(tmp_path: Path) -> None:
    """All of it may have arrived: it is complete, and nobody waits for the rest."""

    async def killed() -> str:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.sender.books.sending(600)
        scene.sender.fulfil(600, 6)
        scene.sender.books.sending(400)
        scene.ledger.close()
        return payment.payment_id

    async def test(payment_id: str) -> None:
        scene = Scene(tmp_path)
        assert scene.payments.restore() == 1
        found = scene.payments.find(scene.alice.account, payment_id)
        assert (found.state, found.error) == (COMPLETED, None)
        assert found.sent_amount + found.uncertain_amount == 1_000
        with pytest.raises(ConflictError, match="is complete"):
            await scene.payments.resume(scene.alice, payment_id)
        scene.ledger.close()

    asyncio.run(test(asyncio.run(killed())))


def test_what_cannot_be_written_down_does_not_leave(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.ledger.close()
        scene.sender.books.sending(100)
        assert scene.sender.is_cancelled and not await payment.may_leave()
        assert payment.stopped_as == INTERRUPTED
        assert payment.stopped_by is not None
        assert payment.stopped_by.startswith("it could not be written down: ")
        scene.sender.end(is_paid=False)
        await payment.ended.wait()

    run(test)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.one_of(
            st.integers(1, 1_000),
            st.sampled_from(["fulfil", "reject", "turn"]),
        ),
        max_size=60,
    )
)
def test_the_record_always_covers_the_books(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]
) -> None:
    """At each moment what has been sent and what is in flight is within what the newest record
    says: so the debits that a crash leaves on the disk are, too."""

    async def test() -> None:
        scene = Scene(tmp_path_factory.mktemp("cover"))
        payment = await scene.payments.begin(scene.alice, ORDER)
        waiting: list[int] = []
        sent = 0

        def check() -> None:
            record = scene.record(payment.payment_id)
            assert record.sent_amount <= sent
            assert record.sent_amount + record.in_flight_amount >= sent + sum(waiting)

        for step in steps:
            if isinstance(step, int):
                waiting.append(step)
                scene.sender.books.sending(step)
            elif step == "turn":
                await turn()
                assert scene.record(payment.payment_id).sent_amount == sent
            elif waiting and step == "fulfil":
                amount = waiting.pop(0)
                sent += amount
                scene.sender.fulfil(amount, amount // 2)
            elif waiting:
                scene.sender.books.answered(waiting.pop(), fulfilled=False)
            check()
        for amount in waiting:
            scene.sender.books.answered(amount, fulfilled=False)
        scene.sender.end(False)
        await payment.ended.wait()
        record = scene.record(payment.payment_id)
        assert (record.sent_amount, record.in_flight_amount) == (sent, 0)
        scene.ledger.close()

    run(test)


def test_what_ran_when_the_node_crashed(tmp_path: Path) -> None:
    async def crash() -> str:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.sender.books.sending(300)
        scene.sender.fulfil(300, 30)
        await turn()
        scene.sender.books.sending(200)
        # Nothing is ended: the ledger's directory is all that is left.
        scene.ledger.close()
        return payment.payment_id

    async def test(payment_id: str) -> None:
        scene = Scene(tmp_path)
        assert scene.payments.restore() == 1
        found = scene.payments.find(scene.alice.account, payment_id)
        assert (found.state, found.sent_amount, found.delivered_amount) == (INTERRUPTED, 300, 30)
        # 200, and room for what might have followed.
        assert 200 <= found.uncertain_amount <= 225 and found.in_flight_amount == 0
        assert scene.payments.restore() == 0
        # The rest is paid, and what is uncertain is not paid again.
        payment = await scene.payments.resume(scene.alice, payment_id)
        assert scene.sender.order.source_amount == 1_000 - 300 - found.uncertain_amount
        rest = scene.sender.order.source_amount
        scene.sender.books.sending(rest)
        scene.sender.fulfil(rest, 7)
        scene.sender.end()
        await payment.ended.wait()
        after = scene.record(payment_id)
        assert (after.state, after.sent_amount) == (COMPLETED, 300 + rest)
        assert (after.delivered_amount, after.uncertain_amount) == (37, found.uncertain_amount)
        scene.ledger.close()

    payment_id = asyncio.run(crash())
    run(lambda: test(payment_id))


def test_no_more_is_uncertain_than_was_ordered(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.sender.books.sending(100)
        scene.sender.fulfil(100, 1)
        await turn()
        scene.sender.books.sending(890)
        assert scene.record(payment.payment_id).in_flight_amount == 900
        scene.sender.books.answered(890, fulfilled=False)
        scene.sender.end(False)
        await payment.ended.wait()
        scene.ledger.close()

    run(test)


def test_a_stop_interrupts_and_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.sender.books.sending(100)
        closing = asyncio.create_task(scene.payments.close(30.0))
        await turn()
        assert scene.sender.is_cancelled
        assert not payment.ended.is_set() and not closing.done()
        scene.sender.fulfil(100, 1)
        scene.sender.end(False)
        await closing
        record = scene.record(payment.payment_id)
        assert (record.state, record.sent_amount, record.uncertain_amount) == (INTERRUPTED, 100, 0)
        with pytest.raises(BusyError):
            await scene.payments.begin(scene.alice, ORDER)
        scene.ledger.close()

    run(test)


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.sender.books.sending(100)
        await scene.payments.close(0.01)
        # The next start finds it.
        assert scene.record(payment.payment_id).state == RUNNING and scene.running() == 1
        scene.ledger.close()

    run(test)


def test_cancel(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.payments.cancel(scene.alice.account, payment.payment_id)
        assert scene.sender.is_cancelled
        scene.sender.end(False)
        await payment.ended.wait()
        assert scene.record(payment.payment_id).state == CANCELLED
        # Again: nothing happens. The rest can still be paid.
        scene.payments.cancel(scene.alice.account, payment.payment_id)
        again = await scene.payments.resume(scene.alice, payment.payment_id)
        with pytest.raises(ConflictError):
            await scene.payments.resume(scene.alice, payment.payment_id)
        # Too late to be cancelled: all of it is paid.
        scene.payments.cancel_all("alice")
        scene.sender.end(True)
        await again.ended.wait()
        assert scene.record(payment.payment_id).state == COMPLETED
        scene.ledger.close()

    run(test)


def test_cancelled_while_the_receiver_is_asked(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        scene.payer.room.clear()
        begun = asyncio.create_task(scene.payments.begin(scene.alice, ORDER))
        await turn()
        scene.payments.cancel_all("alice")
        scene.payer.room.set()
        payment = await begun
        assert scene.sender.is_cancelled
        scene.sender.end(False)
        await payment.ended.wait()
        assert scene.record(payment.payment_id).state == CANCELLED
        scene.ledger.close()

    run(test)


@pytest.mark.parametrize("error", [PaymentError("no route"), RuntimeError("a bug")])
def test_failures_are_told(tmp_path: Path, error: Exception) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        scene.sender.books.sending(100)
        scene.sender.fulfil(100, 1)
        scene.sender.fail(error)
        await payment.ended.wait()
        record = scene.record(payment.payment_id)
        assert (record.state, record.sent_amount, record.delivered_amount) == (FAILED, 100, 1)
        wanted = "no route" if isinstance(error, PaymentError) else "an internal error"
        assert record.error is not None and record.error.startswith(wanted)
        scene.ledger.close()

    run(test)


def test_what_a_run_that_broke_off_had_in_flight_is_uncertain(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        payment = await scene.payments.begin(scene.alice, ORDER)
        late = scene.sender
        late.books.sending(100)
        late.fail(RuntimeError("a bug"))
        await payment.ended.wait()
        record = scene.record(payment.payment_id)
        assert (record.in_flight_amount, record.uncertain_amount) == (0, 100)
        # It is not paid again, and its answer changes nothing of the run that follows.
        again = await scene.payments.resume(scene.alice, payment.payment_id)
        assert scene.sender.order.source_amount == 900
        late.fulfil(100, 1)
        await turn()
        assert scene.record(payment.payment_id).state == RUNNING
        scene.sender.books.sending(900)
        scene.sender.fulfil(900, 9)
        scene.sender.end()
        await again.ended.wait()
        record = scene.record(payment.payment_id)
        assert (record.sent_amount, record.uncertain_amount) == (900, 100)
        scene.ledger.close()

    run(test)


def test_a_receiver_that_cannot_be_asked_leaves_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        scene.payer.refusal = PaymentError("no such receiver")
        for _ in range(module.RUNNING_PER_ACCOUNT_MAX + 1):
            with pytest.raises(PaymentError):
                await scene.payments.begin(scene.alice, ORDER)
        assert list(scene.payments.page(scene.alice.account, "", 10)) == []
        assert scene.running() == 0
        scene.ledger.close()

    run(test)


def test_there_is_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNNING_PER_ACCOUNT_MAX", 2)

    async def test() -> None:
        scene = Scene(tmp_path)
        for _ in range(2):
            await scene.payments.begin(scene.alice, ORDER)
        with pytest.raises(BusyError):
            await scene.payments.begin(scene.alice, ORDER)
        scene.sender.end()
        await turn()
        await scene.payments.begin(scene.alice, ORDER)
        for made in scene.payer.made[0], scene.payer.made[-1]:
            made.end()
        await scene.payments.close(30.0)
        scene.ledger.close()

    run(test)


def test_lists_and_other_peoples_payments(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        ids = []
        for _ in range(5):
            scene.now_ms += 1
            payment = await scene.payments.begin(scene.alice, ORDER)
            ids.append(payment.payment_id)
        account = scene.alice.account
        page = [each.payment_id for each in scene.payments.page(account, "", 3)]
        assert page == ids[:1:-1]
        rest = [each.payment_id for each in scene.payments.page(account, page[-1], 3)]
        assert rest == ids[1::-1]
        other = _account("mallory")
        for wrong in (ids[0], "x", ids[0].replace("-", "")[:-1]):
            with pytest.raises(NoPaymentError):
                scene.payments.find(other, wrong)
            with pytest.raises(NoPaymentError):
                scene.payments.cancel(other, wrong)
        assert not any(made.is_cancelled for made in scene.payer.made)
        for made in scene.payer.made:
            made.end()
        await scene.payments.close(30.0)
        scene.ledger.close()

    run(test)


def test_old_payments_are_forgotten_but_for_those_that_run(tmp_path: Path) -> None:
    async def test() -> None:
        scene = Scene(tmp_path)
        first = await scene.payments.begin(scene.alice, ORDER)
        ended = await scene.payments.begin(scene.alice, ORDER)
        scene.sender.end()
        await ended.ended.wait()
        scene.now_ms += 24 * 3_600_000
        assert scene.payments.sweep() == 0
        scene.now_ms += 1
        assert scene.payments.sweep() == 1
        left = [each.payment_id for each in scene.payments.page(scene.alice.account, "", 9)]
        assert left == [first.payment_id]
        scene.payer.made[0].end()
        await scene.payments.close(30.0)
        assert scene.payments.sweep() == 1
        assert list(scene.payments.page(scene.alice.account, "", 9)) == []
        scene.ledger.close()

    run(test)


RESTS = [
    # ordered, sent, delivered, uncertain -> what is left
    ({"source_amount": 100}, 30, 3, 0, (70, None)),
    ({"source_amount": 100}, 30, 3, 70, None),
    ({"source_amount": 100}, 100, 10, 0, None),
    ({"delivery_amount": 10}, 30, 3, 0, (None, 7)),
    # 20 of what was sent may have delivered 2.
    ({"delivery_amount": 10}, 30, 3, 20, (None, 5)),
    ({"delivery_amount": 10}, 30, 3, 21, (None, 4)),
    # Nobody knows what the rate was.
    ({"delivery_amount": 10}, 0, 0, 5, None),
    ({"delivery_amount": 10}, 0, 0, 0, (None, 10)),
]


@pytest.mark.parametrize(("ordered", "sent", "delivered", "uncertain", "left"), RESTS)
def test_what_is_left_to_pay(
    ordered: dict[str, int],
    sent: int,
    delivered: int,
    uncertain: int,
    left: tuple[int | None, int | None] | None,
) -> None:
    record = PaymentRecord(
        payment_id="",
        account_id=b"",
        username="alice",
        receiver="$bob.example",
        created_at_ms=0,
        changed_at_ms=0,
        state=INTERRUPTED,
        source_asset_code="ABC",
        source_asset_scale=9,
        slippage="0.02",
        sent_amount=sent,
        delivered_amount=delivered,
        uncertain_amount=uncertain,
        **ordered,  # type: ignore[arg-type]
    )
    wanted = None if left is None else Order("$bob.example", left[0], left[1], Decimal("0.02"))
    assert rest_of(record) == wanted
