"""Which fault is answered (docs/data-path.md): one Prepare with every fault, mended one by one.

Two of a kind cannot be in one packet (a destination has one scheme, a rate one value); there the
lowest fault decides what the packet looks like, and mending it brings out the next.
"""

import struct
from collections.abc import Set
from decimal import Decimal
from typing import Any

import pytest

from fastilp._core.status import table
from tests.reference.hub import OWN, PREIMAGE, Hub
from tests.reference.lockstep import Kit
from tests.reference.outcomes import FAULTS, OUTCOMES
from tests.reference.packets import Fulfill, Prepare, Reject, encode

AMOUNT = 1_000
U64_MAX = 2**64 - 1
DATA = {
    "amount_too_large": struct.pack(">QQ", AMOUNT, AMOUNT - 1),
    "amount_overflow": struct.pack(">QQ", AMOUNT, U64_MAX // 10**18),
    "amount_out_too_large": struct.pack(">QQ", AMOUNT, AMOUNT - 1),
}


def destination(faults: Set[str]) -> str:
    choices = {
        "peer_address": "peer.nobody",
        "wrong_network": "test.hub.bob",
        "unreachable": "g.nowhere.at.all",
        "reflected": "g.hub.alice.x",
    }
    if "destination_not_allowed" in faults:
        # Nobody needs to be allowed to talk to us.
        del choices["peer_address"]
    return next((to for fault, to in choices.items() if fault in faults), "g.hub.bob.x")


def rates(faults: Set[str]) -> dict[str, Decimal]:
    """What ABC, the asset of alice, is worth in that of bob."""
    if "no_rate" in faults:
        return {"XYZ": Decimal(1)}
    worth = 1
    if "amount_too_small" in faults:
        return {"ABC": Decimal("0.0001"), "XYZ": Decimal(1)}
    if "amount_overflow" in faults:
        worth = 10**18
    return {"ABC": Decimal(worth), "XYZ": Decimal(1)}


def time_left_ms(faults: Set[str]) -> int:
    return 0 if "expired" in faults else 99 if "insufficient_timeout" in faults else 10_000


def settings_of_alice(faults: Set[str]) -> dict[str, Any]:
    every = {
        "amount_too_large": ("max_packet_amount", AMOUNT - 1),
        "packets_rate_limited": ("packets_per_minute_limit", 0),
        "amount_rate_limited": ("amount_per_minute_limit", AMOUNT - 1),
        "connector_busy": ("in_flight_in_max", 0),
        "exceeds_floor": ("min_balance", -AMOUNT + 1),
        "destination_not_allowed": ("allowed_destinations", ["g.hub.nobody"]),
    }
    return dict(setting for fault, setting in every.items() if fault in faults)


def settings_of_bob(faults: Set[str]) -> dict[str, Any]:
    every = {
        "peer_busy": ("in_flight_out_max", 0),
        "exceeds_ceiling": ("max_balance", AMOUNT - 1),
        "exceeds_in_flight": ("max_in_flight_amount", AMOUNT - 1),
        "amount_out_too_large": ("max_packet_amount_out", AMOUNT - 1),
        "amount_out_rate_limited": ("amount_per_minute_limit_out", AMOUNT - 1),
    }
    return dict(setting for fault, setting in every.items() if fault in faults)


def send(kit: Kit, faults: Set[str]) -> Hub:
    """A hub and one Prepare that have exactly these faults."""
    hub = Hub(kit, alice={"asset_code": "ABC"}, bob={"asset_code": "XYZ"})
    hub.switch.set_account(hub.alice, **settings_of_alice(faults))
    hub.switch.set_account(hub.bob, **settings_of_bob(faults))
    for code, rate in rates(faults).items():
        hub.switch.set_rate(code, rate)
    hub.b.up = "link_down" not in faults
    if "account_closed" in faults:
        hub.switch.close_account(hub.alice)
    if "store_unavailable" in faults:
        hub.switch.drain()
    prepare = hub.prepare(AMOUNT, destination(faults), time_left_ms(faults))
    if "invalid_packet" in faults:
        prepare = prepare._replace(data=bytes(32_769))
    hub.a.receive([(7, encode(prepare))])
    hub.run()
    return hub


def check_refused(hub: Hub, fault: str) -> None:
    code, message = OUTCOMES[fault]
    reject = Reject(code.encode(), OWN.encode(), message.encode(), DATA.get(fault, b""))
    assert hub.a.take() == [(7, encode(reject))]
    assert hub.b.take() == []
    assert hub.counted() == {fault: 1}
    assert hub.balances() == (0, 0)
    assert hub.switch.in_flight() == 0
    hub.check_sums()


def test_there_are_24_faults() -> None:
    assert len(FAULTS) == 24
    assert (FAULTS[0], FAULTS[-1]) == ("invalid_packet", "exceeds_in_flight")


def test_table_of_outcomes() -> None:
    """The compiled table and the one written out for the model: names, codes and texts in order."""
    assert [(name, code, text) for _, name, code, text in table()] == [
        (name, code, text) for name, (code, text) in OUTCOMES.items()
    ]
    assert [number for number, *_ in table()] == list(range(len(OUTCOMES)))


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=FAULTS)
def test_lowest_of_all_faults_is_answered(kit: Kit, number: int) -> None:
    hub = send(kit, set(FAULTS[number:]))
    check_refused(hub, FAULTS[number])


