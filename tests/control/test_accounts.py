"""Accounts in the switch: settings, routes, ids that last, refusals that name the account."""

from decimal import Decimal
from pathlib import Path

import pytest

from fastilp._core.ledger import Ledger
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.control.rates import set_rates
from fastilp.errors import ConfigError
from fastilp.storage.records import ACCOUNTS
from tests.small_switch import ADDRESS, SmallSwitch, details


def test_settings_reach_the_switch() -> None:
    node = SmallSwitch()
    given = {
        "min_balance": -5,
        "max_balance": 6,
        "max_packet_amount": 7,
        "packets_per_minute_limit": 8,
        "amount_per_minute_limit": 9,
        "round_trip_time": 10,
        "settle_threshold": 11,
        "settle_to": 1,
        "max_in_flight_amount": 12,
        "in_flight_in_max": 13,
        "in_flight_out_max": 14,
    }
    account = node.accounts.add(details("carol", **given))
    assert {name: node.switch.settings(account)[name] for name in given} == given
    assert node.accounts.details("carol") == details("carol", **given)
    assert [name for _, name in node.accounts][-1] == details("carol", **given)


def test_address_is_a_route_and_static_routes_win() -> None:
    node = SmallSwitch()
    alice, bob = node.switch.account("alice"), node.switch.account("bob")
    assert node.switch.routes()[f"{ADDRESS}.alice"] is alice
    node.accounts.set_static_routes({"": "bob", f"{ADDRESS}.alice": "bob"})
    assert node.switch.routes()[""] is bob
    assert node.switch.routes()[f"{ADDRESS}.alice"] is bob


def test_refusals_name_what_is_wrong() -> None:
    node = SmallSwitch()
    with pytest.raises(ConfigError) as twice:
        node.accounts.add(details("alice"))
    assert twice.value.key == "accounts.alice"
    with pytest.raises(ConfigError) as nobody:
        node.accounts.set_static_routes({"example.x": "nobody"})
    assert nobody.value.key == "routes.example.x"
    with pytest.raises(ConfigError) as prefix:
        node.accounts.set_static_routes({"example..x": "alice"})
    assert prefix.value.key == "routes.example..x"


def test_asset_of_an_account_that_moved_money(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    ledger = Ledger.open(path)
    account = Accounts(Switch(ledger, ADDRESS)).add(details("alice"))
    ledger.transact([(account.id, "settlement", 5)])
    ledger.close()
    ledger = Ledger.open(path)
    try:
        with pytest.raises(ConfigError) as refused:
            Accounts(Switch(ledger, ADDRESS)).add(details("alice", asset_scale=6))
        assert refused.value.key == "accounts.alice"
        switch = Switch(ledger, ADDRESS)
        assert switch.balance(Accounts(switch).add(details("alice"))) == 5
    finally:
        ledger.close()


def test_records_last_without_tokens(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    given = details("alice", ilp_over_http_incoming_token="secret-token", min_balance=-7)
    ledger = Ledger.open(path)
    accounts = Accounts(Switch(ledger, ADDRESS))
    alice, bob = accounts.add(given), accounts.add(details("bob"))
    accounts.save()
    ledger.transact([(alice.id, "settlement", 5)])
    ledger.close()
    ledger = Ledger.open(path)
    accounts = Accounts(Switch(ledger, ADDRESS))
    try:
        assert ledger.store is not None
        record = ACCOUNTS.get(ledger.store, "alice")
        assert record is not None
        assert (record.account_id, record.min_balance) == (alice.id, -7)
        assert record.ilp_over_http_incoming_token is None
        assert b"secret-token" not in b"".join(value for _, value in ledger.store.items())
        # bob has no balance to ask about.
        assert [(kept.username, balance) for kept, balance in accounts.left_over()] == [
            ("alice", 5)
        ]
        accounts.add(given)
        assert list(accounts.left_over()) == []
        accounts.add(details("bob"))
        ticket = ledger.ticket
        accounts.save()
        assert ledger.ticket == ticket
    finally:
        ledger.close()
    assert bob.id != alice.id


def test_records_of_a_ledger_that_keeps_nothing() -> None:
    accounts = SmallSwitch().accounts
    accounts.save()
    assert list(accounts.left_over()) == []


def test_rates() -> None:
    switch = Switch(Ledger.memory(), ADDRESS)
    for asset_code in ("USD", "XRP"):
        switch.add_account(asset_code.lower(), asset_code=asset_code, asset_scale=2)
    set_rates(switch, {"USD": Decimal("1.25"), "XRP": Decimal(2)}, Decimal("0.01"))
    with pytest.raises(ConfigError) as inexact:
        set_rates(switch, {"USD": Decimal("1." + "1" * 60)}, Decimal(0))
    assert inexact.value.key == "rates.USD"
