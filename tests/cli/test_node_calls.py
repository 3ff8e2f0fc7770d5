"""ilp-cli's calls byte for byte, and our commands, against a running node; accounts of scenario
EX-01 are made with its own commands."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastilp._core.packet import Fulfill, decode
from tests.cli.command import Done, fastilp
from tests.cli.ilp_cli import ADMIN, CALLS
from tests.node_process import ADMIN_TOKEN, NodeProcess
from tests.test_node import prepare


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("node") / "node", "") as process:
        yield process


def exchange(node: NodeProcess, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer to these very bytes."""
    host, port = node.http.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = answer.readline()
                assert line, head
                head += line
            return int(head.split()[1]), head, body_of(answer, head.lower())


def body_of(answer: "socket.SocketIO", head: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head:
        return answer.read(int(head.partition(b"content-length:")[2].split()[0])) or b""
    body = b""
    while size := int(answer.readline(), 16):
        body += answer.read(size) or b""
        answer.readline()
    return body


@pytest.fixture(scope="module")
def replayed(node: NodeProcess) -> dict[str, tuple[int, bytes]]:
    """What each row was answered, in the order of the table."""
    assert ADMIN == ADMIN_TOKEN
    answers = {}
    for call in CALLS:
        status, _, body = exchange(node, call.request(node.http))
        answers[call.row] = (status, body)
    return answers


@pytest.mark.parametrize("row", [call.row for call in CALLS])
def test_ilp_cli(replayed: dict[str, tuple[int, bytes]], row: str) -> None:
    status, body = replayed[row]
    assert status == 200, body


def test_what_the_calls_did(replayed: dict[str, tuple[int, bytes]]) -> None:
    def body(row: str) -> bytes:
        return replayed[row][1]

    bob = json.loads(body("CLI-01-all"))
    assert (bob["min_balance"], bob["settle_to"], bob["round_trip_time"]) == (
        -1_000_000_000, -1000, 600,
    )  # fmt: skip
    assert bob["ilp_over_http_incoming_token"] == "SECRET"
    assert json.loads(body("CLI-02"))["min_balance"] == -5
    assert json.loads(body("CLI-03-user"))["settle_to"] == 1
    assert [each["username"] for each in json.loads(body("CLI-05-list"))] == ["alice", "bob"]
    assert body("CLI-06") == b'{"asset_code":"ABC","balance":0.0}'
    assert json.loads(body("CLI-10-set-all")) == {"ABC": 1.0, "XYZ": 2.01}
    assert body("CLI-11-set") == b"bob"
    assert json.loads(body("CLI-11-set-all")) == {"": "bob", "example.a": "alice"}
    assert body("CLI-14") == b"Logging level changed to: debug"
    assert json.loads(body("CLI-04")) == bob


# --- Scenario EX-01, without the payment ----------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    directory = tmp_path_factory.mktemp("ex01")
    with (
        NodeProcess(directory / "a", "", "example.node_a") as a,
        NodeProcess(directory / "b", "", "example.node_b") as b,
    ):
        yield a, b


def command(node: NodeProcess, text: str) -> Done:
    """One of the scenario's commands; its `ilp-cli` is our `fastilp`."""
    return fastilp("--node", f"http://{node.http}", *text.split())


def test_ex_01_accounts(pair: tuple[NodeProcess, NodeProcess]) -> None:
    a, b = pair
    for node, text in (
        (a, "accounts create alice --auth admin --ilp-over-http-incoming-token alice-password"),
        (b, "accounts create bob --auth admin"),
        (b, "accounts create node_a --auth admin --ilp-over-http-incoming-token node_a-password"),
        (
            a,
            "accounts create node_b --auth admin --ilp-address example.node_b"
            " --ilp-over-http-outgoing-token node_a-password"
            f" --ilp-over-http-url http://{b.http}/accounts/node_a/ilp",
        ),
    ):
        done = command(node, f"{text} --asset-code ABC --asset-scale 9")
        assert done.status == 0, done.stderr
    # A payee for the packet that follows; the scenario's own is STREAM's.
    loop = "accounts create loop --auth admin --asset-code ABC --asset-scale 9 --endpoint loopback"
    assert command(b, loop).status == 0
    balances = {
        (a, "alice"): "alice-password",
        (b, "node_a"): "node_a-password",
        (a, "node_b"): "admin",
        (b, "loop"): "admin",
    }
    packet = prepare("example.node_b.loop", 500)
    answer = decode(a.request("/accounts/alice/ilp", "alice-password", packet))
    assert isinstance(answer, Fulfill)
    shown = {
        key[1]: command(key[0], f"accounts balance {key[1]} --auth {token}").stdout
        for key, token in balances.items()
    }
    # The texts of the scenario, with `loop` in the place of its `bob`.
    assert shown == {
        "alice": '{"asset_code":"ABC","balance":-5e-7}\n',
        "node_a": '{"asset_code":"ABC","balance":-5e-7}\n',
        "node_b": '{"asset_code":"ABC","balance":5e-7}\n',
        "loop": '{"asset_code":"ABC","balance":5e-7}\n',
    }


def test_refusals_of_a_node(pair: tuple[NodeProcess, NodeProcess]) -> None:
    a, _ = pair
    command(a, "accounts create twice --auth admin --asset-code ABC --asset-scale 9")
    done = command(a, "accounts create twice --auth admin --asset-code ABC --asset-scale 9")
    assert done.status == 1 and "409" in done.stderr and "`update`" in done.stderr
    done = command(a, "accounts info nobody --auth admin")
    assert done.status == 1 and "`nobody` was not found; `fastilp accounts list`" in done.stderr
    done = command(a, "accounts list --auth wrong")
    assert done.status == 1 and "neither the node's nor the account's" in done.stderr
    done = command(a, "accounts create x! --auth admin --asset-code ABC --asset-scale 9")
    assert done.status == 1 and "username" in done.stderr
    # STREAM is not here yet: the answer is a refusal like any other.
    done = command(a, "pay alice --auth alice-password --amount 5 --to $example")
    assert done.status == 1 and done.stderr.count("\n") == 1


def test_commands_of_ours(pair: tuple[NodeProcess, NodeProcess], tmp_path: Path) -> None:
    a, _ = pair
    command(a, "accounts create ours --auth admin --asset-code ABC --asset-scale 9")
    assert json.loads(command(a, "health").stdout)["ready"] is True
    status = json.loads(command(a, "accounts status ours --auth admin").stdout)
    assert status["balance"] == "0" and status["links"] == {}
    page = json.loads(command(a, "accounts list --auth admin --limit 1 --after o").stdout)
    assert [each["username"] for each in page] == ["ours"]
    assert "example.node_a.ours" in command(a, "accounts list --auth admin --table").stdout


def test_events(pair: tuple[NodeProcess, NodeProcess]) -> None:
    a, _ = pair
    token = "eve-token"
    account = "accounts create eve --auth admin --asset-code ABC --asset-scale 9"
    command(a, f"{account} --ilp-over-http-incoming-token {token}")
    loop = "accounts create echo --auth admin --asset-code ABC --asset-scale 9 --endpoint loopback"
    assert command(a, loop).status == 0
    words = ("accounts", "events", "eve", "--node", f"http://{a.http}", "--auth", token)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastilp", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    # The first events tell how things are.
    assert process.stdout.readline().startswith("link ")
    assert json.loads(process.stdout.readline().removeprefix("balance "))["balance"] == "0"
    assert isinstance(decode(a.send("eve", prepare("example.node_a.echo", 3))), Fulfill)
    assert json.loads(process.stdout.readline().removeprefix("balance "))["balance"] == "-3"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


# --- One limit ------------------------------------------------------------------------------------


def test_one_limit_is_changed(node: NodeProcess) -> None:
    create = "accounts create limits --auth admin --asset-code ABC --asset-scale 9"
    assert command(node, f"{create} --min-balance -5 --max-balance 5 --spread 0.1").status == 0
    before = node.get("/accounts/limits")
    change = "accounts change limits --auth admin"
    done = command(node, f"{change} --min-balance -2000 --unset max-balance --unset=--spread")
    assert (done.status, done.stderr) == (0, "")
    after = {**before, "min_balance": -2000, "max_balance": None, "spread": None}
    assert json.loads(done.stdout) == node.get("/accounts/limits") == after
    for wrong, said in (
        ("", "nothing to change"),
        ("--unset asset-scale", "there is nothing to unset"),
        ("--unset min-balance --min-balance 5", "which of them?"),
        ("--max-balance -3000", "min_balance: must not be above max_balance\n"),
        ("--unset=\x1b[2J", "nothing to unset"),
    ):
        done = command(node, f"{change} {wrong}")
        assert done.status == 1 and said in done.stderr, done.stderr
        assert "\x1b" not in done.stderr
    assert node.get("/accounts/limits") == after


def test_the_holders_command_says_who_changes_limits(node: NodeProcess) -> None:
    done = command(node, "accounts update-settings limits --auth admin --min-balance -7")
    assert done.status == 1
    assert "`fastilp accounts change limits --min-balance \u2026`" in done.stderr
    assert "min-balance" not in command(node, "accounts update-settings --help").stdout
    assert "not given is unset, limits" in command(node, "accounts update --help").stdout


def test_a_field_is_named_once(node: NodeProcess) -> None:
    done = command(node, "accounts create x --auth admin --asset-code ABC --asset-scale 9")
    assert done.stderr.endswith("username: must be 2 to 32 letters, digits or underscores\n")
