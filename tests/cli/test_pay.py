"""`fastilp pay`, `payments` and `receive` with a node: what they print, and how they end."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.client import Api
from tests.cli.command import Done, fastilp
from tests.helpers import until
from tests.node_process import ADMIN_TOKEN, NodeProcess

ALICE, BOB = "alice-password", "bob-password"


class Scene:
    """Alice and Bob on one node."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.api = Api(node)
        self.url = f"http://{node.http}"
        self.bob = f"{self.url}/accounts/bob/spsp"
        self.api.create("alice", ilp_over_http_incoming_token=ALICE)
        self.api.create("bob", asset_scale=6, ilp_over_http_incoming_token=BOB)

    def run(self, *words: str, token: str = ALICE) -> Done:
        return fastilp(*words, "--node", self.url, "--auth", token)

    def spawn(self, *words: str, token: str = ALICE, **more: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "fastilp", *words, "--node", self.url, "--auth", token]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=more.pop("stderr", subprocess.PIPE),
            text=True, **more,
        )  # fmt: skip

    def debt_at_most(self, amount: int | None) -> None:
        limit = None if amount is None else self.balance("alice") - amount
        assert self.api.call("PATCH", "/accounts/alice", {"min_balance": limit}).status == 200

    def balance(self, username: str) -> int:
        return self.node.balances()[username]

    def newest(self) -> dict[str, Any]:
        found = self.api.get("/accounts/alice/payments?limit=1").json()
        return found[0] if found else {"state": None, "sent_amount": 0}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with NodeProcess(tmp_path_factory.mktemp("pay") / "node", "") as node:
        found = Scene(node)
        yield found
        found.api.close()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        node.start()
        node.signal(signal.SIGTERM)
        node.wait()
        node.check_books()


def test_cli_09_pay(scene: Scene) -> None:
    before = scene.balance("bob")
    done = scene.run("pay", "alice", "--amount", "5000", "--to", scene.bob)
    assert (done.status, done.stderr) == (0, "")
    # In a pipe the bytes of Interledger.rs' answer.
    receipt = json.loads(done.stdout)
    assert done.stdout.strip() == json.dumps(receipt, separators=(",", ":"), sort_keys=True)
    assert (receipt["sent_amount"], receipt["delivered_amount"]) == (5_000, 5)
    assert (receipt["destination_asset_scale"], receipt["from"]) == (6, "example.node.alice")
    assert scene.balance("bob") == before + 5
    shown = scene.run("pay", "alice", "--amount", "1000", "--to", scene.bob, "--table")
    assert "delivered_amount" in shown.stdout and not shown.stdout.startswith("{")
    quiet = scene.run("pay", "alice", "--amount", "1000", "--to", scene.bob, "--quiet")
    assert (quiet.status, quiet.stdout, quiet.stderr) == (0, "", "")


def test_what_is_to_arrive(scene: Scene) -> None:
    done = scene.run("pay", "alice", "--deliver", "7", "--slippage", "0.01", "--to", scene.bob)
    receipt = json.loads(done.stdout)
    assert (receipt["sent_amount"], receipt["delivered_amount"]) == (7_000, 7)


def test_orders_that_are_wrong(scene: Scene) -> None:
    for words in ((), ("--amount", "5", "--deliver", "5")):
        done = scene.run("pay", "alice", "--to", scene.bob, *words)
        assert done.status == 1 and "--deliver" in done.stderr
        assert ("not both" in done.stderr) is bool(words)
    done = scene.run("pay", "alice", "--amount", "x", "--to", scene.bob)
    assert done.status == 1 and "source_amount" in done.stderr
    done = scene.run("pay", "alice", "--amount", "5", "--to", scene.bob, token=ADMIN_TOKEN)
    assert done.status == 1 and "401" in done.stderr and "the admin's will not do" in done.stderr
    done = scene.run("pay", "alice", "--amount", "5", "--to", "$")
    assert done.status == 1 and "no payment pointer" in done.stderr and "log" not in done.stderr
    done = scene.run("payments", "show", "alice", "x")
    assert done.status == 1 and done.stderr.endswith("the payments of an account\n")


def test_ctrl_c_stops_and_says_what_was_delivered(scene: Scene) -> None:
    """Alice has room for a part; then the payment waits for more, until it is interrupted."""
    scene.debt_at_most(60_000)
    before = scene.balance("bob")
    process = scene.spawn("pay", "alice", "--amount", "100000", "--to", scene.bob)
    until(lambda: scene.newest()["sent_amount"] >= 30_000)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    payment = scene.newest()
    assert payment["state"] == "cancelled" and json.loads(output) == payment
    delivered = scene.balance("bob") - before
    assert payment["delivered_amount"] == delivered == payment["sent_amount"] // 1_000 > 0
    assert "the payment was cancelled; sent 0.0000" in errors
    assert f"delivered 0.{delivered:06} ABC" in errors
    # The line that it ends with is the one that goes on.
    words = errors.partition("`fastilp ")[2].partition("`")[0].split()
    assert words == ["payments", "resume", "alice", payment["id"]]
    scene.debt_at_most(None)
    done = scene.run(*words)
    assert (done.status, json.loads(done.stdout)["delivered_amount"]) == (0, 100)
    assert scene.balance("bob") == before + 100


