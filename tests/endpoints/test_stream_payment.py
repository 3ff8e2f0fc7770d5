"""Payments over real switches, with honest neighbours: sums, sizes, rates, data, limits."""

from decimal import Decimal
from fractions import Fraction

import pytest

from fastilp._core.stream_frames import ConnectionAssetDetails, ConnectionClose, ConnectionMaxData
from fastilp.endpoints.stream.crypto import verify_receipt
from fastilp.endpoints.stream.payment import PaymentMachine
from fastilp.endpoints.stream.progress import Progress, Reason, State
from fastilp.errors import UsageError
from tests.endpoints.stream_wires import Limits, Refuses
from tests.endpoints.stream_world import NOW_MS, RECEIPT_NONCE, RECEIPT_SECRET, Wire, World

RATES = {"ABC": Fraction(3, 7), "XYZ": Fraction(1), "EUR": Fraction(11, 10)}


def paid(world: World, machine: PaymentMachine) -> Progress:
    """Run it, and look at everybody's books."""
    [progress] = world.run(machine)
    world.settle()
    world.check(progress)
    assert progress.in_flight_amount == 0
    return progress


def completed(world: World, **terms: object) -> Progress:
    progress = paid(world, world.pay(**terms))
    assert (progress.state, progress.error) == (State.COMPLETED, "")
    assert progress.delivered_amount == world.got()
    return progress


def failed(world: World, reason: Reason, **terms: object) -> Progress:
    progress = paid(world, world.pay(**terms))
    assert (progress.state, progress.reason) == (State.FAILED, reason), progress.error
    assert progress.error
    return progress


@pytest.mark.parametrize("amount", [1, 10**6, 10**12])
@pytest.mark.parametrize("change", range(-9, 10))
def test_scales(amount: int, change: int) -> None:
    scales = (9, 9 + change) if change < 0 else (0, change)
    world = World(assets=[("ABC", scales[0]), ("ABC", scales[0]), ("ABC", scales[1])])
    arrives = amount * 10**change if change >= 0 else amount // 10**-change
    if arrives == 0:
        progress = failed(world, Reason.AMOUNT_TOO_SMALL, source_amount=amount)
        assert (progress.sent_amount, world.got()) == (0, 0)
        return
    progress = completed(world, source_amount=amount)
    assert (progress.sent_amount, progress.delivered_amount) == (amount, arrives)
    assert progress.destination_asset_scale == scales[1]


@pytest.mark.parametrize("amount", [1_000_000_007, 10**12])
def test_rates_with_spread(amount: int) -> None:
    world = World(assets=[("ABC", 9), ("XYZ", 6), ("EUR", 4)], rates=RATES, spread=Fraction(1, 100))
    progress = completed(world, source_amount=amount)
    exact = amount * Fraction(3, 7) / Fraction(11, 10) * Fraction(99, 100) ** 2 / 10**5
    assert progress.sent_amount == amount
    # Each of two hops rounds down.
    assert exact - 2 <= progress.delivered_amount <= exact


@pytest.mark.parametrize("amount", [1, 999, 10**6, 10**9])
def test_a_fixed_delivery_amount(amount: int) -> None:
    world = World(
        assets=[("ABC", 9), ("XYZ", 6), ("EUR", 4)],
        rates=RATES,
        spread=Fraction(1, 100),
        accounts={0: {"max_packet_amount": 10**13}},
    )
    progress = completed(world, delivery_amount=amount)
    # The rate is known to six digits or more.
    digits = 1 + Fraction(1, 10**6)
    assert amount <= progress.delivered_amount <= amount * digits
    exact = amount * Fraction(7, 3) * Fraction(11, 10) / Fraction(99, 100) ** 2 * 10**5
    assert exact <= progress.sent_amount <= exact * (1 + Fraction(1, amount)) * digits
    assert progress.source_amount == progress.sent_amount


def test_ten_thousand_packets() -> None:
    world = World(accounts={1: {"max_packet_amount": 100}})
    progress = completed(world, source_amount=10**6)
    assert progress.delivered_amount == 10**6
    assert progress.packets_fulfilled == 10_000
    assert progress.packets_rejected == 0
    assert progress.packet_amount_max == 100


