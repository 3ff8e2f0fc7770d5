"""Token buckets, exact to the millisecond: when a token is there, and when it comes back."""

import pytest

from tests.core.conftest import MakeHub
from tests.reference.hub import Hub
from tests.reference.packets import Reject

NO = Reject(b"F99", b"g.hub.bob.x")


def passes(hub: Hub, amount: int = 0, advance_ms: int = 0, **fields: int) -> str:
    """The code of the Reject, or nothing if the Prepare was forwarded."""
    hub.now_ms += advance_ms
    hub.send(1, amount=amount, **fields)
    hub.run()
    hub.b.take()
    codes = [packet.code for _, packet in hub.take(hub.a) if packet.code != b"R00"]
    return codes[0].decode() if codes else ""


def test_packet_bucket_is_full_at_first(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"packets_per_minute_limit": 60})
    for request_id in range(70):
        hub.send(request_id)
    hub.run()
    assert [request_id for request_id, _ in hub.take(hub.a)] == list(range(60, 70))
    assert hub.counted() == {"forwarded": 60, "packets_rate_limited": 10}


@pytest.mark.parametrize("limit", [1, 7, 60, 997])
def test_tokens_come_one_by_one(make_hub: MakeHub, limit: int) -> None:
    """The k-th token is there after ceil(k * 60,000 / limit) ms, with no rounding carried on."""
    hub = make_hub(alice={"packets_per_minute_limit": limit})
    for request_id in range(limit):
        hub.send(request_id)
    hub.run()
    empty_ms = hub.now_ms
    for k in range(1, min(limit, 25) + 1):
        due_ms = empty_ms + -(-k * 60_000 // limit)
        assert passes(hub, advance_ms=due_ms - 1 - hub.now_ms) == "T05"
        assert passes(hub, advance_ms=1) == ""


def test_bucket_is_never_more_than_full(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"packets_per_minute_limit": 3})
    hub.run(10**9)
    assert [passes(hub) for _ in range(4)] == ["", "", "", "T05"]


def test_time_that_goes_back_fills_nothing(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"packets_per_minute_limit": 1})
    assert passes(hub) == ""
    assert passes(hub, advance_ms=-100_000, in_ms=200_000) == "T05"
    assert passes(hub, advance_ms=159_999) == "T05"
    assert passes(hub, advance_ms=1) == ""


def test_packet_token_is_gone_whatever_happens(make_hub: MakeHub) -> None:
    """Unreachable, or refused by the other bucket: it was a packet, and it cost us work."""
    hub = make_hub(alice={"packets_per_minute_limit": 2, "amount_per_minute_limit": 10})
    assert passes(hub, amount=11) == "T04"
    assert hub.refused(to="g.nowhere", amount=0) == "F02"
    assert passes(hub) == "T05"


def test_faults_before_the_buckets_cost_nothing(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"packets_per_minute_limit": 1, "max_packet_amount": 10})
    assert hub.refused(in_ms=0) == "R00"
    assert hub.refused(amount=11) == "F08"
    hub.a.receive([(1, b"\x0c")])
    hub.run()
    hub.a.take()
    assert passes(hub) == ""


def test_amount_bucket_counts_amounts(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 1_000})
    assert passes(hub, 600) == ""
    assert passes(hub, 401) == "T04"
    assert passes(hub, 400) == ""
    assert passes(hub, 1) == "T04"
    assert passes(hub, 0) == ""
    # 1,000 a minute is one each 60 ms.
    assert passes(hub, 1, advance_ms=59) == "T04"
    assert passes(hub, 1, advance_ms=1) == ""


def test_largest_limit_and_amount(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 2**64 - 1})
    assert passes(hub, 2**64 - 1) == ""
    assert passes(hub, 1) == "T04"
    per_ms = (2**64 - 1) // 60_000
    assert passes(hub, per_ms + 1, advance_ms=1) == "T04"
    assert passes(hub, per_ms) == ""


@pytest.mark.parametrize("by", ["reject", "wrong", "expiry", "fault"])
def test_amount_comes_back_when_nothing_was_paid(make_hub: MakeHub, by: str) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 100})
    if by == "fault":
        assert hub.refused(to="g.nowhere", amount=100) == "F02"
    else:
        sent_id = hub.forwarded(amount=100, in_ms=1_000)
        assert passes(hub, 100) == "T04"
        if by != "expiry":
            hub.answer(sent_id, NO if by == "reject" else b"\x0d")
        hub.run(1_008 if by == "expiry" else 0)
        assert len(hub.a.take()) == 1
    assert passes(hub, 100) == ""


def test_amount_that_was_paid_does_not_come_back(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 100})
    hub.pay(100)
    assert passes(hub, 1) == "T04"


def test_amount_comes_back_at_most_to_full(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 100})
    sent_id = hub.forwarded(amount=100, in_ms=30_000)
    hub.run(29_000)
    hub.answer(sent_id, NO)
    hub.run()
    hub.a.take()
    assert passes(hub, 101) == "T04"
    assert passes(hub, 100) == ""


def test_what_comes_back_is_for_the_next_batch(make_hub: MakeHub) -> None:
    """The buckets are asked before answers are applied (stage 4 and stage 7)."""
    hub = make_hub(alice={"amount_per_minute_limit": 100})
    sent_id = hub.forwarded(amount=100)
    hub.answer(sent_id, NO)
    hub.send(2, amount=100)
    hub.run()
    assert [packet.code for _, packet in hub.take(hub.a)] == [b"F99", b"T04"]
    assert passes(hub, 100) == ""


def test_limit_that_was_not_there_gets_nothing_back(make_hub: MakeHub) -> None:
    hub = make_hub()
    sent_id = hub.forwarded(amount=100)
    hub.switch.set_account(hub.alice, amount_per_minute_limit=100)
    assert passes(hub, 70) == ""
    hub.answer(sent_id, NO)
    hub.run()
    hub.a.take()
    assert passes(hub, 31) == "T04"


def test_changed_limit_keeps_the_level(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 100})
    assert passes(hub, 70) == ""
    hub.switch.set_account(hub.alice, amount_per_minute_limit=1_000)
    assert passes(hub, 31) == "T04"
    assert passes(hub, 30) == ""
    hub.run(60_000)
    hub.switch.set_account(hub.alice, amount_per_minute_limit=50)
    assert passes(hub, 51) == "T04"
    assert passes(hub, 50) == ""
    hub.switch.set_account(hub.alice, min_balance=-(10**9))
    assert passes(hub, 1) == "T04"


def test_time_before_a_change_counts_at_the_old_limit(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 60})
    hub.pay(60)
    hub.run(30_000)
    hub.switch.set_account(hub.alice, amount_per_minute_limit=6_000)
    assert passes(hub, 31) == "T04"
    assert passes(hub, 30) == ""


def test_lifted_limit(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"amount_per_minute_limit": 0, "packets_per_minute_limit": 0})
    assert passes(hub) == "T05"
    hub.switch.set_account(hub.alice, packets_per_minute_limit=None)
    assert (passes(hub), passes(hub, 1)) == ("", "T04")
    hub.switch.set_account(hub.alice, amount_per_minute_limit=None)
    assert passes(hub, 2**64 - 1) == ""


def test_limits_are_of_the_sender(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"amount_per_minute_limit": 0, "packets_per_minute_limit": 0})
    assert passes(hub, 100) == ""
