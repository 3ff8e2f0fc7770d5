"""Policies in a whole node: a rule from a file, a circuit breaker, limits of the settings."""

import signal
import time
from hashlib import sha256
from pathlib import Path

import pytest

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp.config import load
from fastilp.config.models import ServiceConfig
from fastilp.control.services import Services
from fastilp.errors import ConfigError
from fastilp.node.services import add_services
from tests.api.client import Api
from tests.helpers import free_port, wait_until
from tests.node_process import NodeProcess
from tests.small_switch import SmallSwitch

RULE = """
from fastilp.control.services import Service

class Small(Service):
    def __init__(self, most):
        self.most = most

    def handle(self, account, prepare):
        return prepare if prepare.amount <= self.most else self.reject("F99", account.name)

class Nothing:
    pass
"""
ACCOUNTS = """
[circuit_breaker]
window = 4
open_ms = 60000
[[services]]
service = "rule.py:Small"
accounts = ["alice"]
options = {{ most = 10 }}
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_incoming_token = "alice-token"
allowed_destinations = ["example.node.loop", "example.node.gone"]
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
max_packet_amount_out = 7
[[accounts]]
username = "gone"
asset_code = "ABC"
asset_scale = 9
circuit_breaker = true
ilp_over_http_url = "http://127.0.0.1:{port}/"
"""


def pay(
    node: NodeProcess, destination: str, amount: int, username: str = "alice"
) -> tuple[str, str]:
    """Code and message of the Reject; empty for a Fulfill."""
    prepare = Prepare(
        amount=amount,
        expires_at=int((time.time() + 20) * 1_000),
        execution_condition=sha256(bytes(32)).digest(),
        destination=destination,
    )
    answer = decode(node.send(username, bytes(prepare)))
    assert isinstance(answer, Fulfill | Reject)
    return (answer.code, answer.message) if isinstance(answer, Reject) else ("", "")


def test_policies_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "rule.py").write_text(RULE)
    with NodeProcess(tmp_path / "node", ACCOUNTS.format(port=free_port())) as node:
        assert pay(node, "example.node.loop", 7) == ("", "")
        assert pay(node, "example.node.loop", 11) == ("F99", "alice")
        assert pay(node, "example.node.loop", 8)[0] == "F08"
        assert pay(node, "example.node.elsewhere", 1)[0] == "F02"
        assert {pay(node, "example.node.gone", 1)[1] for _ in range(4)} == {
            "peer cannot be reached"
        }
        wait_until(lambda: pay(node, "example.node.gone", 1)[1], "next hop is not connected")
        statuses = node.get("/status")["statuses"]
        assert statuses["amount_out_too_large"] == statuses["destination_not_allowed"] == 1
        assert node.get("/accounts/alice/balance")["balance"] == -7e-9
        assert any("keeps failing" in event["message"] for event in node.events())


def test_rule_for_an_account_that_is_closed_and_comes_back(tmp_path: Path) -> None:
    directory = tmp_path / "node"
    directory.mkdir()
    (directory / "rule.py").write_text(RULE)
    settings = ACCOUNTS.replace('accounts = ["alice"]', 'accounts = ["alice", "carol"]')
    with NodeProcess(directory, settings.format(port=free_port())) as node:
        assert absent(node) == ["carol"]
        api = Api(node)
        assert api.call("DELETE", "/accounts/alice").status == 200
        api.close()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        # Closed over the API is no reason not to start, and said aloud.
        node.start()
        assert absent(node) == ["alice", "carol"]
        api = Api(node)
        for name in ("alice", "carol"):
            api.create(name, ilp_over_http_incoming_token=f"{name}-token")
            assert pay(node, "example.node.loop", 11, name) == ("F99", name)
            assert pay(node, "example.node.loop", 7, name) == ("", "")
        api.close()
        node.check_sums()


def absent(node: NodeProcess) -> list[str]:
    """The accounts of rules that the node says it does not have."""
    return [
        event["account"]
        for event in node.events()
        if event["message"].startswith("a rule is for an account that is not there")
    ]


@pytest.mark.parametrize(
    ("service", "options", "words"),
    [
        ("rule.py:Missing", {}, "Missing"),
        ("rule.py:Small", {}, "most"),
        ("rule.py:Nothing", {}, "no fastilp.control.services.Service"),
        ("absent.py:Small", {}, "FileNotFoundError"),
        ("no_such_module:Small", {}, "ModuleNotFoundError"),
    ],
)
def test_rule_that_cannot_be_made_stops_the_start(
    tmp_path: Path, service: str, options: dict[str, int], words: str
) -> None:
    (tmp_path / "rule.py").write_text(RULE)
    node = SmallSwitch()
    if service.endswith(".py:Small") or ".py:" in service:
        service = f"{tmp_path}/{service}"
    config = ServiceConfig(service=service, accounts=("nobody",), options=options)
    with pytest.raises(ConfigError, match=words) as caught:
        add_services(Services(node.switch), (config,))
    assert caught.value.key.startswith("services.1")


def test_file_of_a_rule_is_beside_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        '[[services]]\nservice = "rule.py:Small"\nprefixes = ["g.a"]\n'
        '[[services]]\nservice = "rules.module:Small"\nprefixes = ["g.a"]\n'
    )
    names = [each.service for each in load(path).services]
    assert names == [f"{tmp_path}/rule.py:Small", "rules.module:Small"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('service = "rule.py"\nprefixes = ["g.a"]', "file and class"),
        ('service = "rule.py:Small"', "decides about nothing"),
        ('service = "rule.py:Small"\nprefixes = ["g..a"]', "services.1.prefixes.0.*ILP address"),
        ('service = "rule.py:Small"\nprefix = ["g.a"]', "did you mean 'prefixes'"),
    ],
)
def test_mistakes_in_services(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "node.toml"
    path.write_text(f"[[services]]\n{text}\n")
    with pytest.raises(ConfigError, match=words):
        load(path)
