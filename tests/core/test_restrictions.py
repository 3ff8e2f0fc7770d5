"""Policies that few accounts have: destinations that are allowed, limits towards a next hop, what
control decides about, and a suspended way out."""

import pytest

from fastilp.errors import UsageError
from tests.core.conftest import MakeHub
from tests.reference.hub import Hub
from tests.reference.kits import COMPILED
from tests.reference.packets import Fulfill, Prepare, Reject, encode

NO = Reject(b"F99", b"g.hub.bob.x")


def answer_of(hub: Hub, **fields: object) -> str:
    """The code of the Reject, or nothing if the Prepare was forwarded to bob."""
    hub.send(1, **fields)  # type: ignore[arg-type]
    hub.run()
    forwarded = hub.b.take()
    codes = [packet.code.decode() for _, packet in hub.take(hub.a)]
    assert len(forwarded) + len(codes) == 1
    return codes[0] if codes else ""


@pytest.mark.parametrize(
    ("allowed", "to", "code"),
    [
        (["g.hub.bob"], "g.hub.bob", ""),
        (["g.hub.bob"], "g.hub.bob.deep.er", ""),
        (["g.hub.bob"], "g.hub.bobby", "F02"),
        (["g.hub.bob.x"], "g.hub.bob", "F02"),
        (["g.other", "g.hub"], "g.hub.bob.x", ""),
        (["g"], "g.hub.bob.x", ""),
        ([""], "g.hub.bob.x", ""),
        ([], "g.hub.bob.x", "F02"),
    ],
)
def test_allowed_destinations(make_hub: MakeHub, allowed: list[str], to: str, code: str) -> None:
    hub = make_hub(alice={"allowed_destinations": allowed})
    hub.switch.set_route("g.hub", hub.bob)
    assert answer_of(hub, to=to) == code
    hub.switch.set_account(hub.alice, allowed_destinations=None)
    assert answer_of(hub, to=to) == ""
    hub.check_sums()


def test_allowed_destinations_are_of_the_sender(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"allowed_destinations": ["g.nowhere"]})
    assert answer_of(hub) == ""


def test_node_itself_may_always_be_asked(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"allowed_destinations": []})
    hub.control.up = True
    for request_id, to in enumerate(("g.hub", "peer.config")):
        hub.send(request_id, to=to, amount=0)
    hub.run()
    assert hub.counted() == {"punted": 2}


def test_echo_is_no_way_around_a_restriction(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"allowed_destinations": ["g.hub.alice"]})
    hub.control.up = True
    hub.send(5, to="g.hub")
    hub.run()
    [(punt_id, _)] = hub.control.take()
    hub.control.receive([(punt_id, encode(hub.prepare(to="g.hub.bob.x")))])
    hub.run()
    assert [packet.code for _, packet in hub.take(hub.a)] == [b"F02"]
    assert hub.counted() == {"punted": 1, "destination_not_allowed": 1}
    assert hub.switch.in_flight() == 0


@pytest.mark.parametrize(
    "bad", ["g.hub.bob", ["g..x"], [7], ["g.a"] * 257], ids=["text", "prefix", "type", "count"]
)
def test_what_is_no_list_of_prefixes_is_refused(bad: object) -> None:
    from_kit = Hub(COMPILED)
    with pytest.raises(UsageError, match="alice"):
        from_kit.switch.set_account(from_kit.alice, allowed_destinations=bad)
    assert from_kit.switch.settings(from_kit.alice)["allowed_destinations"] is None


def test_largest_packet_to_a_next_hop(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"max_packet_amount_out": 100})
    assert answer_of(hub, amount=100) == ""
    assert answer_of(hub, amount=101) == "F08"
    assert answer_of(hub, amount=0) == ""
    hub.switch.set_account(hub.bob, max_packet_amount_out=None)
    assert answer_of(hub, amount=2**64 - 1) == ""


def test_maximum_is_told_in_the_senders_units(make_hub: MakeHub) -> None:
    """1 of bob's units is 3 of alice's: 10 of his are 30 of hers."""
    hub = make_hub(alice={"asset_code": "ABC"}, bob={"max_packet_amount_out": 10})
    hub.switch.set_rate("ABC", 1)
    hub.switch.set_rate("USD", 3)
    hub.send(1, amount=33)
    hub.run()
    [(_, reject)] = hub.take(hub.a)
    assert reject.data == (33).to_bytes(8, "big") + (30).to_bytes(8, "big")
    assert answer_of(hub, amount=30) == ""


def test_amount_bucket_of_a_next_hop(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"amount_per_minute_limit_out": 100})
    hub.pay(60)
    assert answer_of(hub, amount=41) == "T04"
    sent_id = hub.forwarded(amount=40)
    assert answer_of(hub, amount=1) == "T04"
    hub.answer(sent_id, NO)
    hub.run()
    hub.a.take()
    assert answer_of(hub, amount=40) == ""
    hub.check_sums()


def test_amount_of_a_next_hop_comes_back_when_money_is_refused(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"min_balance": -10}, bob={"amount_per_minute_limit_out": 100})
    assert answer_of(hub, amount=90) == "T04"
    assert hub.counted() == {"exceeds_floor": 1}
    hub.switch.set_account(hub.alice, min_balance=None)
    assert answer_of(hub, amount=100) == ""
    assert hub.refused(amount=1) == "T04"


# --- what control decides about -------------------------------------------------------------------


