"""Accounts that leave a running switch, and what it tells of those that stay."""

import hashlib
from decimal import Decimal

import pytest

from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp._core.switch import Switch
from fastilp.errors import UsageError

NOW_MS = 1_700_000_000_000
FULFILLMENT = bytes(32)


def prepare(destination: str, amount: int = 1) -> bytes:
    condition = hashlib.sha256(FULFILLMENT).digest()
    packet = Prepare(
        amount=amount,
        expires_at=NOW_MS + 20_000,
        execution_condition=condition,
        destination=destination,
    )
    return bytes(packet)


@pytest.fixture
def switch() -> Switch:
    return Switch(Ledger.memory(), address="g.hub")


def opened(switch: Switch, name: str, **settings: int) -> Link:
    account = switch.add_account(name, asset_code="USD", asset_scale=9, **settings)
    switch.set_route(f"g.hub.{name}", account)
    return switch.open_link(account)


def test_an_account_is_removed_once_nothing_is_in_flight(switch: Switch) -> None:
    a, b = opened(switch, "alice"), opened(switch, "bob")
    alice, bob = switch.account("alice"), switch.account("bob")
    a.receive([(1, prepare("g.hub.bob"))])
    switch.process(NOW_MS)
    assert (switch.in_flight_of(alice), switch.in_flight_of(bob)) == ((1, 0), (0, 1))
    [(request_id, _)] = b.take()
    with pytest.raises(UsageError, match="open"):
        switch.remove_account(bob)
    switch.close_account(bob)
    with pytest.raises(UsageError, match="in flight"):
        switch.remove_account(bob)
    # What is in flight goes on; nothing new does.
    b.receive([(request_id, bytes(Fulfill(fulfillment=FULFILLMENT)))])
    a.receive([(2, prepare("g.hub.bob"))])
    switch.process(NOW_MS + 1)
    answers = dict(a.take())
    assert isinstance(decode(answers[1]), Fulfill)
    assert isinstance(decode(answers[2]), Reject)
    b.close()
    switch.remove_account(bob)
    assert [account.name for account in switch.accounts()] == ["alice"]
    with pytest.raises(UsageError):
        switch.balance(bob)
    # A route that still names it leads nowhere.
    a.receive([(3, prepare("g.hub.bob"))])
    switch.process(NOW_MS + 2)
    reject = decode(a.take()[0][1])
    assert isinstance(reject, Reject) and reject.code == "F02"
    # The name is free, for another account; the ledger knows both.
    again = switch.add_account(
        "bob", asset_code="USD", asset_scale=9, account_id=b"another id of 16"
    )
    assert switch.balance(again) == 0 and again.id != bob.id
    counters = switch.ledger.counters(bob.id)
    assert counters is not None and counters["credits_posted"] == 1
    switch.ledger.check()


def test_an_account_comes_back_with_its_balance(switch: Switch) -> None:
    a, b = opened(switch, "alice", packets_per_minute_limit=1), opened(switch, "bob")
    a.receive([(1, prepare("g.hub.bob"))])
    switch.process(NOW_MS)
    b.receive([(b.take()[0][0], bytes(Fulfill(fulfillment=FULFILLMENT)))])
    switch.process(NOW_MS + 1)
    alice = switch.account("alice")
    switch.close_account(alice)
    a.close()
    switch.remove_account(alice)
    back = switch.add_account("alice", asset_code="USD", asset_scale=9)
    assert back.id == alice.id and switch.balance(back) == -1
    # Its settings are the defaults, it is open, and its counts start anew.
    link = switch.open_link(back)
    link.receive([(2, prepare("g.hub.bob")), (3, prepare("g.hub.bob"))])
    switch.process(NOW_MS + 2)
    assert len(b.take()) == 2 and switch.limit_hits_of(back) == (0, "")


def test_limits_that_were_hit_are_counted_where_they_are(switch: Switch) -> None:
    a = opened(switch, "alice", min_balance=-5)
    b = opened(switch, "bob", max_balance=3)
    alice, bob = switch.account("alice"), switch.account("bob")
    assert switch.limit_hits_of(alice) == switch.limit_hits_of(bob) == (0, "")
    a.receive([(1, prepare("g.hub.bob", 6)), (2, prepare("g.hub.bob", 4))])
    switch.process(NOW_MS)
    assert switch.limit_hits_of(alice) == (1, "exceeds_floor")
    assert switch.limit_hits_of(bob) == (1, "exceeds_ceiling")
    # No limit of anybody: nowhere to go.
    a.receive([(3, prepare("g.hub.nobody"))])
    switch.process(NOW_MS)
    assert switch.limit_hits_of(alice)[0] == 1
    assert b.take() == []


def test_all_rates_at_once(switch: Switch) -> None:
    for name, code in (("alice", "USD"), ("bob", "XRP")):
        switch.add_account(name, asset_code=code, asset_scale=2)
    switch.set_rates({"USD": "1.5", "XRP": "2"})
    switch.set_rates({"XRP": "3"})
    assert list(switch.rates()) == ["XRP"]
    with pytest.raises(UsageError):
        switch.set_rates({"USD": "1", "XRP": "0"})
    assert list(switch.rates()) == ["XRP"]


def test_a_closed_account_may_be_opened_again(switch: Switch) -> None:
    a, b = opened(switch, "alice"), opened(switch, "bob")
    bob = switch.account("bob")
    switch.close_account(bob)
    a.receive([(1, prepare("g.hub.bob"))])
    switch.process(NOW_MS)
    assert isinstance(decode(dict(a.take())[1]), Reject)
    switch.reopen_account(bob)
    a.receive([(2, prepare("g.hub.bob"))])
    switch.process(NOW_MS + 1)
    [(request_id, _)] = b.take()
    b.receive([(request_id, bytes(Fulfill(fulfillment=FULFILLMENT)))])
    switch.process(NOW_MS + 2)
    assert isinstance(decode(dict(a.take())[2]), Fulfill)
    assert (switch.balance(bob), switch.balance(switch.account("alice"))) == (1, -1)


def test_an_asset_is_checked_before_an_account_has_it(switch: Switch) -> None:
    opened(switch, "alice")
    switch.set_rates({"USD": 1, "EUR": 1})
    switch.check_asset("EUR", 9, Decimal("0.01"))
    with pytest.raises(UsageError, match="spread"):
        switch.check_asset("EUR", 9, Decimal(2))
    with pytest.raises(UsageError, match="digits"):
        switch.check_asset("EUR", 9, Decimal(f"0.{'1' * 60}"))
