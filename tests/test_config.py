"""Settings: the example file, precedence, and what every kind of mistake is answered with."""

import re
import stat
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from fastilp import config
from fastilp.config.models import (
    AccountConfig,
    AlertsConfig,
    CircuitBreakerConfig,
    ExchangeRateConfig,
    ListenConfig,
    LoggingConfig,
    NodeConfig,
    OpenBtpConfig,
    PacketRecordsConfig,
    PaymentsConfig,
    PrometheusConfig,
    RoutingConfig,
    ServiceConfig,
    Settings,
    SettlementConfig,
    TracingConfig,
)
from fastilp.errors import ConfigError
from fastilp.types import Relation

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "node.toml"
SECTIONS: dict[str, type[BaseModel]] = {
    "node": NodeConfig,
    "listen": ListenConfig,
    "exchange_rate": ExchangeRateConfig,
    "logging": LoggingConfig,
    "circuit_breaker": CircuitBreakerConfig,
    "routing": RoutingConfig,
    "open_btp": OpenBtpConfig,
    "payments": PaymentsConfig,
    "settlement": SettlementConfig,
    "prometheus": PrometheusConfig,
    "packet_records": PacketRecordsConfig,
    "alerts": AlertsConfig,
    "tracing": TracingConfig,
}
MINIMAL = """
[[accounts]]
username = "alice"
asset_code = "abc"
asset_scale = 9
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for section in Settings.model_fields:
        monkeypatch.delenv(f"FASTILP_{section.upper()}", raising=False)


def load(tmp_path: Path, text: str, **overrides: object) -> Settings:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return config.load(path, overrides)


def error(tmp_path: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return caught.value


def example_with_every_key() -> dict[str, object]:
    """The example file with the settings that are commented out switched on."""
    lines = [re.sub(r"^# (?=[a-z_]+ = )", "", line) for line in EXAMPLE.read_text().splitlines()]
    return tomllib.loads("\n".join(lines))


def test_example_loads() -> None:
    settings = config.load(EXAMPLE)
    assert settings.node.ilp_address == "example.node"
    assert [account.ilp_address for account in settings.accounts] == [
        "example.node.alice",
        "example.node.bob",
        "example.node.loop",
    ]


def test_example_has_every_key() -> None:
    example = example_with_every_key()
    for section, model in SECTIONS.items():
        assert set(example[section]) == set(model.model_fields)  # type: ignore[call-overload]
    assert set(example["services"][0]) == set(ServiceConfig.model_fields)  # type: ignore[index]
    assert set(example["accounts"][0]) == set(AccountConfig.model_fields)  # type: ignore[index]
    assert set(example) == set(Settings.model_fields)


def test_example_states_the_defaults() -> None:
    # What is commented out and has no "default:" remark of its own shows the default.
    models = {**SECTIONS, "[accounts]": AccountConfig, "[services]": ServiceConfig}
    seen = 0
    section = ""
    for line in EXAMPLE.read_text().splitlines():
        section = line[1:-1] if re.fullmatch(r"\[.+\]", line) else section
        found = re.match(r"# ([a-z_]+) = (.*)$", line)
        if found and section in models:
            default = models[section].model_fields[found[1]].default
            value = tomllib.loads(f"v = {found[2]}")["v"]
            if default is None or default in ("", ()):
                named = ("not set", "default: none", "secret_seed", "ilp_address")
                assert any(each in line for each in named), line
            elif "default:" not in line:
                assert str(value) == str(default), line
                seen += 1
    assert seen > 10


@pytest.mark.parametrize("document", ["docs/configuration.md"])
def test_documentation_names_every_key(document: str) -> None:
    text = (ROOT / document).read_text()
    for model in (*SECTIONS.values(), AccountConfig, ServiceConfig):
        for key in model.model_fields:
            assert f"`{key}`" in text, key
    for section in Settings.model_fields:
        assert f"[{section}]" in text, section


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    account = settings.accounts[0]
    assert settings.node.ilp_address == "local.host"
    assert account.ilp_address == "local.host.alice"
    assert account.asset_code == "ABC"
    assert account.routing_relation is Relation.NON_ROUTING_ACCOUNT
    assert account.round_trip_time == 500
    assert account.max_packet_amount == 2**64 - 1
    assert account.min_balance is None


def test_numbers_as_strings_and_relation_in_any_case(tmp_path: Path) -> None:
    text = MINIMAL.replace("= 9", '= "9"') + 'min_balance = "-5"\nrouting_relation = "pARENT"\n'
    account = load(tmp_path, text).accounts[0]
    assert (account.asset_scale, account.min_balance) == (9, -5)
    assert account.routing_relation is Relation.PARENT


def test_username_is_normalised(tmp_path: Path) -> None:
    # U+FF41 is a full-width "a"; NFKC makes it the plain one.
    assert load(tmp_path, MINIMAL.replace("alice", "\uff41lice")).accounts[0].username == "alice"


def test_rates_are_exact(tmp_path: Path) -> None:
    settings = load(tmp_path, "[rates]\nusd = 0.1\nEUR = '1.10000000000000000000000001'\nXRP = 3\n")
    assert settings.rates == {
        "USD": Decimal("0.1"),
        "EUR": Decimal("1.10000000000000000000000001"),
        "XRP": Decimal(3),
    }


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[node]\nilp_address = "example.file"\n[listen]\nhttp = "h:1"\n[rates]\nUSD = 1\n'
    monkeypatch.setenv("FASTILP_NODE__ILP_ADDRESS", "example.environment")
    monkeypatch.setenv("FASTILP_LISTEN__HTTP", "127.0.0.1:2")
    monkeypatch.setenv("FASTILP_RATES__USD", "2.5")
    settings = load(tmp_path, text, **{"listen.http": "127.0.0.1:3", "node.data_dir": None})
    assert settings.node.ilp_address == "example.environment"
    assert settings.node.data_dir == str(tmp_path / "data")
    assert settings.listen.http == "127.0.0.1:3"
    assert settings.rates == {"USD": Decimal("2.5")}


def test_environment_of_one_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTILP_ACCOUNTS__ALICE__ILP_OVER_HTTP_INCOMING_TOKEN", "secret")
    token = load(tmp_path, MINIMAL).accounts[0].ilp_over_http_incoming_token
    assert token is not None and token.get_secret_value() == "secret"
    monkeypatch.setenv("FASTILP_ACCOUNTS__MALLORY__ASSET_SCALE", "1")
    assert "there are: alice" in str(error(tmp_path, MINIMAL))


def test_environment_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "FASTILP_ACCOUNTS", '[{"username": "carol", "asset_code": "X", "asset_scale": 2}]'
    )
    monkeypatch.setenv("FASTILP_ROUTES", '{"": "carol"}')
    settings = load(tmp_path, MINIMAL)
    assert [account.username for account in settings.accounts] == ["carol"]
    assert settings.routes == {"": "carol"}
    monkeypatch.setenv("FASTILP_ACCOUNTS", "[{")
    assert error(tmp_path, MINIMAL).path == "environment"


def test_environment_without_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTILP_DEBUG", "1")
    load(tmp_path, MINIMAL)
    monkeypatch.setenv("FASTILP_NODES__X", "1")
    assert "FASTILP_NODES__X names no section" in str(error(tmp_path, MINIMAL))


ACCOUNT_FAULTS = [
    ('username = "a"', "2 to 32"),
    (f'username = "{"a" * 33}"', "2 to 32"),
    ('username = "a-b"', "2 to 32"),
    ('asset_code = ""', "1 to 32"),
    ("asset_scale = 256", "from 0 to 255"),
    ("asset_scale = true", "from 0 to 255"),
    ("asset_scale = 1.5", "from 0 to 255"),
    ('ilp_address = "what.alice"', "not an ILP address"),
    ('ilp_address = "local.host"', "the node's own"),
    ('routing_relation = "friend"', "Parent, Peer, Child, NonRoutingAccount"),
    ("max_packet_amount = -1", "from 0 to"),
    (f"max_packet_amount = {2**64}", "from 0 to"),
    ("min_balance = 2\nmax_balance = 1", "must not be above"),
    ("settle_to = 5\nsettle_threshold = 5", "must be below"),
    ('ilp_over_http_url = "127.0.0.1/ilp"', "must be a URL"),
    ('ilp_over_http_url = "http://"', "must be a URL"),
    ('ilp_over_http_url = "http://host:99999/"', "must be a URL"),
    ('ilp_over_btp_url = "http://host/"', "btp+ws"),
    ('ilp_over_btp_incoming_token = "two words"', "without spaces"),
    ('ilp_over_batch_url = "tcp://host"', "ilp+tcp"),
    ('ilp_over_batch_url = "ilp+tcp://"', "ilp+tls"),
    ('ilp_over_batch_url = "ilp+unix://host/path"', "ilp+unix:///path"),
    ('endpoint = "nowhere"', "loopback"),
    ('endpoint = "loopback"\nilp_over_http_url = "http://h/"', "end in this process"),
    ('endpoint = "loopback"\nilp_over_batch_url = "ilp+tcp://h"', "end in this process"),
    ("in_flight_in_max = 0", "from 1 to"),
    ("min_balanc = 1", "did you mean 'min_balance'"),
    ("zzz = 1", "there are username"),
]


@pytest.mark.parametrize(("line", "expected"), ACCOUNT_FAULTS)
def test_account_faults(tmp_path: Path, line: str, expected: str) -> None:
    keys = [entry.split(" = ")[0] for entry in line.splitlines()]
    kept = [entry for entry in MINIMAL.splitlines() if entry.split(" = ")[0] not in keys]
    found = error(tmp_path, "\n".join([*kept, line]))
    assert expected in str(found)
    assert found.path.endswith("node.toml")
    assert found.key.startswith("accounts.") and found.key.split(".")[-1] in keys


FAULTS = [
    ('[node]\nilp_address = "nothing"', "node.ilp_address", "not an ILP address"),
    ('[node]\nilp_address = "peer.x"', "node.ilp_address", "peer. or self."),
    ('[node]\nsecret_seed = "00"', "node.secret_seed", "32 bytes in hex"),
    ('[node]\ndurability = "maybe"', "node.durability", "'commit' or 'process'"),
    ('[node]\ndata_dir = ""', "node.data_dir", "must not be empty"),
    ('[listen]\nhttp = "127.0.0.1"', "listen.http", "host:port"),
    ('[listen]\nhttp = "127.0.0.1:65536"', "listen.http", "0 to 65535"),
    ('[listen]\nhttp = "127.0.0.1:http"', "listen.http", "host:port"),
    ('[listen]\nbatch = "unix:"', "listen.batch", "host:port"),
    ("[listen]\nhttp_connections_max = 0", "listen.http_connections_max", "1 to 1000000"),
    ("[listen]\nbatch_connections_max = -1", "listen.batch_connections_max", "1 to 1000000"),
    ('[listen]\nbatch_tls_key = "k"', "listen.batch_tls_key", "without batch_tls_certificate"),
    ('[listen]\nbatch_tls_certificate = "c"', "listen.batch_tls_certificate", "without batch"),
    (
        '[listen]\nbatch = "unix:/s"\nbatch_tls_certificate = "c"',
        "listen.batch_tls_certificate",
        "host and port",
    ),
    ('[listen]\nhttp_tls_key = "k"', "listen.http_tls_key", "without http_tls_certificate"),
    (
        '[listen]\nadmin_tls_certificate = "c"',
        "listen.admin_tls_certificate",
        "without admin on a host and port",
    ),
    ('[listen]\nadmin = "127.0.0.1:7770"', "listen.admin", "listen.http already"),
    ('[exchange_rate]\nspread = "1"', "exchange_rate.spread", "less than 1"),
    ('[logging]\nlevel = "loud"', "logging.level", "'debug'"),
    ("[rates]\nUSD = 0", "rates.USD", "greater than zero"),
    ('[rates]\nUSD = "-1"', "rates.USD", "greater than zero"),
    ('[rates]\nUSD = "NaN"', "rates.USD", "decimal number"),
    ('[rates]\nUSD = "much"', "rates.USD", "decimal number"),
    ('[routes]\n"example.x" = "nobody"', "routes.example.x", "is no account; there are: none"),
    ('[routes]\n"bad prefix" = "alice"', "routes.bad prefix", "must be an ILP address"),
    ("[nodes]\nx = 1", "nodes", "did you mean 'node'"),
    ("node = 3", "node", "a table"),
    ("accounts = 3", "accounts", "[[…]]"),
    (MINIMAL + MINIMAL, "accounts.alice.username", "more than one"),
    (MINIMAL + MINIMAL.replace("alice", "bob") + 'ilp_address = "local.host.alice"',
     "accounts.alice.ilp_address", "more than one"),
    ((MINIMAL + 'routing_relation = "parent"\n') * 1
     + MINIMAL.replace("alice", "bob") + 'routing_relation = "parent"\n',
     "accounts.bob.routing_relation", "only one"),
    (MINIMAL.replace("alice", "ålice"), "accounts.ålice.ilp_address", "give the account one"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "expected"), FAULTS)
def test_faults(tmp_path: Path, text: str, key: str, expected: str) -> None:
    found = str(error(tmp_path, text))
    assert f"[{key}]" in found
    assert expected in found


def test_all_faults_at_once_and_no_secrets(tmp_path: Path) -> None:
    text = '[node]\nsecret_seed = "5ec4e7"\nfoo = 1\n[listen]\nhttp = "x"\n'
    found = str(error(tmp_path, text))
    assert found.startswith("3 settings are wrong")
    assert all(key in found for key in ("[node.secret_seed]", "[node.foo]", "[listen.http]"))
    assert "5ec4e7" not in found


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.load(tmp_path / "nothing.toml")
    assert "is not TOML" in str(error(tmp_path, "[node"))


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        settings.node.ilp_address = "example.other"  # type: ignore[misc]


def test_secret_seed(tmp_path: Path) -> None:
    given = load(tmp_path, f'[node]\nsecret_seed = "{"ab" * 32}"\n')
    assert config.secret_seed(given) == (b"\xab" * 32, None)
    settings = load(tmp_path, "", **{"node.data_dir": str(tmp_path)})
    seed, path = config.secret_seed(settings)
    assert path is not None and len(seed) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config.secret_seed(settings) == (seed, None)
    path.write_text("short")
    with pytest.raises(ConfigError, match="32 bytes in hex"):
        config.secret_seed(settings)


def test_data_dir_does_not_depend_on_where_the_node_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    text = '[node]\ndata_dir = "books"\n'
    assert load(tmp_path, text).node.data_dir == str(tmp_path / "books")
    assert load(tmp_path, text, **{"node.data_dir": "x"}).node.data_dir == str(elsewhere / "x")
    assert config.load().node.data_dir == str(elsewhere / "data")
    monkeypatch.setenv("FASTILP_NODE__DATA_DIR", "y")
    assert load(tmp_path, text).node.data_dir == str(elsewhere / "y")


def test_contradictions_are_listed_beside_wrong_values(tmp_path: Path) -> None:
    text = f"""[listen]
