"""The composition of a test network has the parts of `fastilp testnet`. No container is made."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastilp import config
from fastilp.config.models import AccountConfig, Settings
from fastilp.engines.ethereum import EthereumSettings
from fastilp.engines.settings import PREFIX
from fastilp.testnet import ethereum
from fastilp.testnet.ledgers import SIDES
from fastilp.testnet.network import NAMES, accounts, engine_words, node_toml, token

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = ROOT / "docker"
LEDGER = ethereum.EthereumLedger
CHAIN_URL = f"http://chain:{ethereum.PORT}"


def services() -> dict[str, Any]:
    found = yaml.safe_load((DOCKER / "compose.testnet.yaml").read_text())
    return dict(found["services"])


def settings_of(side: int) -> Settings:
    return config.load(DOCKER / f"testnet-{NAMES[side]}.toml")


def test_it_has_every_part() -> None:
    engines = [f"engine-{name}" for name in NAMES]
    assert set(services()) == {"chain", *NAMES, *engines, "payment"}


def test_the_chain() -> None:
    chain = services()["chain"]
    version = ethereum.PACKAGE
    assert f"npm install --global {version}\n" in chain["build"]["dockerfile_inline"]
    assert chain["command"] == ["--host", "0.0.0.0", *ethereum.options(ethereum.PORT)]


@pytest.mark.parametrize("side", SIDES)
def test_nodes_have_the_same_settings(tmp_path: Path, side: int) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        node_toml(side, http="0.0.0.0:7770", settlement="0.0.0.0:7771", data_dir="data")
    )
    ours, there = config.load(path), settings_of(side)
    assert ours.listen == there.listen
    peer, engine = f"http://{NAMES[1 - side]}:7770", f"http://engine-{NAMES[side]}:3000"
    made = [AccountConfig(**each) for each in accounts(side, LEDGER, peer, engine)]
    # What the node would fill in, where nothing is said.
    address = f"{there.node.ilp_address}.{NAMES[side]}"
    made = [each.model_copy(update={"ilp_address": each.ilp_address or address}) for each in made]
    assert list(there.accounts) == made
    assert there.node.model_copy(update={"data_dir": ours.node.data_dir}) == ours.node
    mounted = services()[NAMES[side]]["volumes"]
    assert mounted == [f"./testnet-{NAMES[side]}.toml:/etc/fastilp/node.toml:ro"]


@pytest.mark.parametrize("side", SIDES)
def test_engines_have_the_same_commands(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    service = services()[f"engine-{NAMES[side]}"]
    connector = f"http://{NAMES[side]}:7771"
    own = engine_words("0.0.0.0:3000", connector, "/var/lib/fastilp/engine")
    assert service["command"] == ["engine", *ethereum.engine_words(CHAIN_URL), *own]
    assert service["environment"] == {f"{PREFIX}PRIVATE_KEY": ethereum.KEYS[side]}
    flags = dict(zip(service["command"][2::2], service["command"][3::2], strict=True))
    given = {flag.removeprefix("--").replace("-", "_"): value for flag, value in flags.items()}
    settings = EthereumSettings.model_validate(given | {"private_key": ethereum.KEYS[side]})
    assert settings.bind == ("0.0.0.0", 3000)
    # It settles on the ledger in the unit of the accounts.
    assert settings.asset_scale == LEDGER.asset_scale
    assert "/health" in json.dumps(service["healthcheck"]["test"])


def test_the_payment_is_the_same() -> None:
    command = services()["payment"]["command"]
    words = ["pay", "alice", "--node", "http://alice:7770", "--auth", token("alice")]
    words += ["--amount", str(LEDGER.amount), "--to", "http://bob:7770/accounts/bob/spsp"]
    assert command == words
    waits = services()["payment"]["depends_on"]
    assert set(waits) == {*NAMES, *(f"engine-{name}" for name in NAMES)}


def test_what_is_published_is_for_this_machine() -> None:
    for service in services().values():
        for published in service.get("ports", ()):
            assert published.startswith("127.0.0.1:")
