"""Many accounts and routes in one switch: the tables move as they grow, and nothing in them may be
lost. A tenth of it in CI is above the size from which tables lie in pages of their own."""

import hashlib
from pathlib import Path

import pytest

from fastilp import Account, Fulfill, Ledger, Link, Prepare, Switch
from fastilp.errors import UsageError

NOW_MS = 1_800_000_000_000
PREIMAGE = bytes(range(32))
COUNT, COUNT_SOAK = 40_000, 1_000_000


@pytest.fixture
def count(soak: bool) -> int:
    return COUNT_SOAK if soak else COUNT


def pay(switch: Switch, sender: Link, receiver: Link, to: str, amount: int) -> bool:
    """Whether the packet was forwarded; if so, it is fulfilled."""
    prepare = Prepare(
        amount=amount,
        expires_at=NOW_MS + 20_000,
        execution_condition=hashlib.sha256(PREIMAGE).digest(),
        destination=to,
        data=b"",
    )
    sender.receive([(1, bytes(prepare))])
    switch.process(NOW_MS)
    for request_id, _ in (sent := receiver.take()):
        receiver.receive([(request_id, bytes(Fulfill(fulfillment=PREIMAGE, data=b"")))])
    switch.process(NOW_MS)
    [(_, answer)] = sender.take()
    assert (answer[0] == 13) == bool(sent)
    return bool(sent)


def test_first_accounts_outlive_all_that_come_later(count: int) -> None:
    """Counters, limits, buckets and routes of the first accounts, before and after the tables have
    moved many times."""
    switch = Switch(Ledger.memory(), address="g.hub")
    alice = switch.add_account(
        "alice", asset_code="USD", asset_scale=9, min_balance=-100, packets_per_minute_limit=5
    )
    bob = switch.add_account(
        "bob", asset_code="USD", asset_scale=9, max_in_flight_amount=50, settle_threshold=10,
        settle_to=0,
    )  # fmt: skip
    a, b = switch.open_link(alice), switch.open_link(bob)
    switch.set_route("g.hub.bob", bob)
    assert pay(switch, a, b, "g.hub.bob.x", 40)
    assert switch.take_events() == [("settle", bob, 40)]

    many = [
        switch.add_account(f"account{i}", asset_code="USD", asset_scale=9) for i in range(count)
    ]
    for i, account in enumerate(many):
        switch.set_route(f"g.hub.region{i % 97}.account{i}", account)

    assert pay(switch, a, b, "g.hub.bob.x", 50)
    assert switch.take_events() == [("settle", bob, 90)]
    assert not pay(switch, a, b, "g.hub.bob.x", 11), "below alice's floor"
    assert not pay(switch, a, b, "g.hub.bob.x", 51), "above what bob may hold"
    assert pay(switch, a, b, "g.hub.bob.x", 10)
    assert not pay(switch, a, b, "g.hub.bob.x", 0), "alice's bucket is empty"
    assert (switch.balance(alice), switch.balance(bob)) == (-100, 100)
    assert switch.settings(alice)["min_balance"] == -100
    assert switch.settings(many[-1]) == switch.settings(many[0])
    switch.ledger.check()
    assert switch.ledger.sums()["USD", 9]["debits_posted"] == 200


def test_every_account_is_found(count: int) -> None:
    switch = Switch(Ledger.memory(), address="g.hub")
    given = {i: i.to_bytes(16, "big") for i in range(0, count, 3)}
    accounts: list[Account] = []
    for i in range(count):
        accounts.append(
            switch.add_account(
                f"account{i}", asset_code="USD", asset_scale=9, account_id=given.get(i)
            )
        )
    assert len({account.id for account in accounts}) == count
    assert all(account.id == given[i] for i, account in enumerate(accounts) if i in given)
    assert switch.accounts() == accounts
    for i in (0, 1, count // 2, count - 1):
        account = accounts[i]
        assert switch.account(f"account{i}") is account
        counters = switch.ledger.counters(account.id)
        assert counters is not None
        assert not any(counters.values())
        with pytest.raises(UsageError, match=account.name):
            switch.add_account("other", asset_code="USD", asset_scale=9, account_id=account.id)
    for unknown in (b"", bytes(15), b"\xff" * 16):
        assert switch.ledger.counters(unknown) is None


def test_account_that_could_not_be_recorded(tmp_path: Path) -> None:
    """Its id is free again, as often as it fails, and those after it are found."""
    ledger = Ledger.open(str(tmp_path / "ledger"))
    switch = Switch(ledger, address="g.hub")
    first = switch.add_account("first", asset_code="USD", asset_scale=9)
    ids = [bytes([i]) * 16 for i in range(200)]
    for account_id in ids:
        with pytest.raises(UnicodeEncodeError):
            switch.add_account("\ud800", asset_code="USD", asset_scale=9, account_id=account_id)
        assert ledger.counters(account_id) is None
    added = [
        switch.add_account(f"account{i}", asset_code="USD", asset_scale=9, account_id=account_id)
        for i, account_id in enumerate(reversed(ids))
    ]
    assert [account.id for account in added] == list(reversed(ids))
    assert all(ledger.counters(account_id) is not None for account_id in [first.id, *ids])
    ledger.close()


def test_settings_that_differ_from_the_default() -> None:
    switch = Switch(Ledger.memory(), address="g.hub")
    account = switch.add_account("alice", asset_code="USD", asset_scale=9, max_packet_amount=7)
    defaults = switch.settings(switch.add_account("bob", asset_code="USD", asset_scale=9))
    assert defaults["max_packet_amount"] == 2**64 - 1
    assert switch.settings(account) == defaults | {"max_packet_amount": 7}
    switch.set_account(account, round_trip_time=10, max_balance=5)
    assert switch.settings(account) == defaults | {
        "max_packet_amount": 7, "round_trip_time": 10, "max_balance": 5
    }  # fmt: skip
    switch.set_account(account, max_packet_amount=2**64 - 1, round_trip_time=500, max_balance=None)
    assert switch.settings(account) == defaults
