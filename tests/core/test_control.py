"""Punts: what the switch hands to control, and what control may do with it (docs/data-path.md)."""

import pytest

from tests.core.conftest import MakeHub
from tests.reference.hub import OWN, PREIMAGE, Hub
from tests.reference.outcomes import OUTCOMES
from tests.reference.packets import Fulfill, Prepare, Reject, encode
from tests.reference.world import sloppy

NO = Reject(b"F00", b"g.hub", b"no such thing")


def ours(outcome: str) -> Reject:
    code, message = OUTCOMES[outcome]
    return Reject(code.encode(), OWN.encode(), message.encode())


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    hub = make_hub(alice={"round_trip_time": 500}, bob={"round_trip_time": 500})
    hub.control.up = True
    return hub


def punted(hub: Hub, request_id: int = 1, to: str = "peer.config", amount: int = 0) -> int:
    """Send one Prepare for control; returns the id it has there."""
    hub.send(request_id, to=to, amount=amount)
    hub.run()
    [(sent_id, packet)] = hub.take(hub.control)
    assert packet == hub.prepare(amount, to)
    return sent_id


@pytest.mark.parametrize("to", [OWN, "peer.config", "peer.x.y", "peer.g"])
def test_own_address_and_peer_go_to_control(hub: Hub, to: str) -> None:
    sent_id = punted(hub, to=to)
    assert hub.switch.punt_account(sent_id) is hub.alice
    assert (hub.switch.in_flight(), hub.control.in_flight) == (1, 1)
    hub.answer(sent_id, link=hub.control)
    hub.run()
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    assert hub.counted() == {"punted": 1, "fulfilled": 1}
    assert hub.switch.in_flight() == 0
    with pytest.raises(KeyError):
        hub.switch.punt_account(sent_id)


@pytest.mark.parametrize(("to", "code"), [(OWN, "F02"), ("peer.config", "F01")])
def test_nobody_opened_control(hub: Hub, to: str, code: str) -> None:
    hub.control.up = False
    hub.switch.set_route("", hub.bob)
    assert hub.refused(to=to) == code


def test_below_own_address_is_routed(hub: Hub) -> None:
    assert hub.refused(to=OWN + ".carol") == "F02"
    hub.switch.set_route(OWN, hub.bob)
    hub.forwarded(to=OWN + ".carol")


def test_control_gets_the_packet_as_it_came(hub: Hub) -> None:
    raw = sloppy(hub.prepare(0, "peer.config", 60_000), 0)
    hub.a.receive([(1, raw)])
    hub.run()
    assert [packet for _, packet in hub.control.take()] == [raw]


def test_punt_expires_when_the_packet_does(hub: Hub) -> None:
    punted(hub)
    hub.run(9_999)
    assert hub.a.take() == []
    hub.run(9)
    assert hub.take(hub.a) == [(1, ours("timed_out"))]


def test_reject_of_control_is_relayed(hub: Hub) -> None:
    sent_id = punted(hub, amount=100)
    hub.answer(sent_id, NO, link=hub.control)
    hub.run()
    assert hub.take(hub.a) == [(1, NO)]
    assert hub.balances() == (0, 0)


def test_wrong_fulfillment_of_control(hub: Hub) -> None:
    hub.answer(punted(hub), Fulfill(bytes(32)), link=hub.control)
    hub.run()
    assert hub.take(hub.a) == [(1, ours("wrong_fulfillment"))]


def test_money_never_rides_on_a_punt(hub: Hub) -> None:
    sent_id = punted(hub, to=OWN, amount=1)
    assert hub.balances() == (0, 0)
    hub.answer(sent_id, link=hub.control)
    hub.run()
    assert hub.take(hub.a) == [(1, ours("invalid_answer"))]
    assert hub.balances() == (0, 0)
    hub.check_sums()


def reinject(hub: Hub, sent_id: int, to: str, amount: int, in_ms: int = 10_000) -> None:
    hub.control.receive([(sent_id, encode(hub.prepare(amount, to, in_ms)))])
    hub.run()


def test_echo_goes_back_to_whoever_asked(hub: Hub) -> None:
    """The one Prepare that may leave by the account it came in on."""
    sent_id = punted(hub, request_id=77, to=OWN, amount=50)
    reinject(hub, sent_id, "g.hub.alice.me", 50)
    [(echo_id, packet)] = hub.take(hub.a)
    assert packet == hub.prepare(50, "g.hub.alice.me", 9_000)
    assert (hub.switch.in_flight(), hub.control.in_flight, hub.a.in_flight) == (1, 0, 1)
    assert hub.switch.counters(hub.alice)["debits_pending"] == 50
    assert hub.switch.counters(hub.alice)["credits_pending"] == 50
    hub.answer(echo_id, link=hub.a)
    hub.run()
    assert hub.take(hub.a) == [(77, Fulfill(PREIMAGE))]
    assert hub.balances() == (0, 0)
    assert hub.counted() == {"punted": 1, "forwarded": 1, "fulfilled": 1}
    hub.check_sums()


