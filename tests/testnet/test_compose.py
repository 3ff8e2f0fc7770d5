"""The composition of a test network has the parts of `fastilp testnet`: for each ledger a profile.
No container is made."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer import Context
from typer.main import get_command

from fastilp import config
from fastilp.cli.main import application
from fastilp.config.models import AccountConfig, Settings
from fastilp.engines.ethereum import EthereumSettings
from fastilp.engines.lightning import LightningSettings
from fastilp.engines.settings import PREFIX, EngineSettings
from fastilp.engines.xrp import XrpSettings
from fastilp.testnet import ethereum, lightning, regtest_alone, xrp
from fastilp.testnet.ledgers import SIDES, TestLedger
from fastilp.testnet.network import NAMES, accounts, engine_words, node_toml, token
from fastilp.testnet.regtest import PASSWORD, Regtest

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = ROOT / "docker"
CHAIN_URL = f"http://chain:{ethereum.PORT}"
XRP_URL = f"http://ledger-xrp:{xrp.PORT}"


class Kind(NamedTuple):
    """A profile, and what `fastilp testnet` starts for this currency."""

    profile: str
    ledger: type[TestLedger]
    settings: type[EngineSettings]
    secret: str
    secrets: tuple[str, ...]
    parts: tuple[str, ...]

    def named(self, name: str) -> str:
        return name if self.profile == "eth" else f"{name}-{self.profile}"

    def engine(self, side: int) -> tuple[str, ...]:
        if self.profile == "eth":
            return ethereum.engine_words(CHAIN_URL)
        if self.profile == "xrp":
            return xrp.engine_words(XRP_URL)
        wallets = Regtest(Path("/tmp/lightning"), ports=regtest_alone.PORTS).wallets
        return lightning.engine_words(wallets[side])

    def engine_address(self, side: int) -> tuple[str, int]:
        """Lightning's engines share the network of the wallets."""
        if self.profile == "ln":
            return "lightning-ln", 3000 + side
        return self.named(f"engine-{NAMES[side]}"), 3000


ETH = Kind(
    "eth", ethereum.EthereumLedger, EthereumSettings, "private_key", ethereum.KEYS, ("chain",)
)
XRP = Kind(
    "xrp", xrp.XrpLedger, XrpSettings, "xrp_secret", xrp.SECRETS, ("ledger-xrp", "funds-xrp")
)
LN = Kind(
    "ln", lightning.LightningLedger, LightningSettings, "electrum_password", (PASSWORD, PASSWORD),
    ("lightning-ln",),
)  # fmt: skip
KINDS = pytest.mark.parametrize("kind", [ETH, XRP, LN], ids=["eth", "xrp", "ln"])
BOTH = pytest.mark.parametrize("side", SIDES)


def services() -> dict[str, Any]:
    found = yaml.safe_load((DOCKER / "compose.testnet.yaml").read_text())
    return dict(found["services"])


def settings_of(kind: Kind, side: int) -> Settings:
    return config.load(DOCKER / f"{kind.named(f'testnet-{NAMES[side]}')}.toml")


@KINDS
def test_it_has_every_part(kind: Kind) -> None:
    found = {name for name, each in services().items() if each["profiles"] == [kind.profile]}
    ours = [*NAMES, *(f"engine-{name}" for name in NAMES), "payment"]
    assert found == {*kind.parts, *map(kind.named, ours)}


def test_nothing_is_of_no_profile_and_nobody_waits_for_another_one() -> None:
    found = services()
    assert {each["profiles"][0] for each in found.values()} == {"eth", "xrp", "ln"}
    for each in found.values():
        others = [*each.get("depends_on", ())]
        others += [each["network_mode"].removeprefix("service:")] if "network_mode" in each else []
        assert all(found[other]["profiles"] == each["profiles"] for other in others)


def test_the_chain() -> None:
    chain = services()["chain"]
    version = ethereum.PACKAGE
    assert f"npm install --global {version}\n" in chain["build"]["dockerfile_inline"]
    assert chain["command"] == ["--host", "0.0.0.0", *ethereum.options(ethereum.PORT)]


def test_the_stand_in_for_the_xrp_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    listen = ("--listen", f"0.0.0.0:{xrp.PORT}")
    assert services()["ledger-xrp"]["command"] == [*xrp.STAND_IN_WORDS, *listen]
    funded: list[str] = []
    monkeypatch.setattr(xrp, "fund", funded.append)
    service = services()["funds-xrp"]
    assert service["entrypoint"] == ["python", "-c"]
    (program,) = service["command"]
    exec(program, {})
    assert funded == [XRP_URL]


