"""What is in flight: capacity, shares of it, the expiry wheel, and request ids that must rest."""

import random
from types import ModuleType

import pytest

from fastilp.errors import UsageError
from tests.core.conftest import MakeHub
from tests.probe import compiled
from tests.reference.hub import Hub
from tests.reference.kits import COMPILED
from tests.reference.packets import Reject, decode, encode

NO = Reject(b"F99", b"g.hub.bob.x")
QUIET_MS = 60_000


def codes(hub: Hub) -> list[str]:
    return [packet.code.decode() for _, packet in hub.take(hub.a)]


# --- room ---------------------------------------------------------------------------------------


def test_table_has_a_hard_capacity(make_hub: MakeHub) -> None:
    hub = make_hub(in_flight_max=4)
    for request_id in range(6):
        hub.send(request_id)
    hub.run()
    assert [request_id for request_id, _ in hub.take(hub.a)] == [4, 5]
    sent = hub.take(hub.b)
    hub.answer(sent[2][0], NO)
    hub.run()
    assert codes(hub) == ["F99"]
    hub.forwarded()
    assert hub.refused() == "T03"


def test_share_of_the_sender(make_hub: MakeHub) -> None:
    hub = make_hub(alice={"in_flight_in_max": 2})
    hub.forwarded()
    sent_id = hub.forwarded()
    assert hub.refused() == "T03"
    hub.answer(sent_id)
    hub.run()
    hub.a.take()
    hub.forwarded()


def test_share_of_the_next_hop(make_hub: MakeHub) -> None:
    hub = make_hub(bob={"in_flight_out_max": 2})
    hub.forwarded()
    hub.forwarded()
    assert hub.refused() == "T02"
    hub.run(10_008)
    hub.a.take()
    hub.forwarded()


def test_ten_thousand_to_a_peer_that_never_answers(make_hub: MakeHub) -> None:
    """They expire, the money is back, and meanwhile another pair of accounts is served."""
    hub = make_hub(in_flight_max=16_384)
    carol = hub.add("carol")
    link = hub.switch.open_link(carol)
    hub.switch.set_route("g.hub.carol", carol)
    raw = encode(hub.prepare(to="g.hub.carol", amount=3))
    hub.a.receive([(request_id, raw) for request_id in range(10_000)])
    hub.run()
    link.take()
    assert (hub.switch.in_flight(), hub.switch.balance(hub.alice)) == (10_000, -30_000)
    hub.pay(5)
    hub.run(10_008)
    assert [(i, decode(packet).code) for i, packet in hub.a.take()] == [
        (request_id, b"R00") for request_id in range(10_000)
    ]
    assert (hub.switch.in_flight(), hub.switch.next_deadline_ms()) == (0, None)
    assert hub.switch.balance(hub.alice) == -5
    hub.check_sums()


@pytest.mark.parametrize("size", [0, -1, 3, 1_000, 2**21])
def test_capacity_is_a_power_of_two(size: int) -> None:
    with pytest.raises(UsageError, match="power of two"):
        Hub(COMPILED, in_flight_max=size)


def test_hold_is_bounded() -> None:
    """The wheel is as round as the longest hold; more would expire in the wrong turn."""
    for limits in ({"hold_max_ms": 30_001}, {"hold_max_ms": 0}, {"window_min_ms": -1}):
        with pytest.raises(UsageError):
            Hub(COMPILED, **limits)


# --- the wheel ----------------------------------------------------------------------------------


def test_expiry_in_order_of_tick_then_of_sending(hub: Hub) -> None:
    """Each Prepare is answered once, in the first call at or behind the end of its tick of 8 ms."""
    dice = random.Random(3)
    due: dict[int, int] = {}
    for request_id in range(300):
        hub.run(dice.randrange(3))
        in_ms = dice.randrange(100, 30_000)
        hub.forwarded(request_id, in_ms=in_ms)
        due[request_id] = (hub.now_ms + in_ms) // 8
    while due:
        hub.run(dice.choice([0, 1, 7, 8, 9, 500]))
        expired = [request_id for request_id, _ in hub.take(hub.a)]
        now_due = sorted((tick, i) for i, tick in due.items() if (tick + 1) * 8 <= hub.now_ms)
        assert expired == [request_id for _, request_id in now_due]
        for request_id in expired:
            del due[request_id]


