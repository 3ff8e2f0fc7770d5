"""`fastilp config import`: every setting of Interledger.rs goes where it belongs, or is left out
for a reason, and docs/interledger-rs.md says the same."""

import re
from pathlib import Path

import pytest

from fastilp import config
from fastilp.cli.interledger_rs import NAMES, REASONS
from fastilp.config.models import Settings
from tests.cli.command import fastilp

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "interledger-rs.md"

# All options that ilp-node reads, with a value of each.
THEIRS = {
    "ilp_address": "example.node",
    "secret_seed": "00" * 32,
    "admin_auth_token": "admin",
    "database_url": "redis://127.0.0.1:6379",
    "redis_url": "redis://127.0.0.1:6379",
    "database_prefix": "one",
    "http_bind_address": "127.0.0.1:7770",
    "settlement_api_bind_address": "127.0.0.1:7771",
    "default_spsp_account": "alice",
    "route_broadcast_interval": "20000",
    "exchange_rate.provider": "coincap",
    "exchange_rate.poll_interval": "50000",
    "exchange_rate.poll_failure_tolerance": "3",
    "exchange_rate.spread": "0.01",
    "prometheus.bind_address": "127.0.0.1:9654",
    "prometheus.histogram_window": "300000",
    "prometheus.histogram_granularity": "10000",
    "settle_every": "5",
    "google_pubsub.service_account_credentials": "file.json",
    "google_pubsub.project_id": "one",
    "google_pubsub.topic": "two",
}


def variables(values: dict[str, str]) -> dict[str, str]:
    return {f"ILP_{name.upper().replace('.', '__')}": value for name, value in values.items()}


def read(path: Path, text: str) -> Settings:
    path.write_text(text)
    return config.load(path)


def as_text(value: object) -> str:
    found = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return str(found[0] if isinstance(found, tuple) else found)


def test_every_setting_has_its_place_or_a_reason() -> None:
    assert set(THEIRS) == set(NAMES) | set(REASONS)
    assert not set(NAMES) & set(REASONS)


def test_a_setting_that_we_have_is_not_left_out() -> None:
    ours = {
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", ())
    }
    assert set(NAMES.values()) <= ours
    assert not set(REASONS) & ours


def test_the_node_reads_what_was_imported(tmp_path: Path) -> None:
    done = fastilp("config", "import", environment=variables(THEIRS))
    assert done.status == 0
    for name, reason in REASONS.items():
        assert f"{name} is left out: {reason}" in done.stderr
    settings = read(tmp_path / "node.toml", done.stdout)
    for theirs, ours in NAMES.items():
        section, key = ours.split(".")
        found = as_text(getattr(getattr(settings, section), key))
        assert found.lower() == THEIRS[theirs]


PROVIDERS = [
    ("exchange_rate:\n  provider: CoinCap\n", {}, ("CoinCap", None)),
    ('exchange_rate:\n  provider:\n    CryptoCompare: "07\'"\n', {}, ("CryptoCompare", "07'")),
    ('{"exchange_rate": {"provider": {"cryptocompare": "07"}}}', {}, ("CryptoCompare", "07")),
    (
        "exchange_rate:\n  provider:\n    CryptoCompare: a\n",
        {"exchange_rate.provider": "coincap"},
        ("CoinCap", None),
    ),
]


@pytest.mark.parametrize(("text", "variable", "expected"), PROVIDERS)
def test_a_provider_of_rates_comes_with_its_key(
    tmp_path: Path, text: str, variable: dict[str, str], expected: tuple[str, str | None]
) -> None:
    source = tmp_path / ("node.json" if text.startswith("{") else "node.yml")
    source.write_text(text)
    done = fastilp("config", "import", str(source), environment=variables(variable))
    assert (done.status, done.stderr) == (0, "")
    provider = read(tmp_path / "node.toml", done.stdout).exchange_rate.provider
    assert provider is not None
    key = provider.key.get_secret_value() if provider.key is not None else None
    assert (provider.name, key) == expected


def test_a_name_of_nobody_is_said(tmp_path: Path) -> None:
    done = fastilp("config", "import", environment={"ILP_SPEED": "9", **variables(THEIRS)})
    assert "speed is left out: it is no setting known" in done.stderr


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "node.toml"
    target.write_text("precious")
    done = fastilp("config", "import", "-o", str(target), environment=variables(THEIRS))
    assert done.status == 1
    assert "name another file, or move that one away" in done.stderr
    assert target.read_text() == "precious"


def test_the_document_says_where_each_goes() -> None:
    table = DOCUMENT.read_text().partition("| option | here |")[2].partition("\n\n")[0]
    places: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for theirs, here in re.findall(r"^\| (`.*?) \| (.*?) \|$", table, re.MULTILINE):
        names = re.findall(r"`([\w.]+)`", theirs)
        if here.startswith("left out: "):
            left_out |= dict.fromkeys(names, here)
        elif names != ["RUST_LOG"]:
            places |= dict(zip(names, re.findall(r"`([\w.]+)`", here), strict=True))
    assert places == NAMES
    assert set(left_out) == set(REASONS)