@pytest.mark.parametrize("maximum", [1, 2, 99, 777, 30_000])
@pytest.mark.parametrize("says", [True, False])
def test_the_largest_packet_is_found(maximum: int, says: bool) -> None:
    world = World(wires={1: Limits(maximum, says=says)})
    progress = completed(world, source_amount=1_000 * maximum)
    assert progress.delivered_amount == 1_000 * maximum
    # Halving an interval ends near its upper end.
    assert progress.packets_fulfilled <= 1_000 * 1.2


def test_packets_that_would_lose_to_rounding_are_fitted() -> None:
    # A unit at the receiver is 10^9 here, and a packet holds one and a half.
    world = World(
        assets=[("ABC", 9), ("ABC", 0)], accounts={0: {"max_packet_amount": 1_500_000_000}}
    )
    progress = completed(world, source_amount=10**12)
    assert (progress.delivered_amount, progress.packets_fulfilled) == (1_000, 1_000)


def test_no_packet_is_large_enough_to_arrive() -> None:
    world = World(assets=[("ABC", 9), ("ABC", 0)], accounts={0: {"max_packet_amount": 10**8}})
    failed(world, Reason.AMOUNT_TOO_SMALL, source_amount=10**12)


def test_crumbs_that_cannot_arrive_stay() -> None:
    world = World(assets=[("ABC", 1), ("ABC", 0)], accounts={0: {"max_packet_amount": 10}})
    progress = completed(world, source_amount=95)
    assert (progress.sent_amount, progress.delivered_amount) == (90, 9)


def test_nothing_to_pay() -> None:
    world = World()
    assert completed(world, source_amount=0).packets_fulfilled == 0
    assert world.got() == 0


def test_one_round_trip_to_learn_one_to_pay_one_to_close() -> None:
    world = World()
    completed(world, source_amount=1_000)
    [close] = [one for one in world.receiver.frames if isinstance(one, ConnectionClose)]
    assert close.error_code == 1
    assert world.path.round_trip_ms == 40


def test_a_rate_that_was_expected() -> None:
    world = World(spread=Fraction(1, 50), assets=[("ABC", 9), ("XYZ", 9)], rates=RATES)
    asked = []

    def rate(code: str, scale: int) -> Fraction:
        asked.append((code, scale))
        return Fraction(3, 7)

    progress = failed(world, Reason.RATE_TOO_LOW, source_amount=10**6, rate=rate)
    assert asked == [("XYZ", 9)]
    assert (world.paid(), progress.packets_fulfilled) == (0, 0)
    again = World(spread=Fraction(1, 50), assets=[("ABC", 9), ("XYZ", 9)], rates=RATES)
    completed(again, source_amount=10**6, rate=rate, slippage=Decimal("0.02"))


def test_the_minimum_is_asked_of_every_packet() -> None:
    world = World(accounts={1: {"max_packet_amount": 1_000}})
    machine = world.pay(source_amount=10**5, slippage=Decimal("0.1"))
    asked = []

    def look() -> None:
        for flight in machine._flights.values():
            if flight.sent.fulfillment is not None:
                asked.append((flight.sent.amount, flight.sent.minimum))

    [progress] = world.run(machine, each=look)
    assert progress.minimum_rate == Fraction(9, 10)
    assert {*asked} == {(1_000, 900)}


def test_data_arrives_whole() -> None:
    world = World()
    data = bytes(range(256)) * 200
    completed(world, source_amount=1_000, data=data)
    pieces = sorted(world.receiver.data.items())
    assert b"".join(piece for _, piece in pieces) == data
    assert world.got() == 1_000


def test_data_waits_for_the_receivers_limit() -> None:
    world = World()
    world.receiver.says = [ConnectionMaxData(20_000)]
    machine = world.pay(source_amount=10, data=bytes(60_000))

    def more() -> None:
        if world.now_ms > NOW_MS + 1_000:
            world.receiver.says = [ConnectionMaxData(100_000)]

    [progress] = world.run(machine, each=more)
    assert progress.state is State.COMPLETED
    assert sum(map(len, world.receiver.data.values())) == 60_000
    assert world.now_ms >= NOW_MS + 1_000