@pytest.mark.parametrize("sleep_ms", [32_760, 32_768, 40_000, 65_536, 10**9, 10**12])
def test_expiry_after_a_long_sleep(hub: Hub, sleep_ms: int) -> None:
    """More than one turn of the wheel: still all of them, still in order."""
    for request_id, in_ms in enumerate([30_000, 100, 15_000, 29_999, 8_000]):
        hub.run(1)
        hub.forwarded(request_id, in_ms=in_ms)
    hub.run(sleep_ms)
    assert [request_id for request_id, _ in hub.take(hub.a)] == [1, 4, 2, 0, 3]
    assert hub.balances() == (0, 0)


def test_deadline_is_kept_from_any_start(hub: Hub) -> None:
    """A loop that sleeps until each deadline meets every expiry within its tick."""
    dice = random.Random(4)
    for _ in range(200):
        hub.run(dice.randrange(40_000))
        in_ms = dice.randrange(100, 30_000)
        hub.forwarded(in_ms=in_ms)
        late_ms = hub.switch.next_deadline_ms() - hub.now_ms - in_ms
        assert 0 <= late_ms <= 8
        hub.run(in_ms + late_ms)
        assert codes(hub) == ["R00"]
        assert hub.switch.next_deadline_ms() is None


# --- ids ----------------------------------------------------------------------------------------


def test_ids_do_not_repeat(make_hub: MakeHub) -> None:
    """Whatever comes and goes in the table, an id rests for 60 s after its Prepare's expiry."""
    dice = random.Random(5)
    hub = make_hub(in_flight_max=8)
    rests_until_ms: dict[int, int] = {}
    for _ in range(5_000):
        hub.run(dice.randrange(20))
        hub.send(in_ms=200)
        hub.run()
        for sent_id, packet in hub.take(hub.b):
            assert 0 <= sent_id < 2**32
            assert rests_until_ms.get(sent_id, 0) <= hub.now_ms
            rests_until_ms[sent_id] = packet.expires_at_ms + QUIET_MS
            if dice.random() < 0.9:
                hub.answer(sent_id, NO)
        hub.run()
        hub.a.take()
    assert hub.counted()["forwarded"] > 4_000


def test_late_answer_does_not_hit_the_slots_next_prepare(make_hub: MakeHub) -> None:
    hub = make_hub(in_flight_max=1)
    first = hub.forwarded(1)
    hub.answer(first, NO)
    hub.run()
    hub.a.take()
    hub.forwarded(2)
    hub.answer(first)
    hub.run()
    assert hub.a.take() == []
    assert hub.counted() == {"forwarded": 2, "rejected": 1, "unmatched": 1}
    assert hub.switch.in_flight() == 1


PROGRAM = """
from fastilp._core.inflight cimport SLOT_NONE, InFlightTable

def acquire(InFlightTable table, long now_ms, long expires_ms):
    '''The id of a new entry, or None.'''
    cdef unsigned int slot = table.acquire(now_ms)
    if slot == SLOT_NONE:
        return None
    table.entries[slot].expires_out_ms = expires_ms
    table.entries[slot].link_out = 0
    table.insert(slot)
    return table.request_id(slot)

def release(InFlightTable table, unsigned int request_id):
    cdef unsigned int slot = table.match(0, request_id)
    assert slot != SLOT_NONE
    table.release(slot)
    assert table.match(0, request_id) == SLOT_NONE

def table(capacity, first_generation):
    return InFlightTable(capacity, first_generation)
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled(PROGRAM, tmp_path_factory.mktemp("inflight"))


def test_ids_rest_when_the_generations_come_round(probe: ModuleType) -> None:
    """The largest table has 12 bits of generation: near their end it waits rather than repeat.
    `acquire` looks at a few slots only, so it may say no once and find a rested one the next time.
    """
    capacity, now_ms = 2**20, 1_000_000
    table = probe.table(capacity, 4_093)
    used: set[int] = set()

    def patiently(now_ms: int) -> int | None:
        for _ in range(capacity):
            if (request_id := probe.acquire(table, now_ms, 1_030_000)) is not None:
                return int(request_id)
        return None

    for _ in range(2 * capacity):
        request_id = patiently(now_ms)
        assert request_id is not None
        assert request_id not in used
        used.add(request_id)
        probe.release(table, request_id)
    # Both generations that were left are used up, so every slot rests for 60 s from the expiry on.
    assert patiently(now_ms) is None
    assert patiently(now_ms + 89_999) is None
    again = patiently(now_ms + 90_000)
    assert again is not None
    assert again not in used
    assert len(table) == 1
