"""Links, ids, egress, control and time: how the switch behaves around the stages."""

import os
from typing import Any

import pytest

from fastilp.errors import UsageError
from tests.core.conftest import MakeHub
from tests.reference.hub import OWN, PREIMAGE, Hub
from tests.reference.kits import COMPILED
from tests.reference.outcomes import OUTCOMES
from tests.reference.packets import Fulfill, Prepare, Reject, encode, length
from tests.reference.world import broken, sloppy

NO = Reject(b"F99", b"g.hub.bob.x", b"no", b"data")


def ours(outcome: str, address: str = OWN) -> Reject:
    code, message = OUTCOMES[outcome]
    return Reject(code.encode(), address.encode(), message.encode())


# --- ids and links --------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", [0, 1, 2**31, 2**32 - 1])
def test_incoming_ids_are_echoed(hub: Hub, request_id: int) -> None:
    hub.answer(hub.forwarded(request_id))
    hub.run()
    assert hub.take(hub.a) == [(request_id, Fulfill(PREIMAGE))]


def test_one_id_twice_is_two_packets(hub: Hub) -> None:
    """Ids that come in belong to the peer: we answer each Prepare, whatever its number."""
    hub.send(5)
    hub.send(5)
    hub.run()
    first, second = [sent_id for sent_id, _ in hub.take(hub.b)]
    assert first != second
    hub.answer(second, NO)
    hub.answer(first)
    hub.run()
    assert hub.take(hub.a) == [(5, NO), (5, Fulfill(PREIMAGE))]


def test_answer_leaves_on_the_link_it_was_asked_on(hub: Hub) -> None:
    other = hub.switch.open_link(hub.alice, name="other")
    hub.send(1, hub.a)
    hub.send(1, other)
    hub.run()
    for sent_id, _ in hub.take(hub.b):
        hub.answer(sent_id)
    hub.run()
    assert hub.take(hub.a) == hub.take(other) == [(1, Fulfill(PREIMAGE))]


def test_answer_on_another_link_of_the_account_is_unmatched(hub: Hub) -> None:
    other = hub.switch.open_link(hub.bob)
    hub.answer(hub.forwarded(), link=other)
    hub.run()
    assert hub.counted() == {"forwarded": 1, "unmatched": 1}


def test_first_link_is_the_egress_until_told_otherwise(hub: Hub) -> None:
    other = hub.switch.open_link(hub.bob)
    hub.forwarded()
    hub.switch.set_egress(hub.bob, other)
    hub.send()
    hub.run()
    assert (len(hub.b.take()), len(other.take())) == (0, 1)
    hub.switch.set_egress(hub.bob, None)
    assert hub.refused() == "T01"


def test_egress_of_another_account_is_refused(hub: Hub) -> None:
    with pytest.raises(UsageError):
        hub.switch.set_egress(hub.alice, hub.b)


def test_down_and_up_again(hub: Hub) -> None:
    hub.b.up = False
    assert hub.refused() == "T01"
    hub.b.up = True
    hub.forwarded()


def test_answers_reach_a_link_that_is_down(hub: Hub) -> None:
    """Down means no new Prepares; a message link's answers wait to be taken."""
    sent_id = hub.forwarded()
    hub.a.up = False
    hub.answer(sent_id)
    hub.run()
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]


def test_fulfill_to_a_closed_link_stands(hub: Hub) -> None:
    sent_id = hub.forwarded()
    hub.a.close()
    hub.answer(sent_id)
    hub.run()
    assert hub.counted() == {"forwarded": 1, "fulfilled": 1, "undeliverable": 1}
    assert hub.balances() == (-100, 100)


def test_closing_the_next_hops_link_voids_nothing(hub: Hub) -> None:
    hub.forwarded()
    hub.b.close()
    hub.run(5_000)
    assert hub.switch.in_flight() == 1
    assert hub.balances() == (-100, 0)
    assert hub.refused() == "T01"
    hub.run(5_008)
    assert hub.take(hub.a) == [(1, ours("timed_out"))]
    assert hub.balances() == (0, 0)


def test_closed_link_does_not_come_up_again(hub: Hub) -> None:
    hub.control.up = True
    hub.control.close()
    hub.control.up = True
    assert not hub.control.up
    assert hub.refused(to="peer.config") == "F01"


