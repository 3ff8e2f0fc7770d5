"""Payments on an event loop: a real switch and pump, the account's own link, real time."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Reject, decode
from fastilp._core.switch import Switch
from fastilp.endpoints.stream.progress import Progress, Reason, State
from fastilp.endpoints.stream.sender import Payment
from fastilp.endpoints.stream.uplink import AccountUplink
from fastilp.errors import UsageError
from fastilp.transports.pump import Pump
from tests.endpoints.stream_world import SECRET, TOKEN, Receiver

BOB = "test.node.bob"


class Node:
    """alice pays, bob receives; what bob's link is given waits for `hold` to be set."""

    def __init__(self) -> None:
        self.switch = Switch(Ledger.memory(), "test.node")
        self.pump = Pump(self.switch)
        alice = self.switch.add_account("alice", asset_code="ABC", asset_scale=9)
        bob = self.switch.add_account("bob", asset_code="ABC", asset_scale=9)
        self.switch.set_route(BOB, bob)
        self.switch.set_route("test.node.alice", alice)
        self.receiver = Receiver(BOB, ("ABC", 9))
        self.uplink = AccountUplink(
            self.switch, alice, self.pump.wake, "test.node.alice", self.pump.now_ms
        )
        self.switch.open_link(bob, local=True).owner = self
        self.held: list[tuple[Link, int, bytes]] = []
        self.holds_money = False

    def flush(self, link: Link) -> None:
        for request_id, packet in link.take():
            answer = self.receiver.answer(packet)
            if self.holds_money and not isinstance(decode(answer), Reject):
                self.held.append((link, request_id, answer))
            else:
                link.receive([(request_id, answer)])
        self.pump.wake()

    def release(self) -> None:
        for link, request_id, answer in self.held:
            link.receive([(request_id, answer)])
        self.held = []
        self.pump.wake()

    def balance(self, name: str) -> int:
        return self.switch.balance(self.switch.account(name))

    def pay(self, **more: object) -> Payment:
        return Payment(self.uplink, f"{BOB}.{TOKEN}", SECRET, **more)  # type: ignore[arg-type]

    def close(self) -> None:
        self.pump.close()
        self.switch.ledger.check()


def on_a_node(scenario: Callable[[Node], Awaitable[None]]) -> None:
    async def run() -> None:
        node = Node()
        try:
            await scenario(node)
        finally:
            node.close()

    asyncio.run(run())


def test_pays() -> None:
    async def scenario(node: Node) -> None:
        seen: list[Progress] = []
        outcome = await node.pay(source_amount=1_000, on_progress=seen.append).run()
        assert (outcome.state, outcome.error) == (State.COMPLETED, "")
        assert (outcome.sent_amount, outcome.delivered_amount) == (1_000, 1_000)
        assert (node.balance("alice"), node.balance("bob")) == (-1_000, 1_000)
        assert node.uplink.waiting == 0
        assert seen[-1] == outcome
        # Before the packet leaves, its amount is said to be in flight.
        assert 1_000 in [one.in_flight_amount for one in seen]

    on_a_node(scenario)


def test_ten_payments_of_one_account_at_once() -> None:
    async def scenario(node: Node) -> None:
        outcomes = await asyncio.gather(
            *(node.pay(source_amount=100 + index).run() for index in range(10))
        )
        assert [one.delivered_amount for one in outcomes] == list(range(100, 110))
        assert node.balance("bob") == sum(range(100, 110)) == -node.balance("alice")

    on_a_node(scenario)


def test_an_account_without_money() -> None:
    async def scenario(node: Node) -> None:
        node.switch.set_account(node.switch.account("alice"), min_balance=-10)
        outcome = await node.pay(source_amount=100, patience_ms=100).run()
        assert (outcome.state, outcome.reason) == (State.FAILED, Reason.TIMED_OUT)
        assert "T04" in outcome.error
        # What there was could be paid.
        assert outcome.delivered_amount == node.balance("bob") <= 10
        assert node.balance("alice") == -outcome.sent_amount

    on_a_node(scenario)


def test_nobody_there() -> None:
    async def scenario(node: Node) -> None:
        payment = Payment(node.uplink, "test.elsewhere.x", SECRET, source_amount=1)
        outcome = await payment.run()
        assert (outcome.state, outcome.reason) == (State.FAILED, Reason.UNREACHABLE)
        assert "F02" in outcome.error

    on_a_node(scenario)


def test_cancel() -> None:
    async def scenario(node: Node) -> None:
        node.holds_money = True
        payment = node.pay(source_amount=1_000)
        running = asyncio.ensure_future(payment.run())
        while not node.held:
            await asyncio.sleep(0.001)
        payment.cancel()
        await asyncio.sleep(0.01)
        assert not running.done()
        assert payment.progress().in_flight_amount == 1_000
        node.release()
        outcome = await running
        assert (outcome.state, outcome.sent_amount) == (State.CANCELLED, 1_000)

    on_a_node(scenario)


