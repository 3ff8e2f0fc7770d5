"""Accounts in the switch: settings, routes, ids that last, refusals that name the account."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from fastilp._core.ledger import Ledger
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.control.tables import NodeTables
from fastilp.control.vault import Vault
from fastilp.errors import ConfigError, ConflictError, UsageError
from fastilp.storage.kinds import ACCOUNTS
from fastilp.types import Relation
from tests.small_switch import ADDRESS, SmallSwitch, details

SEED = b"a seed of 32 bytes for the tests"


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
    tables = NodeTables(node.switch, node.accounts)
    assert tables.load({"": "bob", f"{ADDRESS}.alice": "bob"}, {}, Decimal(0)) == []
    assert node.switch.routes()[""] is bob
    assert node.switch.routes()[f"{ADDRESS}.alice"] is bob


def test_refusals_name_what_is_wrong() -> None:
    node = SmallSwitch()
    with pytest.raises(ConfigError) as twice:
        node.accounts.add(details("alice"))
    assert twice.value.key == "accounts.alice"
    tables = NodeTables(node.switch, node.accounts)
    assert tables.load({"example.x": "nobody"}, {}, Decimal(0)) == ["example.x"]
    with pytest.raises(ConfigError) as prefix:
        tables.load({"example..x": "alice"}, {}, Decimal(0))
    assert prefix.value.key == "routes"


@pytest.mark.parametrize(
    "change",
    [
        {"ilp_address": f"{ADDRESS}{'.x' * 40}"},
        {"ilp_address": ADDRESS},
        {"ilp_address": f"{ADDRESS}.bob"},
        {"routing_relation": Relation.PARENT},
        {"spread": Decimal(f"0.{'1' * 60}")},
        {"allowed_destinations": ("g..a",)},
    ],
)
def test_a_refused_change_changes_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    ledger = Ledger.open(str(tmp_path / "ledger"))
    try:
        switch = Switch(ledger, ADDRESS)
        accounts = Accounts(switch)
        accounts.create(details("dad", routing_relation=Relation.PARENT))
        accounts.create(details("bob", asset_code="XYZ"))
        alice, _ = accounts.create(details("alice"))
        switch.set_rates({"ABC": Decimal(1), "XYZ": Decimal(f"0.{'1' * 20}")})
        settings, routes = switch.settings(alice), switch.routes()
        record = ACCOUNTS.get(ledger.store, "alice")
        with pytest.raises((UsageError, ConflictError)):
            accounts.update("alice", replace(details("alice"), min_balance=-1, **change))
        assert accounts.details("alice") == details("alice")
        assert (switch.settings(alice), switch.routes()) == (settings, routes)
        assert ACCOUNTS.get(ledger.store, "alice") == record
        with pytest.raises((UsageError, ConflictError)):
            accounts.create(details("carol", **change))
        assert accounts.find("carol") is None and switch.routes() == routes
    finally:
        ledger.close()


def test_addresses_that_follow_the_node_may_change_places() -> None:
    accounts = Accounts(Switch(Ledger.memory(), ADDRESS))
    accounts.create(details("alice"))
    accounts.create(details("bob", ilp_address=f"{ADDRESS}.x.alice"))
    accounts.readdress(f"{ADDRESS}.x")
    routes = {prefix: to.name for prefix, to in accounts.switch.routes().items()}
    assert routes == {f"{ADDRESS}.x.alice": "alice", f"{ADDRESS}.x.x.alice": "bob"}
    assert {details.ilp_address for _, details in accounts} == set(routes)


def test_static_routes_are_set_whole_or_not() -> None:
    node = SmallSwitch()
    tables = NodeTables(node.switch, node.accounts)
    tables.set_static_routes({"example.x": "bob"})
    before = node.switch.routes()
    with pytest.raises(UsageError):
        tables.set_static_routes({"example.y": "alice", f"example{'.z' * 40}": "alice"})
    assert (node.switch.routes(), tables.static_routes()) == (before, {"example.x": "bob"})


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


def test_records_last_and_hold_no_token_in_clear(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    ledger = Ledger.open(path)
    vault = Vault.open(ledger, SEED)
    given = details(
        "alice",
        ilp_over_http_incoming_token=vault.hash("incoming-secret"),
        ilp_over_http_outgoing_token="outgoing-secret",
        min_balance=-7,
    )
    accounts = Accounts(Switch(ledger, ADDRESS), vault=vault)
    alice, bob = accounts.add(given), accounts.add(details("bob"))
    accounts.save()
    ledger.transact([(alice.id, "settlement", 5)])
    ledger.close()
    ledger = Ledger.open(path)
    vault = Vault.open(ledger, SEED)
    accounts = Accounts(Switch(ledger, ADDRESS), vault=vault)
    try:
        assert ledger.store is not None
        assert accounts.restore() == 0
        record = ACCOUNTS.get(ledger.store, "alice")
        assert record is not None
        assert (record.account_id, record.min_balance) == (alice.id, -7)
        assert record.ilp_over_http_incoming_token == vault.hash("incoming-secret")
        kept = b"".join(value for _, value in ledger.store.items())
        assert b"secret" not in kept
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
        with pytest.raises(ConfigError) as stranger:
            Vault.open(ledger, bytes(32))
        assert stranger.value.key == "node.secret_seed"
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
    tables = NodeTables(switch, Accounts(switch))
    tables.load({}, {"USD": Decimal("1.25"), "XRP": Decimal(2)}, Decimal("0.01"))
    assert switch.rates() == {"USD": Fraction(5, 4), "XRP": Fraction(2)}
    with pytest.raises(ConfigError) as inexact:
        tables.load({}, {"XRP": Decimal(2), "USD": Decimal("1." + "1" * 60)}, Decimal(0))
    assert inexact.value.key == "rates.USD"