def test_closed_link_takes_nothing_more(hub: Hub) -> None:
    hub.a.close()
    hub.a.close()
    with pytest.raises(UsageError):
        hub.send()
    hub.run()
    assert hub.counted() == {}


def test_in_flight_of_a_link(hub: Hub) -> None:
    first, second = hub.forwarded(), hub.forwarded()
    assert (hub.a.in_flight, hub.b.in_flight, hub.switch.in_flight()) == (0, 2, 2)
    hub.answer(first)
    hub.answer(second, NO)
    hub.run()
    assert (hub.b.in_flight, hub.switch.in_flight()) == (0, 0)


def test_dirty_links_are_told_once(hub: Hub) -> None:
    assert hub.switch.dirty_links() == []
    hub.send(1)
    hub.send(2)
    hub.send(3, to="g.nowhere")
    hub.run()
    dirty = hub.switch.dirty_links()
    assert {id(link) for link in dirty} == {id(hub.a), id(hub.b)}
    assert len(dirty) == 2
    assert hub.switch.dirty_links() == []


# --- bytes ----------------------------------------------------------------------------------------


def test_forwarded_packet_differs_in_amount_and_expiry_only(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"asset_scale": 6, "round_trip_time": 200})
    prepare = hub.send(amount=12_345_678, in_ms=5_000)
    hub.run()
    [(_, raw)] = hub.b.take()
    assert raw == encode(prepare._replace(amount=12_345, expires_at_ms=prepare.expires_at_ms - 200))


def test_largest_data_passes(hub: Hub) -> None:
    prepare = hub.prepare()._replace(data=bytes(32_768))
    hub.a.receive([(1, encode(prepare))])
    hub.run()
    [(sent_id, raw)] = hub.b.take()
    assert raw == encode(prepare)
    for answer in (Fulfill(PREIMAGE, bytes(32_768)), NO._replace(data=bytes(32_768))):
        hub.answer(sent_id, answer)
        hub.run()
        assert hub.a.take() == [(1, encode(answer))]
        sent_id = hub.forwarded()


@pytest.mark.parametrize("how", range(4))
def test_sloppy_packets_leave_canonical(hub: Hub, how: int) -> None:
    prepare = hub.prepare()
    for answer in (Fulfill(PREIMAGE, b"x" * 200), NO):
        hub.a.receive([(1, sloppy(prepare, how))])
        hub.run()
        [(sent_id, raw)] = hub.b.take()
        assert raw == encode(prepare)
        hub.answer(sent_id, sloppy(answer, how))
        hub.run()
        assert hub.a.take() == [(1, encode(answer))]


def test_reject_with_empty_triggered_by_is_relayed_as_it_came(hub: Hub) -> None:
    """Interledger.rs cannot parse one; still it is the next hop's. Ours name an address."""
    raw = bytes.fromhex("0e06523030000000")
    hub.answer(hub.forwarded(), raw)
    hub.run()
    assert hub.a.take() == [(1, raw)]


def test_our_rejects_name_our_address(hub: Hub) -> None:
    hub.send(to="g.nowhere")
    hub.run()
    hub.switch.address = "g.renamed"
    hub.send(to="g.nowhere")
    hub.run()
    assert hub.take(hub.a) == [
        (1, ours("unreachable")),
        (1, ours("unreachable", "g.renamed")),
    ]


def test_bad_own_address_is_refused(hub: Hub) -> None:
    for address in ("", "g", "g..hub", "what.ever", "g.h b", "g." + "a" * 1_022):
        with pytest.raises(UsageError):
            hub.switch.address = address
    assert hub.switch.address == OWN


def test_bytes_of_every_kind_never_raise(hub: Hub) -> None:
    """Each prefix of each packet, and worse: one F01 each, and the next packet passes."""
    good = [encode(hub.prepare()), encode(Fulfill(PREIMAGE)), encode(NO)]
    bad = [raw[:size] for raw in good for size in range(len(raw))]
    bad += [broken(raw, how) for raw in good for how in range(80)]
    bad += [bytes([kind]) * 40 for kind in range(256)]
    bad += [b"\x0c\x88" + b"\xff" * 8 + good[0], b"\x0c" + length(65_000) + bytes(60_000)]
    for raw in bad:
        hub.a.receive([(3, raw)])
    hub.run()
    refusals = hub.take(hub.a)
    answers = sum(raw[:1] in (b"\x0d", b"\x0e") for raw in bad)
    assert refusals == [(3, ours("invalid_packet"))] * (len(bad) - answers)
    assert hub.counted() == {"invalid_packet": len(bad) - answers, "unmatched": answers}
    hub.forwarded()


