"""Payments over hops that steal, lose, lie or break: they end, they say why, and the payer loses at
most what was in flight, and never more than the slippage of what was fulfilled."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from fastilp._core.packet import Fulfill, Prepare
from fastilp._core.stream_frames import StreamClose
from fastilp.endpoints.stream.progress import Progress, Reason, State
from tests.endpoints.stream_wires import (
    AnswersWithTheFirst,
    Delays,
    Loses,
    Refuses,
    Replays,
    Skims,
    StopsFulfilling,
)
from tests.endpoints.stream_world import NOW_MS, Answer, Wire, World, closed

AMOUNT = 10**6
PACKETS = {1: {"max_packet_amount": 10_000}}
MANY = {1: {"max_packet_amount": 100}}


def pay(
    wire: Wire, accounts: dict[int, dict[str, int]] | None = None, **terms: object
) -> tuple[World, Progress]:
    world = World(wires={1: wire}, accounts=accounts)
    machine = world.pay(**(terms or {"source_amount": AMOUNT}))
    [progress] = world.run(machine)
    world.settle()
    for switch in world.switches:
        switch.ledger.check()
    assert progress.sent_amount == world.paid()
    assert progress.in_flight_amount == 0
    assert bool(progress.error) == (progress.state is State.FAILED)
    # Whatever was paid arrived, but for the slippage.
    assert world.got() >= progress.delivered_amount
    if progress.minimum_rate is not None:
        assert progress.delivered_amount >= int(progress.sent_amount * progress.minimum_rate)
    return world, progress


def test_a_skim_within_the_slippage_is_put_up_with() -> None:
    world, progress = pay(Skims(lambda amount: amount // 100, starts=6), PACKETS)
    assert progress.state is State.COMPLETED
    assert AMOUNT * 985 // 1000 <= progress.delivered_amount == world.got() < AMOUNT


def test_a_skim_beyond_the_slippage_ends_the_payment() -> None:
    world, progress = pay(Skims(lambda amount: amount // 50, starts=12), PACKETS)
    assert (progress.state, progress.reason) == (State.FAILED, Reason.RATE_TOO_LOW)
    assert "9800 of at least 9850" in progress.error
    # What passed before was paid for in full; what was skimmed was not paid for at all.
    assert progress.sent_amount == progress.delivered_amount == world.got() > 0
    assert world.now_ms < NOW_MS + 40_000


def test_a_skim_from_the_start_is_found_by_the_rate_that_was_expected() -> None:
    terms = {"source_amount": AMOUNT, "rate": Fraction(1)}
    world, progress = pay(Skims(lambda amount: amount // 50), None, **terms)
    assert (progress.state, progress.reason) == (State.FAILED, Reason.RATE_TOO_LOW)
    assert world.paid() == world.got() == 0


def test_a_hop_that_keeps_everything_gets_nothing() -> None:
    world, progress = pay(Skims(lambda amount: amount), PACKETS)
    assert (progress.state, progress.reason) == (State.FAILED, Reason.AMOUNT_TOO_SMALL)
    assert world.paid() == 0


@pytest.mark.parametrize(("after", "sent"), [(0, 0), (5, 50_000)])
def test_a_hop_that_stops_fulfilling(after: int, sent: int) -> None:
    world, progress = pay(StopsFulfilling(after), PACKETS)
    assert (progress.state, progress.reason) == (State.FAILED, Reason.TIMED_OUT)
    assert "R00" in progress.error
    # What it kept was its own loss: it paid the receiver and was not paid.
    assert progress.sent_amount == sent < world.got()
    # It got no more than what was in flight a few times.
    assert world.sent_packets < 150


def test_wrong_preimages_end_the_payment_at_once() -> None:
    world, progress = pay(StopsFulfilling(5, instead=b"x" * 32), PACKETS)
    assert (progress.state, progress.reason) == (State.FAILED, Reason.WRONG_FULFILLMENT)
    assert (progress.sent_amount, progress.packets_rejected) == (50_000, 27)
    assert world.sent_packets < 40


def test_replayed_packets_cost_whoever_replays() -> None:
    world, progress = pay(Replays(), PACKETS)
    assert progress.state is State.COMPLETED
    assert progress.sent_amount == progress.delivered_amount == AMOUNT
    assert world.got() == 2 * AMOUNT


def test_replayed_answers_are_not_believed() -> None:
    world, progress = pay(AnswersWithTheFirst(), PACKETS)
    assert (progress.state, progress.reason) == (State.FAILED, Reason.TIMED_OUT)
    assert (progress.sent_amount, progress.delivered_amount, world.got()) == (0, 0, 0)
    assert world.sent_packets < 500


def test_late_fulfills_within_the_expiry_count() -> None:
    _, progress = pay(Delays(3_000), PACKETS)
    assert progress.state is State.COMPLETED


def test_fulfills_after_the_expiry_do_not() -> None:
    world, progress = pay(Delays(40_000), PACKETS)
    assert (progress.state, progress.reason) == (State.FAILED, Reason.TIMED_OUT)
    assert (progress.sent_amount, world.paid()) == (0, 0)
    assert world.got() > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("accounts", [None, PACKETS])
def test_a_fifth_of_all_packets_lost(seed: int, accounts: dict[int, dict[str, int]]) -> None:
    world, progress = pay(Loses(0.2, seed), accounts)
    assert progress.state is State.COMPLETED
    assert progress.delivered_amount == AMOUNT == world.got()


@pytest.mark.parametrize("accounts", [None, PACKETS, MANY])
def test_a_storm_without_liquidity_passes(accounts: dict[int, dict[str, int]]) -> None:
    for begins_ms in (0, 70):
        storm = range(NOW_MS + begins_ms, NOW_MS + 5_000)
        wire = Refuses("T04", lambda world, prepare, storm=storm: world.now_ms in storm)
        world, progress = pay(wire, accounts)
        assert progress.state is State.COMPLETED
        assert progress.delivered_amount == AMOUNT
        # It is not asked more often than it takes to notice that it has passed.
        assert wire.refused < 500
        assert world.sent_packets < 11_000


def test_a_minute_without_liquidity_is_waited_for() -> None:
    wire = Refuses("T04", lambda world, prepare: NOW_MS + 40 <= world.now_ms < NOW_MS + 55_000)
    _, progress = pay(wire, PACKETS)
    assert progress.state is State.COMPLETED
    assert wire.refused < 400


def test_two_minutes_are_not() -> None:
    world, progress = pay(Refuses("T04", lambda world, prepare: True))
    assert (progress.state, progress.reason) == (State.FAILED, Reason.TIMED_OUT)
    assert "T04 no (test.evil)" in progress.error
    assert world.sent_packets < 400


@pytest.mark.parametrize(
    ("settings", "at_least_ms"),
    [
        ({"packets_per_minute_limit": 600, "max_packet_amount": 1_000}, 38_000),
        ({"amount_per_minute_limit": 500_000}, 58_000),
    ],
)
def test_rate_limits_are_lived_with(settings: dict[str, int], at_least_ms: int) -> None:
    world, progress = pay(Wire(), {1: settings})
    assert progress.state is State.COMPLETED
    assert progress.delivered_amount == AMOUNT
    assert at_least_ms <= world.now_ms - NOW_MS < at_least_ms + 60_000


def test_a_limit_of_what_is_in_flight_is_lived_with() -> None:
    class Credit(Wire):
        """At most so much at a time, as a neighbour with little liquidity."""

        in_flight = 0

        def pass_on(
            self, world: World, packet: bytes, on: Callable[[bytes, Answer], None], back: Answer
        ) -> None:
            amount = Prepare.decode(packet).amount
            if self.in_flight + amount > 3_000:
                Refuses("T04", lambda *_: True).pass_on(world, packet, on, back)
                return
            self.in_flight += amount

            def paid_back(answer: bytes) -> None:
                self.in_flight -= amount
                back(answer)

            super().pass_on(world, packet, on, paid_back)

    world, progress = pay(Credit(), MANY)
    assert progress.state is State.COMPLETED
    assert progress.delivered_amount == AMOUNT
    # 10,000 packets, 30 at a time at best, 40 ms each: 13 s.
    assert world.now_ms - NOW_MS < 40_000
    assert progress.packets_rejected < 3_000


@pytest.mark.parametrize("code", ["F00", "F01", "F03", "F05", "F06", "F07"])
def test_final_refusals_end_it(code: str) -> None:
    world, progress = pay(Refuses(code, lambda world, one: world.now_ms > NOW_MS + 60), MANY)
    assert progress.state is State.FAILED
    assert code in progress.error
    assert progress.reason in (Reason.REJECTED, Reason.WRONG_FULFILLMENT)
    assert world.now_ms < NOW_MS + 40_000


@pytest.mark.parametrize("code", ["F02", "F06", "F99", "R01"])
def test_hopeless_from_the_start(code: str) -> None:
    world, progress = pay(Refuses(code, lambda world, prepare: True))
    assert progress.state is State.FAILED
    assert code in progress.error
    # Two ways to ask, then it is clear.
    assert world.sent_packets < 12


@pytest.mark.parametrize("code", ["F02", "T00", "T01", "T02", "T03", "R00", "R01", "R99", "F99"])
def test_half_a_second_of_trouble_is_survived(code: str) -> None:
    trouble = range(NOW_MS + 60, NOW_MS + 500)
    wire = Refuses(code, lambda world, prepare: world.now_ms in trouble)
    _, progress = pay(wire, MANY)
    assert progress.state is State.COMPLETED
    assert progress.delivered_amount == AMOUNT


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda answer: answer[:10], Reason.TIMED_OUT),
        (lambda answer: b"\xff" * 50, Reason.TIMED_OUT),
        # Whole, but for what the receiver said.
        (lambda answer: answer[:-3] + b"\xff\xff\xff", Reason.REJECTED),
    ],
)
def test_garbage_for_answers(broken: Callable[[bytes], bytes], reason: Reason) -> None:
    class Garbage(Wire):
        def bring_back(self, world: World, back: Answer, answer: bytes) -> None:
            super().bring_back(world, back, broken(answer))

    _, progress = pay(Garbage())
    assert (progress.state, progress.reason) == (State.FAILED, reason)
    assert (progress.sent_amount, progress.delivered_amount) == (0, 0)


def test_fulfills_without_what_the_receiver_said() -> None:
    class Strips(Wire):
        def bring_back(self, world: World, back: Answer, answer: bytes) -> None:
            if answer[0] == 13:
                answer = bytes(Fulfill(fulfillment=Fulfill.decode(answer).fulfillment))
            super().bring_back(world, back, answer)

    world, progress = pay(Strips(), PACKETS)
    # The preimage proves that the minimum arrived, and nothing more.
    assert progress.state is State.COMPLETED
    assert progress.delivered_amount == AMOUNT * 985 // 1000
    assert world.got() == AMOUNT


def test_maxima_that_shrink_for_ever() -> None:
    class Shrinks(Wire):
        """F08 with a maximum that is always just below."""

        def pass_on(
            self, world: World, packet: bytes, on: Callable[[bytes, Answer], None], back: Answer
        ) -> None:
            amount = Prepare.decode(packet).amount
            data = amount.to_bytes(8) + max(amount - 1, 0).to_bytes(8)
            Refuses("F08", lambda *_: True, data).pass_on(world, packet, on, back)

    world, progress = pay(Shrinks())
    assert progress.state is State.FAILED
    assert "F08" in progress.error
    assert world.sent_packets < 10_000


@pytest.mark.parametrize(
    "data", [b"", bytes(16), bytes(8) + b"\xff" * 8, b"\xff" * 16, b"\x01" * 15]
)
def test_maxima_that_make_no_sense(data: bytes) -> None:
    wire = Refuses("F08", lambda world, prepare: prepare.amount > 1_000, data)
    _, progress = pay(wire)
    assert progress.state is State.COMPLETED
    assert progress.delivered_amount == AMOUNT


def test_a_receiver_that_hangs_up() -> None:
    for frame in (closed(9, "enough"), StreamClose(1, 9, "enough")):
        world = World(accounts=MANY)
        world.later(130, lambda world=world, frame=frame: setattr(world.receiver, "closes", frame))
        [progress] = world.run(world.pay(source_amount=AMOUNT))
        world.settle()
        world.check(progress)
        assert (progress.state, progress.reason) == (State.FAILED, Reason.CLOSED_BY_RECEIVER)
        assert "code 9: enough" in progress.error
        assert 0 < progress.delivered_amount == world.got() < AMOUNT


def test_a_receiver_that_claims_less_than_it_took() -> None:
    world = World()
    world.receiver.claims = lambda amount: 0
    [progress] = world.run(world.pay(source_amount=AMOUNT))
    assert progress.state is State.COMPLETED
    # It fulfilled, and so had at least the minimum.
    assert progress.delivered_amount == AMOUNT * 985 // 1000


def test_a_receiver_that_refuses_and_does_not_say_why() -> None:
    world = World()
    world.receiver.refuses = True
    [progress] = world.run(world.pay(source_amount=AMOUNT))
    assert (progress.state, progress.reason) == (State.FAILED, Reason.REJECTED)
    assert "the receiver takes no packet" in progress.error
    assert world.sent_packets < 60


def test_what_comes_in_after_patience_has_ended_still_counts() -> None:
    world = World(wires={1: Delays(7_000)})
    [progress] = world.run(world.pay(source_amount=AMOUNT, patience_ms=5_000))
    world.settle()
    world.check(progress)
    assert (progress.state, progress.error) == (State.COMPLETED, "")
    assert progress.delivered_amount == AMOUNT