def test_nothing_leaves_before_it_may() -> None:
    async def scenario(node: Node) -> None:
        may_leave = asyncio.Event()
        asked: list[int] = []

        async def wait() -> bool:
            in_flight = payment.progress().in_flight_amount
            asked.append(in_flight)
            if in_flight:
                await may_leave.wait()
            return True

        payment = node.pay(source_amount=1_000, may_leave=wait)
        running = asyncio.ensure_future(payment.run())
        while not any(asked):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        assert (node.balance("bob"), node.uplink.waiting) == (0, 0)
        may_leave.set()
        outcome = await running
        assert outcome.delivered_amount == 1_000 == node.balance("bob") == -node.balance("alice")

    on_a_node(scenario)


@pytest.mark.parametrize("how", ["refused", "cancelled"])
def test_what_may_not_leave_was_not_sent(how: str) -> None:
    async def scenario(node: Node) -> None:
        held = asyncio.Event()

        async def never() -> bool:
            if payment.progress().in_flight_amount == 0:
                return True
            held.set()
            if how == "cancelled":
                await asyncio.Event().wait()
            payment.cancel()
            return False

        payment = node.pay(source_amount=1_000, may_leave=never)
        running = asyncio.ensure_future(payment.run())
        await held.wait()
        if how == "cancelled":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            assert (await running).state is State.CANCELLED
        found = payment.progress()
        assert (found.sent_amount, found.in_flight_amount) == (0, 0)
        assert node.balance("bob") == 0 == node.balance("alice")

    on_a_node(scenario)


def test_a_cancelled_task_still_counts_what_comes_back() -> None:
    async def scenario(node: Node) -> None:
        node.holds_money = True
        seen: list[Progress] = []
        payment = node.pay(source_amount=1_000, on_progress=seen.append)
        running = asyncio.ensure_future(payment.run())
        while not node.held:
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert payment.progress().in_flight_amount == 1_000
        node.release()
        while payment.progress().in_flight_amount:
            await asyncio.sleep(0.001)
        assert seen[-1].sent_amount == 1_000 == node.balance("bob")

    on_a_node(scenario)


def test_the_accounts_link_is_no_way_to_the_account() -> None:
    async def scenario(node: Node) -> None:
        payment = Payment(node.uplink, "test.node.alice.x", SECRET, source_amount=1)
        outcome = await payment.run()
        assert (outcome.state, outcome.reason) == (State.FAILED, Reason.UNREACHABLE)

    on_a_node(scenario)


def test_a_listener_that_fails_is_alone_with_it(caplog: pytest.LogCaptureFixture) -> None:
    def fails(progress: Progress) -> None:
        if progress.packets_in_flight == 0:
            raise ZeroDivisionError

    async def scenario(node: Node) -> None:
        broken = asyncio.ensure_future(node.pay(source_amount=5, on_progress=fails).run())
        outcome = await node.pay(source_amount=7).run()
        assert outcome.delivered_amount == 7
        with pytest.raises(ZeroDivisionError):
            await broken

    on_a_node(scenario)
    assert "an answer was not handled" in caplog.text


def test_a_payment_of_many_packets_lets_others_in() -> None:
    async def scenario(node: Node) -> None:
        node.switch.set_account(node.switch.account("alice"), max_packet_amount=10)
        long = asyncio.ensure_future(node.pay(source_amount=50_000).run())
        turns = 0
        while not long.done():
            turns += 1
            await asyncio.sleep(0)
        assert (await long).delivered_amount == 50_000
        assert turns > 5_000 / 64

    on_a_node(scenario)


def test_a_link_that_is_closed() -> None:
    async def scenario(node: Node) -> None:
        node.uplink.close()
        outcome = await node.pay(source_amount=1_000, patience_ms=50).run()
        assert (outcome.state, outcome.reason) == (State.FAILED, Reason.TIMED_OUT)
        assert "T00 the account is closed" in outcome.error

    on_a_node(scenario)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"source_amount": 1, "slippage": Decimal(1)}, "slippage"),
        ({"source_amount": 1, "slippage": Decimal("-0.1")}, "slippage"),
        ({}, "either"),
        ({"source_amount": 2.5}, "whole number"),
        ({"delivery_amount": "5"}, "whole number"),
        ({"source_amount": True}, "whole number"),
    ],
)
def test_refuses(more: dict[str, object], why: str) -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(UsageError, match=why):
            node.pay(**more)
        with pytest.raises(UsageError, match="32 bytes"):
            Payment(node.uplink, BOB, b"short", source_amount=1)
        with pytest.raises(UsageError, match="not a valid ILP address"):
            Payment(node.uplink, "no address", SECRET, source_amount=1)

    on_a_node(scenario)