def test_empty_packet_first_of_all(hub: Hub) -> None:
    hub.a.receive([(3, b"")])
    hub.run()
    assert hub.take(hub.a) == [(3, ours("invalid_packet"))]


def test_packet_size_is_bounded(hub: Hub) -> None:
    hub.a.receive([(3, bytes(65_535))])
    with pytest.raises(UsageError):
        hub.a.receive([(3, bytes(65_536))])
    hub.run()
    assert hub.counted() == {"invalid_packet": 1}


def test_bad_destinations_are_not_packets(hub: Hub) -> None:
    for to in (
        "g",
        "g.",
        "g..b",
        ".g.b",
        "g.b!",
        "test4.b",
        "peer",
        "g." + "a" * 1_022,
        "g.hub.bob.",
    ):
        hub.a.receive([(1, encode(hub.prepare(to=to)))])
        hub.run()
        assert hub.take(hub.a) == [(1, ours("invalid_packet"))], to


# --- order ----------------------------------------------------------------------------------------


def test_order_of_output(hub: Hub) -> None:
    """Answers in order of arrival, then expiries, then what the batch's Prepares caused."""
    short = hub.forwarded(1, in_ms=1_000)
    first, second = hub.forwarded(2), hub.forwarded(3)
    hub.send(4, to="g.nowhere")
    hub.answer(second)
    hub.send(5)
    hub.answer(first, NO)
    hub.run(1_008)
    assert hub.take(hub.a) == [
        (3, Fulfill(PREIMAGE)),
        (2, NO),
        (1, ours("timed_out")),
        (4, ours("unreachable")),
    ]
    [(sent_id, _)] = hub.take(hub.b)
    assert sent_id not in (short, first, second)


def test_room_that_an_answer_makes_is_used_in_the_same_batch(make_hub: MakeHub) -> None:
    hub = make_hub(in_flight_max=1)
    sent_id = hub.forwarded()
    hub.send(2)
    hub.answer(sent_id)
    hub.run()
    assert hub.counted() == {"forwarded": 2, "fulfilled": 1}


def test_time_does_not_go_back(hub: Hub) -> None:
    hub.run(20_000)
    hub.forwarded(in_ms=10_000)
    hub.switch.process(hub.now_ms - 15_000)
    hub.send(2, in_ms=0)
    hub.switch.process(hub.now_ms - 15_000)
    assert hub.take(hub.a) == [(2, ours("expired"))]
    assert hub.switch.in_flight() == 1


def test_deadline(hub: Hub) -> None:
    assert hub.switch.next_deadline_ms() is None
    hub.forwarded(1, in_ms=3_000)
    hub.forwarded(2, in_ms=2_000)
    deadline_ms = hub.switch.next_deadline_ms()
    assert hub.now_ms + 2_000 <= deadline_ms <= hub.now_ms + 2_008
    hub.run(deadline_ms - hub.now_ms)
    assert hub.take(hub.a) == [(2, ours("timed_out"))]
    hub.run(hub.switch.next_deadline_ms() - hub.now_ms)
    assert hub.take(hub.a) == [(1, ours("timed_out"))]
    assert hub.switch.next_deadline_ms() is None


# --- expiry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_ms", "left_ms"),
    [(5_000, 4_300), (30_700, 30_000), (30_701, 30_000), (10**11, 30_000), (800, 100)],
)
def test_outgoing_expiry(make_hub: MakeHub, in_ms: int, left_ms: int) -> None:
    hub = make_hub(alice={"round_trip_time": 500}, bob={"round_trip_time": 200})
    hub.send(in_ms=in_ms)
    hub.run()
    [(_, packet)] = hub.take(hub.b)
    assert isinstance(packet, Prepare)
    assert packet.expires_at_ms == hub.now_ms + left_ms
    assert hub.refused(in_ms=799) == "R02"


