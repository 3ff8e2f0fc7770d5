"""What a call that fails, a switch that has gone, or a shell that does not look leaves behind:
nothing, and no crash."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastilp import Fulfill, Ledger, Prepare, Switch, UsageError
from fastilp._core.codec_btp import Entry, encode
from fastilp._core.condition import check

NOW_MS = 1_800_000_000_000
PREIMAGE = bytes(range(32))
CONDITION = bytes.fromhex("630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd")
MESSAGE, RESPONSE = 6, 1


def prepare(amount: int = 5, destination: str = "g.hub.bob") -> bytes:
    return bytes(
        Prepare(
            amount=amount,
            expires_at=NOW_MS + 30_000,
            execution_condition=CONDITION,
            destination=destination,
        )
    )


def test_the_condition_is_that_of_the_preimage() -> None:
    assert check([PREIMAGE], [CONDITION]) == [True]


def test_failed_account_leaves_a_ledger_that_opens(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path))
    switch = Switch(ledger, "g.hub")
    with pytest.raises(UnicodeEncodeError):
        switch.add_account("x\ud800", asset_code="U", asset_scale=9, account_id=bytes(16))
    alice = switch.add_account("alice", asset_code="U", asset_scale=9)
    bob = switch.add_account("bob", asset_code="U", asset_scale=9)
    switch.set_route("g.hub.bob", bob)
    a, b = switch.open_link(alice), switch.open_link(bob)
    a.receive([(1, prepare())])
    switch.process(NOW_MS)
    [(request_id, _)] = b.take()
    b.receive([(request_id, bytes(Fulfill(fulfillment=PREIMAGE)))])
    switch.process(NOW_MS)
    ledger.close()
    again = Ledger.open(str(tmp_path))
    reopened = Switch(again, "g.hub")
    assert reopened.balance(reopened.add_account("bob", asset_code="U", asset_scale=9)) == 5
    again.check()
    again.close()


def test_refused_receive_hands_in_nothing() -> None:
    switch = Switch(Ledger.memory(), "g.hub")
    link = switch.open_link(switch.add_account("alice", asset_code="U", asset_scale=9))
    with pytest.raises(TypeError):
        link.receive([(1, prepare()), (2, "text")])  # type: ignore[list-item]
    with pytest.raises(UsageError):
        link.receive([(1, prepare()), (2, bytes(65_536))])
    switch.process(NOW_MS)
    assert link.take() == []


def test_frames_survive_a_new_connection_and_dropped_answers_are_counted() -> None:
    switch = Switch(Ledger.memory(), "g.hub")
    link = switch.open_link(switch.add_account("alice", asset_code="U", asset_scale=9), kind="btp")
    first, second = switch.accept(), switch.accept()
    first.bind(link, masked=False)
    first.feed(encode(MESSAGE, 7, [Entry("ilp", 0, prepare())]))
    switch.process(NOW_MS)
    waiting = link.egress_size
    assert waiting > 0
    second.bind(link, masked=False)
    assert link.egress_size == waiting
    assert first.link is None
    second.close()
    switch.process(NOW_MS)
    assert switch.statuses()["undeliverable"] == 1
    assert link.egress_size == 0


def test_untaken_fulfill_is_not_recorded_as_relayed(tmp_path: Path) -> None:
    """It lies in this process, and would die with it."""
    program = f"""
import os
from fastilp import Fulfill, Ledger, Switch
from tests.core.test_left_behind import NOW_MS, PREIMAGE, prepare
ledger = Ledger.open({str(tmp_path)!r})
switch = Switch(ledger, "g.hub")
alice, bob = (switch.add_account(n, asset_code="U", asset_scale=9) for n in ("alice", "bob"))
switch.set_route("g.hub.bob", bob)
a, b = switch.open_link(alice), switch.open_link(bob)
a.receive([(1, prepare())])
switch.process(NOW_MS)
[(request_id, _)] = b.take()
b.receive([(request_id, bytes(Fulfill(fulfillment=PREIMAGE)))])
for _ in range(4):
    switch.process(NOW_MS)
    ledger.store.wait(ledger.ticket)
assert a.egress_size > 0
os._exit(0)
"""
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=root, env={**os.environ, "PYTHONPATH": "."}
    )
    ledger = Ledger.open(str(tmp_path))
    [entry] = ledger.crash_report()
    assert (entry["name"], entry["not_relayed"]) == ("alice", 5)
    ledger.close()


def test_feed_after_the_switch_has_gone() -> None:
    switch = Switch(Ledger.memory(), "g.hub")
    link = switch.open_link(switch.add_account("alice", asset_code="U", asset_scale=9), kind="btp")
    connection = switch.accept()
    connection.bind(link, masked=False)
    del switch
    gc.collect()
    message = encode(MESSAGE, 7, [Entry("ilp", 0, prepare())])
    assert connection.feed(message) == (MESSAGE, 7, message)


def test_events_that_nobody_takes_are_bounded() -> None:
    switch = Switch(Ledger.memory(), "g.hub")
    alice = switch.add_account("alice", asset_code="U", asset_scale=9)
    bob = switch.add_account("bob", asset_code="U", asset_scale=9, settle_threshold=5, settle_to=0)
    switch.set_route("g.hub.bob", bob)
    a, b = switch.open_link(alice), switch.open_link(bob)
    for request_id in range(100):
        a.receive([(request_id, prepare())])
        switch.process(NOW_MS)
        b.receive([(sent, bytes(Fulfill(fulfillment=PREIMAGE))) for sent, _ in b.take()])
        switch.process(NOW_MS)
    assert switch.take_events() == [("settle", bob, 500)]
    assert switch.take_events() == []


@pytest.mark.parametrize("rate", ["1e5000", "1e-5000", "1e10000000"])
def test_rates_with_huge_exponents_are_refused_at_once(rate: str) -> None:
    switch = Switch(Ledger.memory(), "g.hub")
    with pytest.raises(UsageError, match="digits"):
        switch.set_rate("A", rate)


def test_pair_with_too_many_digits_says_how_many() -> None:
    switch = Switch(Ledger.memory(), "g.hub")
    switch.add_account("alice", asset_code="A", asset_scale=0)
    switch.add_account("bob", asset_code="B", asset_scale=255)
    switch.set_rate("A", "1e70")
    with pytest.raises(UsageError, match="32[56] digits"):
        switch.set_rate("B", "1")
