"""The settings' file seeds, the API wins afterwards: restarts, SIGHUP, `fastilp config`."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.client import Api
from tests.node_process import NodeProcess

FILE = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_incoming_token = "alice-token"
ilp_over_http_url = "http://127.0.0.1:1/"
ilp_over_http_outgoing_token = "alice-out"
min_balance = -10
[[accounts]]
username = "bob"
asset_code = "ABC"
asset_scale = 9
[routes]
"example.far" = "bob"
[rates]
ABC = "1.5"
"""


def fastilp(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ILP_")}
    return subprocess.run(
        [sys.executable, "-m", "fastilp", *arguments],
        capture_output=True,
        text=True,
        env={**kept, **environment},
    )


@pytest.fixture
def node(tmp_path: Path) -> NodeProcess:
    return NodeProcess(tmp_path / "node", FILE)


def edit(node: NodeProcess, change: Callable[[str], str]) -> None:
    node.config.write_text(change(node.config.read_text()))


def hang_up(node: NodeProcess) -> None:
    """Returns when the settings were read again."""
    said = node.log().count("settings were read again")
    refused = node.log().count("the settings are wrong")
    node.signal(signal.SIGHUP)
    while (
        node.log().count("settings were read again") == said
        and node.log().count("the settings are wrong") == refused
    ):
        assert node.running().poll() is None, node.log()
        time.sleep(0.02)


def names(api: Api) -> list[str]:
    return [each["username"] for each in api.get("/accounts").json()]


def test_the_file_seeds_and_the_api_wins(node: NodeProcess) -> None:
    with node:
        api = Api(node)
        alice = api.get("/accounts/alice").json()
        assert alice["min_balance"] == -10
        change = {"username": "alice", "asset_code": "ABC", "asset_scale": 9, "min_balance": -20}
        assert api.call("PUT", "/accounts/alice", change).status == 200
        assert api.call("DELETE", "/accounts/bob").status == 200
        assert "example.far" not in api.get("/routes").json()
        assert api.call("PUT", "/rates", {"ABC": "2.5"}).status == 200
        api.create("carol")
        api.close()
        node.signal(signal.SIGTERM)
        node.wait()
        node.start()
        api = Api(node)
        assert names(api) == ["alice", "carol"]
        found = api.get("/accounts/alice").json()
        assert (found["min_balance"], found["id"]) == (-20, alice["id"])
        assert api.get("/rates").body == b'{"ABC":2.5}'
        assert "a static route leads to an account that was closed" in node.log()
        shown = fastilp("config", "diff", "--config", str(node.config), "--json")
        assert shown.returncode == 1, shown
        keys = {each["key"]: (each["file"], each["node"]) for each in json.loads(shown.stdout)}
        assert keys["accounts.alice.min_balance"] == ("-10", "-20")
        assert keys["accounts.alice.ilp_over_http_incoming_token"] == ("(a secret)", None)
        assert keys["accounts.bob"] == ("an account", None)
        assert keys["accounts.carol"] == (None, "an account")
        assert keys['rates."ABC"'] == ("1.5", "2.5")
        assert "alice-token" not in shown.stdout and "alice-out" not in shown.stdout
        api.close()


def test_without_differences(node: NodeProcess) -> None:
    shown = fastilp("config", "diff", "--config", str(node.config))
    assert (shown.returncode, "no node has run there yet" in shown.stderr) == (1, True)
    with node:
        shown = fastilp("config", "diff", "--config", str(node.config))
        assert (shown.returncode, shown.stdout) == (0, ""), shown


def test_sighup_takes_over_what_has_changed(node: NodeProcess) -> None:
    with node:
        api = Api(node)
        api.create("dave")
        alice = api.get("/accounts/alice").json()
        edit(node, lambda text: text.replace("min_balance = -10", "min_balance = -11"))
        edit(node, lambda text: text.replace('username = "bob"', 'username = "erin"'))
        edit(node, lambda text: text.replace('"example.far" = "bob"', '"example.far" = "erin"'))
        edit(node, lambda text: text.replace('ABC = "1.5"', 'ABC = "1.75"'))
        hang_up(node)
        assert api.get("/accounts/alice").json() == {**alice, "min_balance": -11}
        assert api.get("/accounts/alice", token="alice-token").status == 200
        assert names(api) == ["alice", "dave", "erin"]
        assert api.get("/routes").json()["example.far"] == "erin"
        assert api.get("/rates").body == b'{"ABC":1.75}'
        # What is wrong changes nothing.
        edit(node, lambda text: text.replace("min_balance = -11", "min_balance = x"))
        hang_up(node)
        assert api.get("/accounts/alice").json()["min_balance"] == -11
        # bob comes back, with the same id: his balance would be the same.
        edit(node, lambda text: text.replace("min_balance = x", "min_balance = -12"))
        edit(node, lambda text: text.replace("erin", "bob"))
        hang_up(node)
        assert names(api) == ["alice", "bob", "dave"]
        assert api.get("/health").json()["ready"] is True
        api.close()


def test_rotating_the_seed(node: NodeProcess) -> None:
    with node:
        api = Api(node)
        api.create("gina", ilp_over_http_outgoing_token="gina-out", ilp_over_http_url="http://a/")
        api.close()
        busy = fastilp("config", "rotate", "--config", str(node.config))
        assert busy.returncode == 1 and "Traceback" not in busy.stderr
        node.signal(signal.SIGTERM)
        node.wait()
        seed = node.data_dir / "secret_seed"
        before = seed.read_text()
        done = fastilp("config", "rotate", "--config", str(node.config))
        assert (done.returncode, "2 tokens" in done.stdout) == (0, True), done
        after = seed.read_text()
        assert after != before and stat.S_IMODE(seed.stat().st_mode) == 0o600
        node.start()
        api = Api(node)
        # Peers' tokens are what they were.
        assert api.get("/accounts/alice", token="alice-token").status == 200
        shown = fastilp("config", "diff", "--config", str(node.config), "--json")
        assert [each["key"] for each in json.loads(shown.stdout)] == ["accounts.gina"]
        api.close()
        node.signal(signal.SIGTERM)
        node.wait()
        seed.write_text(before)
        node.spawn()
        assert node.wait() == 1
        assert "does not open the tokens in the data directory" in node.log()


def test_a_rotation_that_has_begun_comes_first(node: NodeProcess, tmp_path: Path) -> None:
    """Tokens may be sealed with its seed already, which must not be lost."""
    with node:
        node.signal(signal.SIGTERM)
        node.wait()
    kept, given = node.data_dir / "secret_seed.new", tmp_path / "given"
    kept.write_text("ab" * 32)
    given.write_text("cd" * 32)
    arguments = ("config", "rotate", "--config", str(node.config))
    refused = fastilp(*arguments, "--new-seed-file", str(given))
    assert refused.returncode != 0 and str(kept) in refused.stderr
    assert fastilp(*arguments).returncode == 0
    assert (node.data_dir / "secret_seed").read_text().strip() == "ab" * 32
    # With the seed in the settings the new one stays beside the data, for the operator.
    settings = node.config.read_text()
    seed = "ab" * 32
    for _ in range(2):
        line = f'[node]\nsecret_seed = "{seed}"'
        node.config.write_text(settings.replace("[node]", line))
        assert fastilp(*arguments).returncode == 0
        assert kept.read_text().strip() != seed
        seed = kept.read_text().strip()


def test_import_of_interledger_rs(tmp_path: Path) -> None:
    source = tmp_path / "ilp-node.yml"
    source.write_text(
        """
ilp_address: example.node_a
secret_seed: 8852500887504328225458511465394229327394647958135038836332350604
admin_auth_token: admin-a
database_url: redis://127.0.0.1:6379
http_bind_address: 127.0.0.1:7770
settlement_api_bind_address: 127.0.0.1:7771
default_spsp_account: alice
exchange_rate:
  spread: 0.01
  provider: CoinCap
"""
    )
    target = tmp_path / "node.toml"
    done = fastilp(
        "config", "import", str(source), "-o", str(target),
        ILP_ADDRESS="example.other", ILP_EXCHANGE_RATE__SPREAD="0.002", ILP_CLI_API_AUTH="x",
    )  # fmt: skip
    assert done.returncode == 0, done
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    found = tomllib.loads(target.read_text())
    assert found["node"] == {
        "ilp_address": "example.other",
        "secret_seed": "8852500887504328225458511465394229327394647958135038836332350604",
        "admin_auth_token": "admin-a",
    }
    assert found["listen"] == {"http": "127.0.0.1:7770", "settlement": "127.0.0.1:7771"}
    assert found["exchange_rate"]["spread"] == "0.002"
    assert "database_url is left out" in done.stderr
    assert found["payments"] == {"default_spsp_account": "alice"}
    assert fastilp("run", "--check", "--config", str(target)).returncode == 0
    # Never over a file that is there.
    again = fastilp("config", "import", str(source), "-o", str(target))
    assert again.returncode == 1 and "Traceback" not in again.stderr
    for text, name in (("{", "x.json"), ("a: [", "x.yml"), ("7", "y.yml"), ("", "z.yml")):
        (tmp_path / name).write_text(text)
        wrong = fastilp("config", "import", str(tmp_path / name))
        assert wrong.returncode == 1 and "Traceback" not in wrong.stderr, wrong
    as_json = tmp_path / "node.json"
    as_json.write_text('{"secret_seed": "%s", "admin_auth_token": "a"}' % ("0" * 64))
    assert tomllib.loads(fastilp("config", "import", str(as_json)).stdout)["node"]["secret_seed"]
