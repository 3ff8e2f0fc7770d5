"""Payments over paths that hypothesis makes up: whatever is lost, refused or rounded, the sums are
right; whatever is sent instead of a packet, the receiver answers and goes on.

`make hunt` tries other paths each time.
"""

import os
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastilp._core.packet import Prepare
from fastilp._core.stream_frames import StreamMoney
from fastilp.endpoints.stream.congestion import Congestion
from fastilp.endpoints.stream.progress import State
from fastilp.endpoints.stream.shares import split
from fastilp.endpoints.stream.sizing import AMOUNT_MAX
from tests.endpoints.stream_wires import Loses, Refuses
from tests.endpoints.stream_world import NOW_MS, Wire, World

pytestmark = pytest.mark.property

EXAMPLES = 1_000 if os.environ.get("FASTILP_SOAK") else 60
# A payment of more is cancelled, and has to add up all the same.
PACKETS_MAX = 2_000
SECONDS_MAX = 300
CODES = ["T00", "T01", "T02", "T03", "T04", "T05", "R00", "R02", "F08"]

u64 = st.integers(0, 2**64 - 1)


@given(u64, st.lists(st.tuples(st.integers(1, 9), u64), max_size=6))
def test_shares_never_create_or_lose_money(amount: int, shares: list[tuple[int, int]]) -> None:
    parts = split(amount, [StreamMoney(*one) for one in shares])
    if any(share for _, share in shares):
        assert sum(parts.values()) == amount
        assert all(part >= 0 for part in parts.values())
    else:
        assert parts == {}


@st.composite
def paths(draw: st.DrawFn) -> World:
    hops = draw(st.integers(1, 3))
    assets = [
        (draw(st.sampled_from(["ABC", "XYZ", "EUR"])), draw(st.integers(0, 9)))
        for _ in range(hops + 1)
    ]
    rates = {
        code: Fraction(draw(st.integers(1, 1_000)), draw(st.integers(1, 1_000)))
        for code in ("ABC", "XYZ", "EUR")
    }
    spread = Fraction(draw(st.sampled_from([0, 1, 5])), 1_000)
    wires: dict[int, Wire] = {}
    for index in range(1, hops + 1):
        seed = draw(st.integers(0, 2**32))
        kind = draw(st.sampled_from(["honest", "loses", "refuses"]))
        if kind == "loses":
            # Prepares, or Rejects and Fulfills: who loses a Fulfill has paid for nothing.
            lost = draw(st.sampled_from([(0.2, 0.0), (0.0, 0.2), (0.1, 0.1)]))
            wires[index] = Loses(lost[0], seed, answers=lost[1])
        elif kind == "refuses":
            code, random = draw(st.sampled_from(CODES)), Random(seed)
            wires[index] = Refuses(code, lambda _, __, random=random: random.random() < 0.3)
    accounts = {}
    if draw(st.booleans()):
        accounts[0] = {"max_packet_amount": draw(st.integers(1_000, 10**12))}
    world = World(assets=assets, rates=rates, spread=spread, wires=wires, accounts=accounts)
    world.path.congestion = Congestion(AMOUNT_MAX, Random(draw(st.integers(0, 2**32))))
    return world


def is_lossless(world: World) -> bool:
    return not any(isinstance(wire, Loses) and wire._answers for wire in world._wires.values())


@settings(max_examples=EXAMPLES, deadline=None)
@given(paths(), st.integers(1, 10**9), st.booleans())
def test_sender_and_receiver_agree(world: World, amount: int, fixed_source: bool) -> None:
    goal = "source_amount" if fixed_source else "delivery_amount"
    machine = world.pay(**{goal: amount})
    last = (0, 0)

    def look() -> None:
        nonlocal last
        now = machine.progress()
        # Nothing is ever forgotten, and what may be gone is never understated.
        assert (now.sent_amount, now.delivered_amount) >= last
        assert now.sent_amount + now.in_flight_amount >= 0
        last = now.sent_amount, now.delivered_amount
        packets = now.packets_fulfilled + now.packets_rejected
        if packets > PACKETS_MAX or world.now_ms > NOW_MS + SECONDS_MAX * 1_000:
            machine.cancel()

    [progress] = world.run(machine, each=look)
    world.settle()
    world.check(progress, lossless=is_lossless(world))
    if is_lossless(world):
        assert progress.delivered_amount == world.got()
    else:
        assert progress.delivered_amount <= world.got()
    if progress.minimum_rate is not None:
        assert progress.delivered_amount >= int(progress.sent_amount * progress.minimum_rate)
    if fixed_source:
        assert progress.sent_amount <= amount
    elif progress.state is State.COMPLETED:
        assert progress.delivered_amount >= amount


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=32_767), st.integers(0, 2**64 - 1))
def test_garbage_is_answered_f06_or_f02(data: bytes, amount: int) -> None:
    world = World(assets=[("ABC", 9), ("ABC", 9)])
    prepare = Prepare(
        amount=amount,
        expires_at=world.now_ms + 10_000,
        execution_condition=bytes(32),
        destination=world.conversation.destination,
        data=data,
    )
    answers: list[bytes] = []
    world.uplink.send(bytes(prepare), answers.append)
    world.settle()
    [answer] = answers
    assert b"F06" in answer[:8]
    assert world.got() == world.paid() == 0