def test_reinjected_prepare_goes_on_as_the_senders(hub: Hub) -> None:
    sent_id = punted(hub, to=OWN, amount=50)
    reinject(hub, sent_id, "g.hub.bob", 50)
    [(next_id, packet)] = hub.take(hub.b)
    assert packet == hub.prepare(50, "g.hub.bob", 9_000)
    hub.answer(next_id)
    hub.run()
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    assert hub.balances() == (-50, 50)


@pytest.mark.parametrize(
    ("to", "amount", "in_ms", "outcome"),
    [
        ("g.nowhere", 50, 10_000, "unreachable"),
        ("g.hub.bob", 51, 10_000, "invalid_packet"),
        ("g.hub.bob", 50, 1_050, "insufficient_timeout"),
        ("peer.again", 50, 10_000, "peer_address"),
        ("test.far", 50, 10_000, "wrong_network"),
        (OWN, 50, 10_000, "unreachable"),
    ],
)
def test_reinjected_prepare_with_a_fault(
    hub: Hub, to: str, amount: int, in_ms: int, outcome: str
) -> None:
    reinject(hub, punted(hub, to=OWN, amount=50), to, amount, in_ms)
    assert hub.take(hub.a) == [(1, ours(outcome))]
    assert hub.switch.in_flight() == 0
    assert hub.balances() == (0, 0)


def test_reinjected_too_late(hub: Hub) -> None:
    sent_id = punted(hub, to=OWN)
    prepare = hub.prepare(0, "g.hub.bob", 60_000)
    hub.control.receive([(sent_id, encode(prepare))])
    hub.run(10_000)
    assert hub.take(hub.a) == [(1, ours("timed_out"))]
    assert hub.b.take() == []


def test_reinjected_prepare_skips_the_buckets(make_hub: MakeHub) -> None:
    """The punt has paid for both; its amount comes back if the second leg fails, once."""
    hub = make_hub(alice={"packets_per_minute_limit": 2, "amount_per_minute_limit": 50})
    hub.control.up = True
    sent_id = punted(hub, to=OWN, amount=50)
    reinject(hub, sent_id, "g.hub.bob", 50)
    [(next_id, _)] = hub.take(hub.b)
    hub.answer(next_id, NO)
    hub.run()
    assert hub.take(hub.a) == [(1, NO)]
    hub.forwarded(amount=50)
    assert hub.refused(amount=0) == "T05"


def test_punts_of_one_account_are_bounded(hub: Hub) -> None:
    for request_id in range(1_000):
        hub.send(request_id, to="peer.config", amount=0)
    hub.send(1_000, to=OWN)
    hub.send(7, hub.b, to="peer.config", amount=0)
    hub.run()
    assert hub.take(hub.a) == [(1_000, ours("connector_busy"))]
    assert len(hub.control.take()) == 1_001
    hub.forwarded()


def test_control_sends_its_own(hub: Hub) -> None:
    """`peer.config` to a parent, say: no account, no money, no round trip of a sender."""
    prepare = hub.prepare(0, "peer.config")
    hub.control.receive([(2**31, encode(prepare))], egress=hub.bob)
    hub.run()
    [(sent_id, packet)] = hub.take(hub.b)
    assert packet == prepare._replace(expires_at_ms=prepare.expires_at_ms - 500)
    hub.answer(sent_id)
    hub.run()
    assert hub.take(hub.control) == [(2**31, Fulfill(PREIMAGE))]
    hub.check_sums()


def test_control_sends_no_money(hub: Hub) -> None:
    hub.control.receive([(2**31, encode(hub.prepare(1, "peer.config")))], egress=hub.bob)
    hub.run()
    assert hub.take(hub.control) == [(2**31, ours("invalid_packet"))]
    assert hub.b.take() == []
    hub.check_sums()


def test_control_prepare_for_no_punt_is_dropped(hub: Hub) -> None:
    reinject(hub, 12_345, "g.hub.bob", 0)
    assert hub.counted() == {"unmatched": 1}
    assert (hub.b.take(), hub.control.take()) == ([], [])


def test_answer_and_reinjected_prepare_in_one_batch(hub: Hub) -> None:
    """The first wins, whichever it is."""
    first, second = punted(hub, 1, OWN), punted(hub, 2, OWN)
    prepare = encode(hub.prepare(0, "g.hub.bob"))
    hub.control.receive([(first, encode(NO)), (first, prepare)])
    hub.control.receive([(second, prepare), (second, encode(NO))])
    hub.run()
    assert hub.take(hub.a) == [(1, NO)]
    [(_, packet)] = hub.take(hub.b)
    assert isinstance(packet, Prepare)
    assert hub.counted() == {"punted": 2, "rejected": 1, "unmatched": 2, "forwarded": 1}