http = "x"
[rates]
USD = 0
{MINIMAL.replace("asset_scale = 9", "asset_scale = 999")}
min_balance = 2
max_balance = 1
[routes]
"example.x" = "nobody"
"""
    found = str(error(tmp_path, text))
    assert found.startswith("5 settings are wrong")
    for key in ("listen.http", "rates.USD", "accounts.alice.asset_scale"):
        assert f"[{key}]" in found
    assert "[accounts.alice.min_balance]" in found
    assert "[routes.example.x]" in found


def test_a_contradiction_that_comes_from_a_wrong_value_is_not_listed(tmp_path: Path) -> None:
    text = MINIMAL.replace('"alice"', '"a"') + '[routes]\n"example.x" = "a"\n'
    found = str(error(tmp_path, text))
    assert "[accounts.a.username]" in found and "is no account" not in found


def test_half_a_settlement_is_refused(tmp_path: Path) -> None:
    found = error(tmp_path, MINIMAL + "settle_threshold = 5\n")
    assert found.key == "accounts.alice.settle_threshold" and "settle_to" in str(found)
    assert "settle_threshold" in str(error(tmp_path, MINIMAL + "settle_to = 5\n"))


def test_duplicates_are_named(tmp_path: Path) -> None:
    bob = MINIMAL.replace("alice", "bob")
    assert "entries 1 and 3" in str(error(tmp_path, MINIMAL + bob + MINIMAL))


def test_misspelled_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTILP_LISTEN_HTTP", "127.0.0.1:1")
    monkeypatch.setenv("FASTILP_LISTEN__HTTP", "127.0.0.1:1")
    monkeypatch.setenv("FASTILP_ROUTES", "{}")
    monkeypatch.setenv("FASTILP_SOAK", "1")
    # An engine's, started from the same shell.
    monkeypatch.setenv("FASTILP_ENGINE_PRIVATE_KEY", "00" * 32)
    assert config.unknown_variables() == ["FASTILP_LISTEN_HTTP"]


def test_a_section_that_is_not_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTILP_ACCOUNTS", "[{]")
    with pytest.raises(ConfigError, match="FASTILP_ACCOUNTS must be a whole section as JSON") as it:
        config.load()
    assert "Source" not in str(it.value)