def test_the_lightning_network() -> None:
    service = services()["lightning-ln"]
    assert service["entrypoint"] == ["python", "-m", regtest_alone.__name__]
    (directory,) = service["command"]
    ready = f"{directory}/{regtest_alone.READY}"
    assert service["healthcheck"]["test"] == ["CMD", "test", "-f", ready]
    packages = service["build"]["args"]["PACKAGES"].split()
    assert packages == ["electrum", "nodejs", "npm"]
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert 'ARG PACKAGES=""\n' in dockerfile and 'ARG EXTRAS=""\n' in dockerfile


@pytest.mark.interop
@pytest.mark.skipif(
    not os.environ.get("FASTILP_SOAK"), reason="takes half a minute; FASTILP_SOAK=1 runs it"
)
def test_the_lightning_network_starts_and_ends(tmp_path: Path) -> None:
    directory = tmp_path / "lightning"
    program = subprocess.Popen([sys.executable, "-m", regtest_alone.__name__, str(directory)])
    try:
        while program.poll() is None and not (directory / regtest_alone.READY).exists():
            time.sleep(0.1)
        for wallet in Regtest(directory, ports=regtest_alone.PORTS).wallets:
            assert wallet.is_open() and wallet.balance_sat() > 0
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
    finally:
        program.kill()
        program.wait()


@KINDS
@BOTH
def test_nodes_have_the_same_settings(tmp_path: Path, kind: Kind, side: int) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        node_toml(side, http="0.0.0.0:7770", settlement="0.0.0.0:7771", data_dir="data")
    )
    ours, there = config.load(path), settings_of(kind, side)
    assert ours.listen == there.listen
    host, port = kind.engine_address(side)
    peer, engine = f"http://{kind.named(NAMES[1 - side])}:7770", f"http://{host}:{port}"
    ledger: Any = kind.ledger
    made = [AccountConfig(**each) for each in accounts(side, ledger, peer, engine)]
    # What the node would fill in, where nothing is said.
    address = f"{there.node.ilp_address}.{NAMES[side]}"
    made = [each.model_copy(update={"ilp_address": each.ilp_address or address}) for each in made]
    assert list(there.accounts) == made
    assert there.node.model_copy(update={"data_dir": ours.node.data_dir}) == ours.node
    mounted = services()[kind.named(NAMES[side])]["volumes"]
    file = kind.named(f"testnet-{NAMES[side]}")
    assert mounted == [f"./{file}.toml:/etc/fastilp/node.toml:ro"]


@KINDS
@BOTH
def test_engines_have_the_same_commands(kind: Kind, side: int) -> None:
    service = services()[kind.named(f"engine-{NAMES[side]}")]
    _, port = kind.engine_address(side)
    connector = f"http://{kind.named(NAMES[side])}:7771"
    own = engine_words(f"0.0.0.0:{port}", connector, "/var/lib/fastilp/engine")
    assert service["command"] == ["engine", *kind.engine(side), *own]
    secret = kind.secrets[side]
    assert service["environment"] == {f"{PREFIX}{kind.secret.upper()}": secret}
    flags = dict(zip(service["command"][2::2], service["command"][3::2], strict=True))
    given = {flag.removeprefix("--").replace("-", "_"): value for flag, value in flags.items()}
    settings = kind.settings.model_validate(given | {kind.secret: secret})
    assert settings.bind == ("0.0.0.0", port)
    # It settles on the ledger in the unit of the accounts.
    if isinstance(settings, EthereumSettings):
        assert settings.asset_scale == kind.ledger.asset_scale
    assert f":{port}/health" in json.dumps(service["healthcheck"]["test"])


@KINDS
def test_the_payment_is_the_same(kind: Kind) -> None:
    alice, bob = map(kind.named, NAMES)
    service = services()[kind.named("payment")]
    words = ["pay", "alice", "--node", f"http://{alice}:7770", "--auth", token("alice")]
    words += ["--amount", str(kind.ledger.amount), "--to", f"http://{bob}:7770/accounts/bob/spsp"]
    assert service["command"] == words
    waits = service["depends_on"]
    assert set(waits) == {alice, bob, *(kind.named(f"engine-{name}") for name in NAMES)}


def test_our_command_line_takes_all_commands() -> None:
    taken = 0
    for service in services().values():
        if service["image"] == "fastilp-testnet" and "entrypoint" not in service:
            command: Any = get_command(application())
            name, rest = "fastilp", list(service.get("command", ["run"]))
            while hasattr(command, "resolve_command"):
                name, command, rest = command.resolve_command(Context(command), rest)
            command.make_context(name, rest)
            taken += 1
    assert taken == 3 * 5 + 1


def test_what_is_published_is_for_this_machine() -> None:
    for service in services().values():
        for published in service.get("ports", ()):
            assert published.startswith("127.0.0.1:")