def test_local_link_keeps_the_expiry(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"round_trip_time": 500})
    here = hub.add("here", round_trip_time=500)
    link = hub.switch.open_link(here, local=True)
    hub.switch.set_route("g.hub.here", here)
    for in_ms, left_ms in ((5_000, 5_000), (100, 100), (40_000, 30_000)):
        hub.send(to="g.hub.here.~x", in_ms=in_ms)
        hub.run()
        [(_, packet)] = hub.take(link)
        assert packet.expires_at_ms == hub.now_ms + left_ms


def test_late_fulfill_does_not_move_money_that_was_given_back(hub: Hub) -> None:
    sent_id = hub.forwarded()
    hub.run(10_008)
    assert hub.take(hub.a) == [(1, ours("timed_out"))]
    hub.answer(sent_id)
    hub.run()
    assert hub.a.take() == []
    assert hub.counted() == {"forwarded": 1, "timed_out": 1, "unmatched": 1}
    assert hub.balances() == (0, 0)


def test_answer_is_late_before_the_wheel_has_turned(hub: Hub) -> None:
    """In time iff `now < expires_out`: the tick of the wheel is no extra time."""
    hub.run(1)
    sent_id = hub.forwarded(in_ms=8_001)
    hub.answer(sent_id)
    hub.run(8_001)
    assert hub.take(hub.a) == [(1, ours("timed_out"))]
    assert hub.balances() == (0, 0)


# --- named egress, drain, closed accounts ---------------------------------------------------------


@pytest.mark.parametrize("to", [OWN, "peer.config", "test.far", "g.nowhere"])
def test_named_egress_skips_address_and_route(hub: Hub, to: str) -> None:
    hub.a.receive([(1, encode(hub.prepare(to=to)))], egress=hub.bob)
    hub.run()
    [(sent_id, packet)] = hub.take(hub.b)
    assert packet == hub.prepare(to=to)
    hub.answer(sent_id)
    hub.run()
    assert hub.balances() == (-100, 100)


def test_named_egress_skips_nothing_else(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"min_balance": -100, "max_packet_amount": 150})
    for amount, code in ((151, "F08"), (101, "T04")):
        hub.a.receive([(1, encode(hub.prepare(amount)))], egress=hub.bob)
        hub.run()
        [(_, packet)] = hub.take(hub.a)
        assert packet.code == code.encode()
    hub.switch.close_account(hub.bob)
    hub.a.receive([(1, encode(hub.prepare()))], egress=hub.bob)
    hub.run()
    assert hub.take(hub.a) == [(1, ours("unreachable"))]


def test_drain_refuses_prepares_and_takes_answers(hub: Hub) -> None:
    sent_id = hub.forwarded()
    hub.switch.drain()
    assert hub.refused() == "T00"
    hub.answer(sent_id)
    hub.run()
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    assert hub.switch.in_flight() == 0


def test_closing_account_finishes_what_is_in_flight(hub: Hub) -> None:
    out, back = hub.forwarded(), hub.forwarded()
    hub.switch.close_account(hub.bob)
    assert hub.refused() == "F02"
    hub.send(1, hub.b, to="g.hub.alice")
    hub.run()
    assert hub.take(hub.b) == [(1, ours("account_closed"))]
    hub.answer(out)
    hub.answer(back, NO)
    hub.run()
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE)), (1, NO)]
    assert hub.balances() == (-100, 100)


# --- bounds ---------------------------------------------------------------------------------------


def resident_pages() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer keeps freed memory, so the process grows whatever we do",
)
def test_what_a_peer_sends_makes_no_table_grow(hub: Hub) -> None:
    """Ids, destinations and answers that match nothing leave nothing behind."""
    answer = encode(Fulfill(PREIMAGE))
    prepare = encode(hub.prepare(to="g.nowhere." + "0" * 8))

    def storm(start: int) -> None:
        for number in range(start, start + 20_000, 500):
            ids = range(number, number + 500)
            hub.b.receive([(request_id, answer) for request_id in ids])
            hub.a.receive([(i, prepare.replace(b"0" * 8, b"%08d" % i)) for i in ids])
            hub.run()
            hub.a.take()

    storm(0)
    before = resident_pages()
    storm(100_000)
    grown = (resident_pages() - before) * os.sysconf("SC_PAGE_SIZE")
    assert hub.counted() == {"unmatched": 40_000, "unreachable": 40_000}
    assert grown < 2 * 1024 * 1024


