"""The sender's parts by themselves: what they make of observations, as tables."""

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from fastilp._core.packet import Reject
from fastilp._core.stream_frames import (
    ConnectionMaxData,
    Packet,
    StreamData,
    StreamDataBlocked,
    StreamMaxData,
    StreamMaxMoney,
)
from fastilp.endpoints.stream.congestion import Congestion
from fastilp.endpoints.stream.conversation import Answer, Conversation
from fastilp.endpoints.stream.goal import Goal
from fastilp.endpoints.stream.outbox import Outbox
from fastilp.endpoints.stream.rate import Bounds, RateEstimate, ceil_of
from fastilp.endpoints.stream.remarks import Remarks
from fastilp.endpoints.stream.sizing import AMOUNT_MAX, PacketSize
from fastilp.endpoints.stream.splitting import even_part, next_amount
from fastilp.endpoints.stream.verdicts import Verdict, told, verdict_of

DESTINATION = "test.bob.token"
SECRET = bytes(32)


# --- Rate ---------------------------------------------------------------------------------------


def observed(*pairs: tuple[int, int]) -> RateEstimate:
    rate = RateEstimate()
    for source, delivered in pairs:
        rate.observe(source, delivered)
    return rate


def test_observations_narrow_the_rate() -> None:
    rate = observed((3, 1), (1_000, 400), (7, 2))
    assert rate.lower == Fraction(2, 5)
    assert rate.upper == Fraction(403, 1_000)
    assert [rate.expected(source) for source in (0, 1, 2, 3, 5, 1_000)] == [0, 0, 0, 1, 2, 400]
    assert [rate.needed(delivery) for delivery in (0, 1, 2, 400)] == [0, 3, 5, 1_000]
    assert [rate.aligned(source) for source in (1, 3, 4, 5, 7)] == [1, 3, 3, 5, 5]


def test_another_rate_replaces_the_old_one() -> None:
    rate = observed((1_000, 400), (1_000, 300))
    assert (rate.lower, rate.upper) == (Fraction(300, 1_000), Fraction(303, 1_000))


def test_nothing_is_known_at_first() -> None:
    rate = observed((0, 0))
    assert (rate.lower, rate.expected(10), rate.needed(1)) == (None, 0, None)
    assert observed((10, 0)).needed(1) is None


def test_rounding_that_was_seen_is_allowed_for() -> None:
    rate = observed((10**6, 10**6))
    for _ in range(10):
        rate.rounded(100, 99)
    assert rate.slack == 4
    assert (rate.expected(100), rate.needed(96), rate.expected(3)) == (96, 100, 0)
    # A difference that is more than rounding.
    other = observed((10**6, 10**6))
    other.rounded(100, 90)
    assert other.slack == 0


@pytest.mark.parametrize(
    ("lower", "minimum", "amounts"),
    [
        # source amount: what is asked of it
        (Fraction(1), Fraction(985, 1000), {1: 1, 100: 99, 1_000: 985}),
        # Rounding takes a third of 3, and everything of 1.
        (Fraction(1, 2), Fraction(985, 2000), {1: None, 2: 1, 3: 1, 1_000: 493}),
        (Fraction(3), Fraction(3), {1: 3, 2: 6}),
    ],
)
def test_what_is_asked_of_a_packet(
    lower: Fraction, minimum: Fraction, amounts: dict[int, int | None]
) -> None:
    rate = observed((10**9, int(lower * 10**9)))
    bounds = Bounds(rate, minimum)
    assert {amount: bounds.asked(amount) for amount in amounts} == amounts