@pytest.mark.parametrize("fault", FAULTS)
def test_single_fault_is_answered(kit: Kit, fault: str) -> None:
    check_refused(send(kit, {fault}), fault)


def test_without_faults_it_is_forwarded(kit: Kit) -> None:
    hub = send(kit, set())
    assert hub.a.take() == []
    [(_, packet)] = hub.take(hub.b)
    assert isinstance(packet, Prepare)
    assert hub.counted() == {"forwarded": 1}
    assert hub.balances() == (-AMOUNT, 0)


GOOD = encode(Fulfill(PREIMAGE, b"data"))
NO = Reject(b"F99", b"g.hub.bob.x", b"no", b"data")
# What bob answers, how late, the outcome, and what alice gets (None: a Reject of ours).
ANSWERS: list[tuple[str, bytes, int, str, bytes | None]] = [
    ("fulfilled", GOOD, 0, "fulfilled", GOOD),
    ("last moment", GOOD, 9_999, "fulfilled", GOOD),
    ("rejected", encode(NO), 0, "rejected", encode(NO)),
    ("wrong", encode(Fulfill(bytes(32))), 0, "wrong_fulfillment", None),
    ("malformed Fulfill", GOOD[:-1], 0, "invalid_answer", None),
    ("malformed Reject", encode(NO)[:-1], 0, "invalid_answer", None),
    ("data too long", encode(Fulfill(PREIMAGE, bytes(32_769))), 0, "invalid_answer", None),
    ("Reject with 8-bit code", encode(NO._replace(code=b"F0\xff")), 0, "invalid_answer", None),
    ("bare type byte", b"\x0d", 0, "invalid_answer", None),
    ("late Fulfill", GOOD, 10_000, "timed_out", None),
    ("late Reject", encode(NO), 10_000, "timed_out", None),
    ("late and wrong", encode(Fulfill(bytes(32))), 10_000, "timed_out", None),
    ("late and malformed", GOOD[:-1], 10_000, "timed_out", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "after_ms", "outcome", "expected"),
    [row[1:] for row in ANSWERS],
    ids=[row[0] for row in ANSWERS],
)
def test_outcome_of_an_answer(
    hub: Hub, raw: bytes, after_ms: int, outcome: str, expected: bytes | None
) -> None:
    sent_id = hub.forwarded(request_id=9, amount=AMOUNT)
    hub.answer(sent_id, raw)
    hub.run(after_ms)
    code, message = OUTCOMES[outcome]
    built = encode(Reject(code.encode(), OWN.encode(), message.encode()))
    assert hub.a.take() == [(9, built if expected is None else expected)]
    assert hub.counted() == {"forwarded": 1, outcome: 1}
    moved = AMOUNT if outcome == "fulfilled" else 0
    assert hub.balances() == (-moved, moved)
    assert hub.switch.in_flight() == 0
    hub.check_sums()


def test_answer_to_nothing_changes_nothing(hub: Hub) -> None:
    sent_id = hub.forwarded()
    hub.answer(sent_id ^ 1)
    hub.answer(sent_id, link=hub.a)
    hub.run()
    assert (hub.a.take(), hub.b.take()) == ([], [])
    assert hub.counted() == {"forwarded": 1, "unmatched": 2}
    assert hub.balances() == (-100, 0)


@pytest.mark.parametrize("same_batch", [True, False])
def test_first_answer_wins(hub: Hub, same_batch: bool) -> None:
    sent_id = hub.forwarded()
    hub.answer(sent_id, NO)
    if not same_batch:
        hub.run()
    hub.answer(sent_id)
    hub.run()
    assert hub.take(hub.a) == [(1, NO)]
    assert hub.counted() == {"forwarded": 1, "rejected": 1, "unmatched": 1}
    assert hub.balances() == (0, 0)
