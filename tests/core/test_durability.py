"""When Fulfills leave and new money stops: commits early, late, never; restarts; crash reports."""

from pathlib import Path

import pytest

from tests.core.conftest import MakeHub
from tests.reference.books import RECORD_LATER_MS
from tests.reference.hub import PREIMAGE, Hub
from tests.reference.packets import Fulfill, Reject

FULFILL = Fulfill(PREIMAGE)
NO = Reject(b"F99", b"g.hub.bob.x")


@pytest.fixture
def manual(make_hub: MakeHub) -> Hub:
    """Nothing is committed until the test says so."""
    return make_hub(manual=True)


def fulfilled(hub: Hub, request_id: int = 1, in_ms: int = 10_000) -> None:
    hub.answer(hub.forwarded(request_id, in_ms=in_ms))
    hub.run()


def test_fulfill_leaves_after_its_commit(manual: Hub) -> None:
    fulfilled(manual)
    manual.run(5_000)
    assert manual.a.take() == []
    assert manual.switch.counters(manual.alice)["debits_relayed"] == 0
    manual.commit()
    assert manual.a.take() == []
    manual.run()
    assert manual.take(manual.a) == [(1, FULFILL)]
    assert manual.switch.counters(manual.alice)["debits_relayed"] == 100


def test_without_disk_it_leaves_at_once(hub: Hub) -> None:
    fulfilled(hub)
    assert hub.take(hub.a) == [(1, FULFILL)]


def test_reject_does_not_wait(manual: Hub) -> None:
    manual.answer(manual.forwarded(), NO)
    manual.run()
    assert manual.take(manual.a) == [(1, NO)]


def test_fulfills_leave_in_order_of_ticket(manual: Hub) -> None:
    tickets = []
    for request_id in (3, 1, 2):
        fulfilled(manual, request_id)
        tickets.append(manual.ledger.ticket)
    manual.ledger.release(tickets[0])
    manual.run()
    assert manual.take(manual.a) == [(3, FULFILL)]
    manual.ledger.release(tickets[2])
    manual.run()
    assert manual.take(manual.a) == [(1, FULFILL), (2, FULFILL)]


def test_released_fulfills_come_first(manual: Hub) -> None:
    fulfilled(manual, 1)
    second = manual.forwarded(2)
    manual.commit()
    manual.answer(second, NO)
    manual.run()
    assert manual.take(manual.a) == [(1, FULFILL), (2, NO)]


def test_stalled_disk_does_not_make_a_fulfill_worthless(manual: Hub) -> None:
    """250 ms before the sender's Prepare expires it leaves anyway, and new money stops."""
    fulfilled(manual)
    assert manual.switch.next_deadline_ms() == manual.now_ms + 9_750
    manual.run(9_749)
    assert manual.a.take() == []
    manual.switch.take_events()
    manual.run(1)
    assert manual.take(manual.a) == [(1, FULFILL)]
    assert ("fulfilled_before_commit", manual.alice, 100) in manual.switch.take_events()
    assert manual.counted()["fulfilled_before_commit"] == 1
    assert manual.refused() == "T00"
    manual.commit()
    manual.forwarded()


def test_short_prepare_leaves_no_time_to_commit(manual: Hub) -> None:
    """Else anybody could make a Fulfill leave before its commit, and stop everybody's new money."""
    assert manual.refused(in_ms=599) == "R02"
    fulfilled(manual, in_ms=600)
    assert manual.take(manual.a) == []
    manual.forwarded(3)


def test_stall_of_a_second_stops_new_money(manual: Hub) -> None:
    sent_id = manual.forwarded(1, in_ms=30_000)
    manual.run(RECORD_LATER_MS)
    manual.run(1_000)
    manual.forwarded(2, in_ms=30_000)
    manual.run(1)
    assert manual.refused() == "T00"
    # Answers go on.
    manual.answer(sent_id)
    manual.run()
    assert manual.balances() == (-200, 100)
    manual.commit()
    manual.run()
    assert manual.take(manual.a) == [(1, FULFILL)]
    manual.forwarded(3)
    events = [event for event in manual.switch.take_events() if event[0] == "store"]
    assert [health != 0 for _, _, health in events] == [True, False]


def test_stall_from_the_very_first_commit(make_hub: MakeHub) -> None:
    hub = make_hub(manual=True)
    carol = hub.add("carol")  # Its record is a commit that has not ended either.
    hub.switch.open_link(carol)
    hub.forwarded(1, in_ms=30_000)
    hub.run(1_001)
    assert hub.refused() == "T00"