def test_what_rounding_costs_in_all_is_bounded() -> None:
    rate = observed((10**9, 10**9 // 2))
    bounds = Bounds(rate, Fraction(985, 2000))
    # Packets of 3 deliver 1: a third is lost, which is not noticed in the first two.
    for _ in range(2):
        assert bounds.asked(3) == 1
        bounds.sent(3, 1)
    assert bounds.asked(3) is None
    bounds.fulfilled(1, 2)
    assert bounds.asked(3) == 1
    bounds.refused(3, 1)
    assert bounds.least() == 134


def test_no_packet_is_asked_for_more_than_packets_hold() -> None:
    """A receiver may claim that a unit delivered all there is."""
    most = 2**64 - 1
    for rate in (observed((1, most)), observed((1_000, most)), observed((1, 1))):
        assert rate.lower is not None
        bounds = Bounds(rate, rate.lower * Fraction(985, 1000))
        largest = bounds.most()
        asked = bounds.asked(largest)
        assert asked is not None and asked <= most
        assert ceil_of((largest + 1) * bounds.minimum) > most


def test_a_rate_below_the_minimum_is_told_from_rounding() -> None:
    bounds = Bounds(observed((1_000, 900)), Fraction(985, 1000))
    assert bounds.is_too_low
    # It is asked for all the same: the rate may come back.
    assert bounds.asked(100) == 99
    assert bounds.least() == 0
    assert not Bounds(observed((1_000, 985)), Fraction(985, 1000)).is_too_low


# --- Packet size --------------------------------------------------------------------------------


def refusal(received: int, maximum: int) -> bytes:
    return received.to_bytes(8) + maximum.to_bytes(8)


def test_a_named_maximum_is_converted() -> None:
    size = PacketSize()
    assert size.maximum == AMOUNT_MAX
    # The hop counts in thousandths.
    assert size.refuse(5_000, refusal(5_000_000, 1_000_000))
    assert (size.maximum, size.is_known, size.is_settled) == (1_000, True, True)
    # Others that were in flight say nothing new.
    assert size.refuse(6_000, refusal(6_000_000, 1_000_000))
    assert size.maximum == 1_000
    # A hop behind it has a lower one.
    assert size.refuse(1_000, refusal(10, 1))
    assert size.maximum == 100


@pytest.mark.parametrize("limit", [1, 2, 3, 1_000, 123_456, 10**12])
def test_an_unnamed_maximum_is_found_by_halving(limit: int) -> None:
    size = PacketSize()
    size.refuse(10**15, b"")
    tries = 0
    while not size.is_settled:
        tries += 1
        tried = size.maximum
        if tried <= limit:
            size.took(tried)
        else:
            assert size.refuse(tried, b"")
    assert tries < 60
    assert size.maximum <= limit <= size.maximum * 17 // 16 + 1


def test_maxima_move() -> None:
    size = PacketSize()
    size.refuse(1_000, refusal(1_000, 100))
    size.took(100)
    size.refuse(100, refusal(100, 50))
    assert (size.maximum, size.passed) == (50, 0)
    unnamed = PacketSize()
    unnamed.refuse(1_000, b"")
    unnamed.took(2_000)
    assert unnamed.maximum > 2_000 and unnamed.refused > 2_000


def test_refusals_of_the_smallest_lead_nowhere() -> None:
    size = PacketSize()
    size.refuse(2, b"")
    assert not size.refuse(1, b"")
    assert not size.refuse(1, refusal(1, 0))
    assert size.maximum == 1


# --- Congestion ---------------------------------------------------------------------------------


def test_the_window_is_halved_once_for_a_flight() -> None:
    window = Congestion(1_000, Random(1))
    assert window.room(0, 0, 0) == 1_000
    assert window.room(0, 400, 1) == 600
    for sequence in range(1, 5):
        window.no_liquidity(sequence, 5, 0)
    assert window.window == 500
    assert window.room(0, 0, 0) == 500
    window.no_liquidity(5, 6, 0)
    assert window.window == 250
    # The second flight in a row that came back: a moment's rest.
    assert window.room(0, 0, 0) == 0
    assert 10 <= (window.wake_ms(0) or 0) <= 20
    assert window.room(20, 0, 0) == 250


def test_the_window_returns_to_half_of_what_failed_first() -> None:
    window = Congestion(1 << 40, Random(1))
    for sequence in range(30):
        window.no_liquidity(sequence, sequence + 1, 0)
    assert window.window == 1 << 10
    steps = 0
    while window.window < 1 << 39:
        window.fulfilled(window.window, 1)
        steps += 1
    assert steps == 29
    # From there on by a tenth.
    window.fulfilled(1 << 30, 1)
    assert window.window == (1 << 39) + (1 << 30) // 10


def test_waits_grow_to_half_a_second() -> None:
    window = Congestion(1_000, Random(1))
    waits = []
    window.busy(0, 1, 0)
    assert window.wake_ms(0) is None
    for sequence in range(1, 25):
        window.busy(sequence, sequence + 1, 0)
        waits.append(window.wake_ms(0) or 0)
    assert all(10 <= wait <= 500 for wait in waits)
    assert min(waits[6:]) >= 250
    assert window.packets_window == 1
    window.fulfilled(1, 0)
    assert window.wake_ms(0) is None


def test_pacing_begins_with_a_rate_limit() -> None:
    window = Congestion(1_000, Random(1))
    for now_ms in range(0, 1_000, 10):
        window.sent(now_ms)
        window.fulfilled(1, now_ms)
    window.too_fast(1, 2, 1_000)
    assert window.pace is not None and 40 <= window.pace <= 60
    window.sent(2_000)
    assert 2_015 <= (window.wake_ms(2_000) or 0) <= 2_030
    before = window.pace
    window.fulfilled(1, 3_000)
    assert before < window.pace < before + 2
    for sequence in range(10, 40):
        window.too_fast(sequence, sequence + 1, 4_000)
    assert window.pace == 5


def test_another_payment_may_have_a_larger_window() -> None:
    window = Congestion(10, Random(1))
    window.allow(1_000)
    assert window.window == 1_000
    window.start_with(300)
    window.allow(5_000)
    assert window.window == 300


# --- Splitting ----------------------------------------------------------------------------------


def test_parts_are_even() -> None:
    rate = observed((10**6, 10**6))
    left, parts = 1_001, []
    while left:
        parts.append(even_part(left, 100, rate))
        left -= parts[-1]
    assert len(parts) == 11
    assert set(parts) == {91}


@pytest.mark.parametrize(
    ("unsent", "largest", "room", "window", "expected"),
    [
        (1_000, AMOUNT_MAX, 1_000, 1_000, (1_000, 985)),
        (1_000, 100, 1_000, 1_000, (100, 99)),
        # As much of the window as is free, but no crumbs of it.
        (1_000, AMOUNT_MAX, 400, 800, (400, 394)),
        (1_000, AMOUNT_MAX, 99, 800, None),
        (50, AMOUNT_MAX, 99, 800, (50, 50)),
    ],
)
def test_the_next_packet(
    unsent: int, largest: int, room: int, window: int, expected: tuple[int, int] | None
) -> None:
    rate = observed((10**6, 10**6))
    bounds = Bounds(rate, Fraction(985, 1000))
    assert next_amount(unsent, largest, room, window, rate, bounds) == expected


def test_a_packet_that_must_be_larger_than_the_window() -> None:
    rate = observed((10**9, 10**6))
    bounds = Bounds(rate, Fraction(985, 1_000_000))
    assert next_amount(10**6, AMOUNT_MAX, 1, 1, rate, bounds) is not None
    assert next_amount(10**6, AMOUNT_MAX, 100, 200, rate, bounds) is None
    assert next_amount(500, AMOUNT_MAX, 10**6, 10**6, rate, bounds) is None


# --- Others -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("T00", Verdict.LATER),
        ("T77", Verdict.LATER),
        ("T04", Verdict.LESS_IN_FLIGHT),
        ("T05", Verdict.SLOWER),
        ("R00", Verdict.LOST),
        ("R01", Verdict.TOO_LITTLE),
        ("R02", Verdict.LATER_EXPIRY),
        ("R99", Verdict.LATER),
        ("F02", Verdict.NO_ROUTE),
        ("F08", Verdict.SMALLER),
        ("F99", Verdict.REFUSED),
        ("F00", Verdict.FINAL),
        ("F77", Verdict.FINAL),
        ("X01", Verdict.FINAL),
    ],
)
def test_verdicts(code: str, verdict: Verdict) -> None:
    assert verdict_of(code) is verdict


