"""Files for containers and services: they fit our settings, and the nodes they describe pay each
other. No container is made here."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from fastilp import config
from fastilp._core.packet import Fulfill, decode
from fastilp.config.models import ListenConfig, NodeConfig, Settings
from fastilp.control.values import split_host_port
from tests.cli.command import fastilp
from tests.helpers import until
from tests.node_process import NodeProcess
from tests.test_node import prepare

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
UNIT = ROOT / "deploy" / "fastilp.service"
CONFIG_PATH = "/etc/fastilp/node.toml"
NODES = ("node-a", "node-b", "node-c")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return found


def settings_of(node: str) -> Settings:
    return config.load(DOCKER / f"{node}.toml")


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: instruction and arguments, continued lines joined, comments left out."""
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined if line.strip()]


def listening_ports(listen: ListenConfig) -> set[int]:
    addresses = (listen.http, listen.admin, listen.batch)
    return {split_host_port(address)[1] for address in addresses if address}


# --- Containers -----------------------------------------------------------------------------------


def test_compose_mounts_files_that_are_there() -> None:
    services = compose()["services"]
    assert set(services) == {*NODES, "prometheus"}
    volumes = set(compose()["volumes"])
    for service in services.values():
        for mount in service["volumes"]:
            source, target = mount.split(":")[:2]
            assert target.startswith("/")
            assert (DOCKER / source).is_file() if source.startswith(".") else source in volumes
    for node in NODES:
        assert f"./{node}.toml:{CONFIG_PATH}:ro" in services[node]["volumes"]
        build = services[node]["build"]
        assert (DOCKER / build["context"] / build["dockerfile"]).samefile(DOCKER / "Dockerfile")
        assert (DOCKER / build["context"]).samefile(ROOT)
        assert services[node]["read_only"] and services[node]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("node", NODES)
def test_compose_publishes_ports_that_are_served(node: str) -> None:
    settings = settings_of(node)
    for published in compose()["services"][node]["ports"]:
        host, _, port = published.rpartition(":")
        # The admin API with tokens that anybody can read here.
        assert host.startswith("127.0.0.1:")
        assert int(port) in listening_ports(settings.listen)
    seconds = int(compose()["services"][node]["stop_grace_period"].removesuffix("s"))
    assert seconds * 1_000 > settings.node.drain_max_ms
    # Inside a container only an address that is not its loopback can be reached.
    assert settings.listen.http.startswith("0.0.0.0:")


def test_nodes_of_compose_know_each_other() -> None:
    nodes = {name: settings_of(name) for name in NODES}
    dialled = 0
    for settings in nodes.values():
        for account in settings.accounts:
            url = account.ilp_over_batch_url or account.ilp_over_btp_url
            if url is None:
                continue
            dialled += 1
            parts = urlsplit(url)
            there = nodes[str(parts.hostname)]
            assert parts.port in listening_ports(there.listen)
            name = parts.username or parts.path.split("/")[2]
            [peer] = [each for each in there.accounts if each.username == name]
            assert (peer.asset_code, peer.asset_scale) == (account.asset_code, account.asset_scale)
            assert peer.ilp_address == settings.node.ilp_address
            assert account.ilp_address == there.node.ilp_address
    assert dialled == 2
    assets = {each.asset_code for settings in nodes.values() for each in settings.accounts}
    assert len(assets) == 2 and assets == set(nodes["node-b"].rates)


def scraped() -> tuple[str, dict[str, int]]:
    """The path, and the port of each node, of what Prometheus is told to ask."""
    scraping = yaml.safe_load((DOCKER / "prometheus.yaml").read_text())
    [job] = scraping["scrape_configs"]
    # No token of anybody's.
    assert set(job) == {"job_name", "metrics_path", "static_configs"}
    [targets] = [each["targets"] for each in job["static_configs"]]
    return job["metrics_path"], dict(split_host_port(target) for target in targets)


def test_prometheus_scrapes_the_nodes() -> None:
    _, ports = scraped()
    assert set(ports) == set(NODES)
    for name, port in ports.items():
        settings = settings_of(name)
        assert settings.prometheus.bind_address == f"0.0.0.0:{port}"
        # Who has no token has no way in from outside.
        published = compose()["services"][name]["ports"]
        assert not any(each.endswith(f":{port}") for each in published)


def test_image_is_that_of_an_ordinary_user() -> None:
    found = instructions()
    names = [name for name, _ in found]
    stages = [index for index, name in enumerate(names) if name == "FROM"]
    assert len(stages) == 2
    last = found[stages[1] :]
    arguments = dict(last)
    assert arguments["USER"] == "fastilp"
    # The compiler has stayed behind, and what runs was copied from where it was built.
    installs = [text for _, text in last if "apt-get" in text]
    assert all("gcc" not in text and 'if [ -n "$PACKAGES" ]' in text for text in installs)
    assert ("ARG", 'PACKAGES=""') in last
    assert f"AS {arguments['COPY'].split()[0].removeprefix('--from=')}" in found[stages[0]][1]
    assert json.loads(arguments["ENTRYPOINT"]) == ["fastilp"]
    assert json.loads(arguments["CMD"]) == ["run", "--config", CONFIG_PATH]
    default = split_host_port(ListenConfig().http)[1]
    exposed = {int(port) for port in arguments["EXPOSE"].split()}
    assert default in exposed
    for node in NODES:
        assert listening_ports(settings_of(node).listen) | {scraped()[1][node]} <= exposed