def test_the_newest_receipt_is_kept() -> None:
    world = World(accounts={1: {"max_packet_amount": 100}})
    progress = completed(world, source_amount=1_000)
    proof = verify_receipt(progress.receipt, RECEIPT_SECRET)
    assert proof == (RECEIPT_NONCE, 1, 1_000)


def test_a_receiver_that_never_tells_its_asset() -> None:
    world = World()
    world.receiver.tells_asset = False
    progress = completed(world, source_amount=1_000)
    assert progress.destination_asset_code is None
    assert progress.delivered_amount == 1_000


def test_a_receiver_that_takes_more_later() -> None:
    world = World()
    world.receiver.receive_max = 0
    world.later(700, lambda: setattr(world.receiver, "receive_max", 10**6))
    completed(world, source_amount=1_000)


def test_a_receiver_that_is_full() -> None:
    world = World()
    world.receiver.receive_max = 300
    progress = failed(world, Reason.RECEIVER_FULL, source_amount=1_000)
    assert progress.delivered_amount == world.got() == 300


def test_payments_in_a_row_learn_once() -> None:
    world = World(accounts={1: {"max_packet_amount": 100}})
    first = world.pay(source_amount=1_000, closes=False)
    second_terms = {"source_amount": 500, "closes": True}
    [one] = world.run(first)
    before = world.sent_packets
    [two] = world.run(world.pay(**second_terms))
    world.settle()
    world.check(one, two)
    # Five packets and a good-bye: no probes.
    assert world.sent_packets - before == 6
    assert world.conversation.delivered == 1_500


def test_two_payments_at_once() -> None:
    world = World(accounts={1: {"max_packet_amount": 1_000}})
    machines = [world.pay(source_amount=10**5) for _ in range(2)]
    progress = world.run(*machines)
    world.settle()
    world.check(*progress)
    assert [one.delivered_amount for one in progress] == [10**5, 10**5]


def test_cancelling_waits_for_what_is_in_flight() -> None:
    world = World(accounts={1: {"max_packet_amount": 100}})
    machine = world.pay(source_amount=10**6)

    def cancel() -> None:
        if machine.progress().packets_fulfilled > 50:
            machine.cancel()

    [progress] = world.run(machine, each=cancel)
    world.settle()
    world.check(progress)
    assert progress.state is State.CANCELLED
    assert 5_000 < progress.delivered_amount == world.got() < 10**6


def test_cancelling_at_once() -> None:
    world = World()
    machine = world.pay(source_amount=10**6)
    machine.cancel()
    assert paid(world, machine).state is State.CANCELLED
    assert world.paid() == 0


def test_progress_never_says_less_than_what_may_be_gone() -> None:
    world = World(accounts={1: {"max_packet_amount": 1_000}})
    machine = world.pay(source_amount=10**5)
    seen: list[Progress] = []

    def look() -> None:
        seen.append(machine.progress())
        assert seen[-1].sent_amount + seen[-1].in_flight_amount >= world.got()

    world.run(machine, each=look)
    assert [one.sent_amount for one in seen] == sorted(one.sent_amount for one in seen)
    assert max(one.in_flight_amount for one in seen) > 10_000


def test_a_packet_asks_for_more_time_where_the_path_needs_it() -> None:
    world = World(
        wires={1: Refuses("R02", lambda world, one: one.expires_at_ms - world.now_ms < 12_000)}
    )
    completed(world, source_amount=1_000)
    assert world.path.hold_ms == 16_000


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"source_amount": 1, "delivery_amount": 1},
        {"source_amount": -1},
        {"source_amount": 2**64},
        {"delivery_amount": 2**64},
    ],
)
def test_payments_that_cannot_be(terms: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        World().pay(**terms)


def test_an_asset_is_believed_once() -> None:
    world = World()
    world.receiver.says = [ConnectionAssetDetails("EVIL", 2)]
    progress = completed(world, source_amount=1_000)
    assert (progress.destination_asset_code, progress.destination_asset_scale) == ("EVIL", 2)


def test_slow_paths_get_longer_expiries() -> None:
    world = World(wires={1: Wire(1_500)})
    completed(world, source_amount=1_000)
    assert world.path.hold_ms == 30_000