def test_peers_texts_are_shown_with_care() -> None:
    answer = Answer("T00", "a\x1b[31m\n" + "b" * 500, "test.evil", b"", None)
    assert told(answer) == "T00 a[31m" + "b" * 193 + " (test.evil)"


def test_data_is_sent_again_until_it_arrives() -> None:
    outbox = Outbox(100)
    outbox.add(bytes(20_000))
    first, second = outbox.next(), outbox.next()
    assert first == (StreamData(1, 100, bytes(16_384)),)
    assert second == (StreamData(1, 16_484, bytes(3_616)),)
    assert (outbox.next(), outbox.waits, outbox.is_empty) == ((), False, False)
    outbox.lost(first)
    assert outbox.next() == first
    outbox.arrived(second)
    outbox.arrived(first)
    assert outbox.is_empty


def test_data_heeds_limits() -> None:
    outbox = Outbox(0)
    outbox.add(bytes(100_000))
    while not outbox.is_blocked:
        outbox.next()
    assert outbox.next() == (StreamDataBlocked(1, 100_000),)
    outbox.heed(StreamMaxData(1, 90_000))
    assert outbox.is_blocked
    outbox.heed(ConnectionMaxData(90_000))
    assert not outbox.is_blocked
    outbox.heed(StreamMaxData(3, 10**6))
    outbox.heed(StreamMaxData(1, 10))
    outbox.heed(ConnectionMaxData(200_000))
    assert not outbox.is_blocked