def variables_in(text: str) -> dict[str, str]:
    return dict(re.findall(r"\b(FASTILP_\w+)=(\S+)", text))


def test_variables_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    dockerfile = variables_in((DOCKER / "Dockerfile").read_text())
    unit = variables_in(re.sub(r"^#.*$", "", UNIT.read_text(), flags=re.MULTILINE))
    # Steers the build; not a setting.
    assert dockerfile.pop("FASTILP_LMDB") == "bundled"
    assert dockerfile.keys() == unit.keys() and dockerfile
    for name, value in dockerfile.items():
        monkeypatch.setenv(name, value)
    settings = config.load(DOCKER / "node-a.toml")
    assert settings.node.data_dir == "/var/lib/fastilp"
    assert config.unknown_variables() == []


def test_image_leaves_out_what_is_built_here() -> None:
    kept = {
        line.removeprefix("!")
        for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for name in kept:
        assert (ROOT / name).exists(), name
    # What setup.py and the metadata name.
    assert {"fastilp", "tools", "setup.py", "pyproject.toml", "README.md", "LICENSE"} <= kept


# --- The nodes of the composition, here -----------------------------------------------------------


@contextlib.contextmanager
def started(
    directory: Path, name: str, monkeypatch: pytest.MonkeyPatch, **variables: str
) -> Iterator[NodeProcess]:
    """The node with its own file, on ports that are free."""
    anywhere = dict.fromkeys(
        ("FASTILP_LISTEN__HTTP", "FASTILP_PROMETHEUS__BIND_ADDRESS"), "127.0.0.1:0"
    )
    for key, value in {**anywhere, **variables}.items():
        monkeypatch.setenv(key, value)
    node = NodeProcess(directory / name, "")
    node.config = DOCKER / f"{name}.toml"
    node.start("--data-dir", str(node.data_dir))
    for key in variables:
        monkeypatch.delenv(key)
    try:
        yield node
    finally:
        node.kill()


def links_up(node: NodeProcess, token: str) -> bool:
    accounts = node.get("/status", token)["accounts"]
    states = [account["links"] for account in accounts]
    return all(up for links in states for kind, up in links.items() if kind in ("batch", "btp"))


def test_the_three_nodes_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack:

        def node(name: str, **variables: str) -> NodeProcess:
            return stack.enter_context(started(tmp_path, name, monkeypatch, **variables))

        hub = node("node-b", FASTILP_LISTEN__BATCH="127.0.0.1:0")
        url = f"ilp+tcp://node_a@{hub.batch}"
        a = node("node-a", FASTILP_ACCOUNTS__HUB__ILP_OVER_BATCH_URL=url)
        url = f"btp+ws://{hub.http}/accounts/node_c/ilp/btp"
        c = node("node-c", FASTILP_ACCOUNTS__HUB__ILP_OVER_BTP_URL=url)
        until(lambda: links_up(hub, "admin-b"), hub.log)
        amount = 1_000_000_000
        packet = prepare("test.hub.node_c.loop", amount)
        answer = decode(a.request("/accounts/alice/ilp", "alice-password", packet))
        assert isinstance(answer, Fulfill)
        balances = {}
        for name, each in (("a", a), ("b", hub), ("c", c)):
            accounts = each.get("/status", f"admin-{name}")["accounts"]
            balances[name] = {one["username"]: int(one["balance"]) for one in accounts}
        # 1 USD less 0.2 % at 1.25 USD per EUR, in millionths.
        euro = int(Decimal(amount) * Decimal("0.998") / Decimal("1.25") / 1_000)
        assert balances == {
            "a": {"alice": -amount, "hub": amount},
            "b": {"node_a": -amount, "node_c": euro},
            "c": {"hub": -euro, "bob": 0, "loop": euro},
        }
        assert links_up(a, "admin-a") and links_up(c, "admin-c")
        # What Prometheus gets, who is told no token.
        path, _ = scraped()
        for each in (a, hub, c):
            url = f"http://{each.ready()['prometheus']}{path}"
            with urllib.request.urlopen(url, timeout=30) as scrape:
                assert scrape.status == 200
                text = scrape.read().decode()
            # The payment, and what the nodes tell each other about routes.
            assert re.search(r'^fastilp_packets_total{outcome="fulfilled"} [1-9]', text, re.M)


# --- The service ----------------------------------------------------------------------------------


def unit_settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_unit_gives_a_drain_its_time() -> None:
    [seconds] = unit_settings()["TimeoutStopSec"]
    assert int(seconds) * 1_000 > NodeConfig().drain_max_ms
    assert unit_settings()["KillSignal"] == ["SIGTERM"]
    assert unit_settings()["User"] == ["fastilp"]


def test_unit_reloads_as_a_node_does() -> None:
    """`kill -HUP` has the settings read again (tests/api/test_config_and_api.py)."""
    assert unit_settings()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_commands_of_the_unit_are_ours(tmp_path: Path) -> None:
    for setting, more in (("ExecStartPre", ("--check",)), ("ExecStart", ("--ready-file",))):
        [command] = unit_settings()[setting]
        program, run, *flags = command.split()
        assert program.endswith("/fastilp") and run == "run"
        assert flags[flags.index("--config") + 1] == CONFIG_PATH
        for flag in more:
            assert flag in flags
        shown = fastilp("run", "--help").stdout
        assert all(flag in shown for flag in flags if flag.startswith("--"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    # It looks for the program and the user, too.
    text = UNIT.read_text().replace("/opt/fastilp/bin/fastilp", sys.executable)
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