def test_slow_commits_are_no_stall(manual: Hub) -> None:
    """One ends each 900 ms, while the next is always under way."""
    for request_id in range(5):
        manual.forwarded(request_id, in_ms=30_000)
        ticket = manual.ledger.ticket
        manual.forwarded(100 + request_id, in_ms=30_000)
        manual.run(900)
        manual.ledger.release(ticket)
        manual.run()
    assert "store_unavailable" not in manual.counted()


def test_idle_time_is_no_stall(manual: Hub) -> None:
    manual.forwarded(in_ms=1_000)
    manual.commit()
    manual.run(1_000_000)
    manual.a.take()
    manual.forwarded()


# --- over a store -------------------------------------------------------------------------------


@pytest.fixture
def stored(make_hub: MakeHub, tmp_path: Path) -> Hub:
    return make_hub(path=str(tmp_path / "data"))


def again(make_hub: MakeHub, tmp_path: Path) -> Hub:
    return make_hub(path=str(tmp_path / "data"))


def report(hub: Hub) -> dict[bytes, tuple[object, object, object]]:
    return {
        entry["account_id"]: (entry["in_flight_out"], entry["in_flight_in"], entry["not_relayed"])
        for entry in hub.ledger.crash_report()
    }


def test_restart_keeps_what_was_posted(stored: Hub, make_hub: MakeHub, tmp_path: Path) -> None:
    fulfilled(stored)
    stored.commit()
    stored.run()
    assert stored.take(stored.a) == [(1, FULFILL)]
    stored.ledger.close()
    hub = again(make_hub, tmp_path)
    assert hub.balances() == (-100, 100)
    assert report(hub) == {}
    hub.check_sums()
    fulfilled(hub)
    assert hub.balances() == (-200, 200)
    hub.ledger.close()


def test_restart_gives_back_what_was_pending(
    stored: Hub, make_hub: MakeHub, tmp_path: Path
) -> None:
    stored.ledger.transact([(stored.alice.id, "settlement", 60)])
    stored.forwarded(amount=100)
    stored.ledger.close()
    hub = again(make_hub, tmp_path)
    assert hub.balances() == (60, 0)
    assert hub.counters(hub.alice) == {"credits_posted": 60, "prepaid_posted": 60}
    assert report(hub) == {hub.alice.id: (0, 100, 0), hub.bob.id: (100, 0, 0)}
    hub.check_sums()
    hub.ledger.close()


def test_recorded_and_never_relayed(stored: Hub, make_hub: MakeHub, tmp_path: Path) -> None:
    """The commit has ended, the Fulfill has not left: the books stand and the report says so."""
    fulfilled(stored)
    stored.commit()
    stored.ledger.close()
    hub = again(make_hub, tmp_path)
    assert hub.balances() == (-100, 100)
    assert report(hub) == {hub.alice.id: (0, 0, 100)}
    hub.ledger.close()
    # It is said until somebody has read it: a crash in between must not lose it.
    hub = again(make_hub, tmp_path)
    assert report(hub) == {hub.alice.id: (0, 0, 100)}
    hub.ledger.forget_crash_report()
    hub.ledger.close()
    assert report(again(make_hub, tmp_path)) == {}


def test_what_leaves_is_recorded_soon_after(stored: Hub) -> None:
    """It is written to the sockets after the batch, and a crash before that has to be reported."""
    store = stored.ledger.store
    if store is None:
        return  # The model keeps no records.

    def relayed() -> int:
        stored.commit()
        row = next(row for row in store.rows() if row[:16] == stored.alice.id)
        return int.from_bytes(row[112:128], "little")

    fulfilled(stored)
    stored.commit()
    stored.run()
    assert stored.take(stored.a) == [(1, FULFILL)]
    assert relayed() == 0
    assert stored.switch.next_deadline_ms() == stored.now_ms
    stored.run()
    stored.run(RECORD_LATER_MS)
    assert relayed() == 100
    assert stored.switch.next_deadline_ms() is None
    stored.ledger.close()


def test_ids_of_the_last_run_are_not_used_at_once(
    stored: Hub, make_hub: MakeHub, tmp_path: Path
) -> None:
    before = {stored.forwarded(request_id) for request_id in range(20)}
    stored.ledger.close()
    hub = again(make_hub, tmp_path)
    after = {hub.forwarded(request_id) for request_id in range(20)}
    hub.ledger.close()
    if hub.ledger.store is not None:
        assert before.isdisjoint(after)