@pytest.mark.parametrize("by", ["account", "prefix"])
def test_marked_packets_go_to_control_once(make_hub: MakeHub, by: str) -> None:
    hub = make_hub()
    hub.control.up = True
    if by == "account":
        hub.switch.set_punt(hub.alice, True)
    else:
        hub.switch.set_punt_prefix("g.hub.bob", True)
    sent = hub.send(5, amount=100)
    hub.run()
    [(punt_id, packet)] = hub.control.take()
    assert packet == encode(sent)
    assert hub.switch.punt_account(punt_id) is hub.alice
    assert hub.balances() == (0, 0)
    hub.control.receive([(punt_id, packet)])
    hub.run()
    [(sent_id, forwarded)] = hub.take(hub.b)
    assert isinstance(forwarded, Prepare)
    hub.answer(sent_id)
    hub.run()
    assert [request_id for request_id, _ in hub.take(hub.a)] == [5]
    assert hub.balances() == (-100, 100)
    assert hub.counted() == {"punted": 1, "forwarded": 1, "fulfilled": 1}
    hub.check_sums()


def test_marks_can_be_taken_away(make_hub: MakeHub) -> None:
    hub = make_hub()
    hub.control.up = True
    hub.switch.set_punt(hub.alice, True)
    hub.switch.set_punt(hub.alice, False)
    hub.switch.set_punt_prefix("g.hub.bob", True)
    hub.switch.set_punt_prefix("g.hub.bob", False)
    assert answer_of(hub) == ""
    with pytest.raises(KeyError):
        hub.switch.set_punt_prefix("g.hub.bob", False)


def test_marked_packet_is_refused_like_any_other(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"max_packet_amount": 10, "amount_per_minute_limit": 10})
    hub.control.up = True
    hub.switch.set_punt(hub.alice, True)
    assert hub.refused(amount=11) == "F08"
    hub.send(1, amount=10)
    hub.run()
    [(punt_id, _)] = hub.control.take()
    hub.control.receive([(punt_id, encode(NO))])
    hub.run()
    assert hub.take(hub.a) == [(1, NO)]
    # What was not paid is in the bucket again.
    hub.send(2, amount=10)
    hub.run()
    assert hub.counted() == {"amount_too_large": 1, "punted": 2, "rejected": 1}


def test_money_never_rides_on_a_marked_punt(make_hub: MakeHub) -> None:
    hub = make_hub()
    hub.control.up = True
    hub.switch.set_punt(hub.alice, True)
    hub.send(1, amount=10)
    hub.run()
    [(punt_id, _)] = hub.control.take()
    hub.control.receive([(punt_id, encode(Fulfill(b"\x07" * 32)))])
    hub.run()
    assert hub.counted() == {"punted": 1, "invalid_answer": 1}
    assert hub.balances() == (0, 0)


def test_marked_packet_is_not_reflected(make_hub: MakeHub) -> None:
    """An echo may go back to whoever sent it, what a rule let pass may not."""
    hub = make_hub()
    hub.control.up = True
    hub.switch.set_punt(hub.alice, True)
    hub.send(1, to="g.hub.alice.x")
    hub.run()
    hub.control.receive(hub.control.take())
    hub.run()
    assert hub.counted() == {"punted": 1, "reflected": 1}


def test_marked_packet_of_an_account_that_closes_is_unreachable(make_hub: MakeHub) -> None:
    """Reflected it would be too, but that comes later in the order of outcomes."""
    hub = make_hub()
    hub.control.up = True
    hub.switch.set_punt(hub.alice, True)
    hub.send(1, to="g.hub.alice.x")
    hub.run()
    hub.switch.close_account(hub.alice)
    hub.control.receive(hub.control.take())
    hub.run()
    assert hub.counted() == {"punted": 1, "unreachable": 1}


def test_rule_does_not_fail_open(make_hub: MakeHub) -> None:
    hub = make_hub()
    hub.switch.set_punt(hub.alice, True)
    assert answer_of(hub) == "T01"
    assert hub.counted() == {"link_down": 1}


# --- a way out that is suspended ------------------------------------------------------------------


def test_suspended_account_gets_nothing_new() -> None:
    hub = Hub(COMPILED)
    before = hub.forwarded(amount=100)
    hub.switch.suspend(hub.bob, True)
    hub.switch.suspend(hub.bob, True)
    assert answer_of(hub) == "T01"
    hub.answer(before)
    hub.run()
    assert hub.balances() == (-100, 100)
    hub.take(hub.a)
    hub.switch.suspend(hub.bob, False)
    assert answer_of(hub) == ""
    hub.check_sums()


def test_egress_that_changes_meanwhile_counts_later() -> None:
    hub = Hub(COMPILED)
    hub.switch.suspend(hub.bob, True)
    hub.switch.set_egress(hub.bob, None)
    link = hub.switch.open_link(hub.bob)
    assert answer_of(hub) == "T01"
    hub.switch.suspend(hub.bob, False)
    hub.send(1)
    hub.run()
    assert len(link.take()) == 1


def test_tally_counts_what_went_wrong() -> None:
    hub = Hub(COMPILED)
    said = [
        Reject(b"T01", b"g.hub", b"peer cannot be reached"),
        Reject(b"T01", b"g.far", b"not ours"),
        Reject(b"T04", b"g.peer", b"exceeded maximum balance."),
        Reject(b"F02", b"g.peer", b""),
    ]
    for request_id, reject in enumerate(said):
        hub.answer(hub.forwarded(request_id), reject)
        hub.run()
        hub.take(hub.a)
    hub.forwarded(in_ms=1_000)
    hub.run(2_000)
    hub.take(hub.a)
    assert hub.switch.tally(hub.bob) == (5, 1, 1, 1)
    assert hub.switch.refused_by(hub.bob) == "g.peer"
    assert hub.switch.tally(hub.alice) == (0, 0, 0, 0)
    hub.check_sums()
