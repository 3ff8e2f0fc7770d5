"""What the switch counts by kind of account and keeps of fulfilled packets, once it is asked to."""

import pytest

from fastilp.errors import UsageError
from tests.reference.hub import PREIMAGE, Hub
from tests.reference.kits import COMPILED
from tests.reference.packets import Reject, encode

NO = Reject(b"F99", b"g.hub.bob.x")
RECORDS_MAX = 65_536


def observed_hub(records: bool = False, **settings: object) -> Hub:
    hub = Hub(COMPILED, **settings)  # type: ignore[arg-type]
    hub.switch.observe(True, records)
    hub.switch.set_class(hub.alice, 1)
    hub.switch.set_class(hub.bob, 2)
    return hub


def numbers(counts: dict[str, int]) -> tuple[int, int, int]:
    return counts["prepare"], counts["fulfill"], counts["reject"]


def test_nothing_is_counted_before_it_is_asked_for() -> None:
    hub = Hub(COMPILED)
    hub.pay(5)
    assert hub.switch.observed() == ({}, {})
    assert hub.switch.take_records() == ([], 0)


def test_packets_are_counted_by_class() -> None:
    hub = observed_hub()
    hub.pay(5)
    hub.pay(7, back=True)
    hub.answer(hub.forwarded(2), NO)
    hub.run(250)
    hub.a.take()
    assert hub.refused(to="g.nowhere") == "F02"
    hub.forwarded(3, in_ms=1_000)
    hub.run(2_000)
    incoming, outgoing = hub.switch.observed()
    assert {key: numbers(counts) for key, counts in incoming.items()} == {
        1: (4, 1, 3), 2: (1, 1, 0),
    }  # fmt: skip
    assert {key: numbers(counts) for key, counts in outgoing.items()} == {
        (1, 2): (3, 1, 2), (2, 1): (1, 1, 0),
    }  # fmt: skip
    assert (outgoing[1, 2]["answered"], outgoing[1, 2]["duration_ms"]) == (3, 250 + 2_000)


def test_accounts_without_a_class_count_as_others() -> None:
    hub = observed_hub()
    carol = hub.add("carol")
    link = hub.switch.open_link(carol)
    hub.send(1, link)
    hub.run()
    incoming, outgoing = hub.switch.observed()
    assert (list(incoming), list(outgoing)) == ([0], [(0, 2)])


def test_packet_that_passes_control_is_counted_once() -> None:
    hub = observed_hub()
    hub.control.up = True
    hub.switch.set_punt(hub.alice, True)
    hub.send(1)
    hub.run()
    hub.control.receive(hub.control.take())
    hub.run()
    [(sent_id, _)] = hub.b.take()
    hub.answer(sent_id)
    hub.run()
    incoming, outgoing = hub.switch.observed()
    assert (numbers(incoming[1]), numbers(outgoing[1, 2])) == ((1, 1, 0), (1, 1, 0))


@pytest.mark.parametrize("number", [-1, 24])
def test_there_are_so_many_classes(number: int) -> None:
    hub = Hub(COMPILED)
    with pytest.raises(UsageError, match="class"):
        hub.switch.set_class(hub.alice, number)


def test_record_of_a_fulfilled_packet() -> None:
    hub = observed_hub(records=True, alice={"asset_code": "ABC"})
    hub.switch.set_rates({"ABC": 2, "USD": 1})
    hub.pay(5)
    hub.pay(0)
    hub.answer(hub.forwarded(2), NO)
    hub.run()
    hub.a.take()
    hub.forwarded(3, in_ms=1_000)
    hub.run(2_000)
    [record], dropped = hub.switch.take_records()
    assert record == (
        hub.now_ms - 2_000, hub.alice, hub.bob, 5, 10, b"g.hub.bob", PREIMAGE
    )  # fmt: skip
    assert dropped == 0
    assert hub.switch.take_records() == ([], 0)


def test_records_are_bounded() -> None:
    hub = observed_hub(records=True)
    count = RECORDS_MAX + 3
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        hub.a.receive([(i, encode(hub.prepare(1))) for i in range(size)])
        hub.run()
        for sent_id, _ in hub.b.take():
            hub.answer(sent_id)
        hub.run()
        assert len(hub.a.take()) == size
    records, dropped = hub.switch.take_records()
    assert (len(records), dropped) == (RECORDS_MAX, 3)
    hub.check_sums()


def test_observing_can_end_and_begin_again() -> None:
    hub = observed_hub(records=True)
    before = hub.forwarded(1)
    hub.switch.observe(False)
    between = hub.forwarded(2)
    hub.run(100)
    hub.switch.observe(True, True)
    for sent_id in (before, between):
        hub.answer(sent_id)
    hub.run()
    assert hub.switch.take_records() == ([], 0)
    _, outgoing = hub.switch.observed()
    assert numbers(outgoing[1, 2]) == (1, 2, 0)
    assert outgoing[1, 2]["answered"] == 0