def test_the_receivers_limit_is_remembered() -> None:
    remarks = Remarks(Outbox(0))
    assert remarks.room(5) is None

    def said(*frames: StreamMaxMoney) -> None:
        remarks.heed(Packet(13, 1, 0, frames))

    said(StreamMaxMoney(1, 100, 0), StreamMaxMoney(3, 7, 7))
    assert (remarks.room(0), remarks.room(30), remarks.room(200)) == (100, 70, 0)
    said(StreamMaxMoney(1, 90, 40))
    assert remarks.room(30) == 60
    said(StreamMaxMoney(1, AMOUNT_MAX, 0))
    assert remarks.room(30) is None


def test_a_goal_of_delivery_counts_what_is_in_flight() -> None:
    rate = observed((10**6, 5 * 10**5))
    goal = Goal(None, 100)
    goal.source_amount = 210
    assert (goal.unsent(rate), goal.is_reached) == (200, False)
    goal.took_off(120, 60)
    assert goal.unsent(rate) == 80
    goal.took_off(80, 40)
    assert goal.unsent(rate) == 0
    goal.came_back(80, 40)
    goal.arrived(120, 60, 61)
    assert (goal.sent, goal.delivered, goal.unsent(rate)) == (120, 61, 78)


def test_answers_are_read_with_suspicion() -> None:
    conversation = Conversation(DESTINATION, SECRET, sequence_first=7)
    sent = conversation.prepare(10, 9, (), 0, 1_000_000)
    other = conversation.prepare(10, 9, (), 0, 1_000_000)
    assert (sent.sequence, other.sequence) == (7, 8)
    garbage = conversation.read(sent, b"\x0d\x00")
    assert (garbage.code, garbage.packet) == ("T00", None)
    assert conversation.read(sent, sent.prepare).code == "T00"
    # The data of the Prepare itself decrypts, but is no answer.
    echoed = Reject(
        code="F99", triggered_by="test", message="", data=conversation_data(sent.prepare)
    )
    assert conversation.read(sent, bytes(echoed)).packet is None
    assert Decimal(conversation.sequence_next) == 9


def conversation_data(prepare: bytes) -> bytes:
    # The last field of a Prepare: what is encrypted.
    return prepare[-40:]