def test_egress_over_its_bound_is_a_busy_peer(hub: Hub) -> None:
    """Somebody who never reads: his bytes are bounded, and he alone is refused."""
    carol = hub.add("carol")
    link = hub.switch.open_link(carol)
    hub.switch.set_route("g.hub.carol", carol)
    raw = encode(hub.prepare(0, "g.hub.carol")._replace(data=bytes(32_000)))
    while not hub.take(hub.a):
        hub.a.receive([(1, raw)])
        hub.run()
    # The last eighth of 2 MiB is for others than the one who filled the rest.
    bound = 2 * 2**20 * 7 // 8
    assert bound < link.egress_size <= bound + 32_768
    assert hub.counted()["peer_busy"] == 1
    hub.forwarded()
    link.take()
    hub.a.receive([(1, raw)])
    hub.run()
    assert (len(link.take()), hub.a.take()) == (1, [])


# --- handles and settings -------------------------------------------------------------------------


def test_names_of_accounts(hub: Hub) -> None:
    assert hub.switch.account("alice") is hub.alice
    assert hub.switch.accounts() == [hub.alice, hub.bob]
    assert (hub.bob.name, hub.bob.asset_code, hub.bob.asset_scale) == ("bob", "USD", 9)
    with pytest.raises(KeyError):
        hub.switch.account("nobody")


BAD_ACCOUNTS: list[tuple[str, dict[str, Any]]] = [
    ("alice", {}),
    ("", {}),
    ("carol", {"asset_scale": 256}),
    ("carol", {"asset_scale": -1}),
    ("carol", {"asset_code": ""}),
    ("carol", {"account_id": b"short"}),
    ("carol", {"no_such_setting": 1}),
]


@pytest.mark.parametrize(("name", "keywords"), BAD_ACCOUNTS)
def test_account_that_does_not_fit(hub: Hub, name: str, keywords: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        hub.switch.add_account(name, **({"asset_code": "USD", "asset_scale": 9} | keywords))
    assert hub.switch.accounts() == [hub.alice, hub.bob]


def test_settings_are_told_back(hub: Hub) -> None:
    hub.switch.set_account(hub.bob, max_balance=-5, settle_threshold=7)
    settings = hub.switch.settings(hub.bob)
    assert (settings["max_balance"], settings["settle_threshold"]) == (-5, 7)
    assert settings["in_flight_in_max"] == 16_384
    with pytest.raises(UsageError):
        hub.switch.set_account(hub.bob, max_balence=1)


def test_id_of_another_account(hub: Hub) -> None:
    with pytest.raises(UsageError):
        hub.add("carol", account_id=hub.alice.id)
    assert hub.alice.name == "alice"
    assert hub.switch.settings(hub.alice)["round_trip_time"] == 0


def test_handles_of_another_switch() -> None:
    """An index out of its own switch would be somebody else's memory."""
    hub, other = Hub(COMPILED), Hub(COMPILED)
    switch, link = hub.switch, other.switch.open_link(other.bob)
    stranger = [other.add(f"account-{number}") for number in range(200)][-1]
    for account in (other.alice, stranger, None):
        for call in (
            lambda account: switch.balance(account),
            lambda account: switch.counters(account),
            lambda account: switch.settings(account),
            lambda account: switch.set_account(account, min_balance=0),
            lambda account: switch.close_account(account),
            lambda account: switch.open_link(account),
            lambda account: switch.set_egress(account, None),
            lambda account: switch.set_route("g.x", account),
        ):
            with pytest.raises((UsageError, TypeError)):
                call(account)
    with pytest.raises(UsageError):
        switch.set_egress(hub.bob, link)
    hub.a.receive([(1, encode(hub.prepare()))], egress=stranger)
    hub.run()
    assert hub.take(hub.a) == [(1, ours("unreachable"))]


def test_what_is_no_packet_to_python() -> None:
    hub = Hub(COMPILED)
    for packet in (None, "text", 7):
        with pytest.raises(TypeError):
            hub.a.receive([(1, packet)])
    for request_id in (-1, 2**32):
        with pytest.raises(OverflowError):
            hub.a.receive([(request_id, b"")])
    hub.run()
    assert hub.counted() == {}