def test_without_credit_it_says_so(scene: Scene) -> None:
    """A thousand units of Alice's are one of Bob's; less passes, and nothing of it arrives."""
    before = scene.balance("bob")
    scene.debt_at_most(30)
    done = scene.run("pay", "alice", "--amount", "5000000", "--to", scene.bob)
    assert done.status == 1 and "nothing gets through: T04 " in done.stderr
    assert "payments resume" not in done.stderr
    scene.debt_at_most(None)
    assert scene.balance("bob") == before


def test_ctrl_c_while_the_receiver_is_asked(scene: Scene) -> None:
    """Its node takes its time to say where to pay to; then the payment is stopped."""
    before = scene.balance("bob")
    scene.debt_at_most(60_000)
    with socket.create_server(("127.0.0.1", 0)) as slow:
        pointer = f"http://127.0.0.1:{slow.getsockname()[1]}/pay"
        process = scene.spawn("pay", "alice", "--amount", "100000", "--to", pointer)
        asked, _ = slow.accept()
        with asked:
            asked.recv(65_536)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert "stopping" in process.stderr.readline()
            with urllib.request.urlopen(scene.bob, timeout=30) as answer:
                body = answer.read()
            asked.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/spsp4+json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            _, errors = process.communicate(timeout=60)
    scene.debt_at_most(None)
    payment = scene.newest()
    assert (process.returncode, payment["state"]) == (130, "cancelled"), errors
    assert "the payment was cancelled; sent " in errors
    assert payment["delivered_amount"] == scene.balance("bob") - before


def test_a_payment_that_fails(scene: Scene) -> None:
    """The account is gone before all of it is sent."""
    scene.api.create("dora", ilp_over_http_incoming_token="dora-password", min_balance=-50_000)
    words = ("pay", "dora", "--amount", "100000", "--to", scene.bob)
    process = scene.spawn(*words, token="dora-password")
    until(lambda: scene.balance("dora") <= -20_000)
    assert scene.api.call("DELETE", "/accounts/dora").status == 200
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (1, 130) and "Traceback" not in errors


def test_on_a_terminal_there_is_a_bar(scene: Scene) -> None:
    scene.debt_at_most(60_000)
    ours, its = pty.openpty()
    process = scene.spawn(
        "pay", "alice", "--amount", "100000", "--to", scene.bob, stderr=its,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
    )  # fmt: skip
    os.close(its)
    seen = b""
    while b"delivered" not in seen or b"/s" not in seen:
        seen += os.read(ours, 65_536)
    assert b"paying" in seen and b"%" in seen and b"ABC sent" in seen
    scene.debt_at_most(None)
    output, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0 and json.loads(output)["sent_amount"] == 100_000


def test_lists_and_single_payments(scene: Scene) -> None:
    scene.run("pay", "alice", "--amount", "1000", "--to", scene.bob)
    found = json.loads(scene.run("payments", "list", "alice", "--limit", "2").stdout)
    assert len(found) == 2
    older = json.loads(scene.run("payments", "list", "alice", "--after", found[0]["id"]).stdout)
    assert older[0] == found[1]
    table = scene.run("payments", "list", "alice", "--table").stdout
    assert found[0]["id"] in table and "completed" in table
    assert json.loads(scene.run("payments", "show", "alice", found[0]["id"]).stdout) == found[0]
    ended = scene.run("payments", "cancel", "alice", found[0]["id"])
    assert json.loads(ended.stdout)["state"] == "completed"
    assert scene.run("payments", "list", "bob", "--table", token=BOB).stdout.strip() == (
        "no payments yet"
    )
    again = scene.run("payments", "resume", "alice", found[0]["id"])
    assert again.status == 1 and "nothing is left" in again.stderr


@pytest.mark.parametrize(
    ("words", "token"),
    [
        (("receive", "bob"), BOB),
        (("receive",), ADMIN_TOKEN),
        (("accounts", "incoming-payments", "bob"), BOB),
        (("payments", "incoming"), ADMIN_TOKEN),
    ],
    ids=["receive", "receive-all", "CLI-07", "CLI-08"],
)
def test_payments_are_printed_as_they_come(
    scene: Scene, words: tuple[str, ...], token: str
) -> None:
    process = scene.spawn(*words, token=token)
    assert process.stdout is not None
    # There is nothing to see of when it listens: so it gets payments until it has one.
    lines: list[str] = []
    while not lines:
        assert scene.run("pay", "alice", "--amount", "1000", "--to", scene.bob).status == 0
        if _has_more(process):
            lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    message = json.loads(lines[0])
    message = message.get("Ok", message)
    assert (message["to_username"], message["from_username"]) == ("bob", "alice")


def _has_more(process: "subprocess.Popen[str]") -> bool:
    return bool(select.select([process.stdout], [], [], 0.1)[0])


def test_receive_on_a_terminal(scene: Scene) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "fastilp", "receive", "bob", "--node", scene.url]
    process = subprocess.Popen([*command, "--auth", BOB], stdout=its, stderr=its)
    os.close(its)
    seen = b""
    while b"payment ended" not in seen:
        seen += os.read(ours, 65_536) if b"waiting" not in seen else b""
        scene.run("pay", "alice", "--amount", "3000", "--to", scene.bob)
        seen += os.read(ours, 65_536)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    os.close(ours)
    assert b"bob: 0.000003 ABC from alice, 0.000003 ABC of this payment so far" in seen
