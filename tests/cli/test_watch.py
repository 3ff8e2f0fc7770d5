"""`fastilp watch`, and the arithmetic of it."""

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fastilp._core.packet import Fulfill, Prepare, decode
from fastilp.cli.activity import activity, lines
from tests.cli.command import fastilp
from tests.node_process import ADMIN_TOKEN, NodeProcess

WAIT_SECONDS = 60.0
CONFIG = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_incoming_token = "alice-token"
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
"""


def account(name: str, paid: int, got: int, pending: int = 0) -> dict[str, Any]:
    return {
        "username": name,
        "asset_code": "ABC",
        "asset_scale": 2,
        "balance": str(got - paid - pending),
        "counters": {
            "debits_posted": str(paid),
            "credits_posted": str(got),
            "debits_pending": str(pending),
            "credits_pending": "0",
        },
        "links": {"batch": False, "btp": False, "http-in": True},
        "links_awaited": ["batch"],
    }


def status(statuses: dict[str, int], *accounts: dict[str, Any]) -> dict[str, Any]:
    return {
        "ilp_address": "g.hub",
        "version": "1",
        "in_flight": 3,
        "statuses": statuses,
        "accounts": list(accounts),
    }


BEFORE = status({"forwarded": 100, "fulfilled": 90, "unreachable": 5}, account("alice", 100, 0))
AFTER = status(
    {"forwarded": 300, "fulfilled": 280, "unreachable": 5, "timed_out": 4},
    account("alice", 300, 0, 50),
    account("bob", 0, 900),
)


def test_rates_changes_and_order() -> None:
    found = activity(BEFORE, AFTER, 2.0)
    assert (found.fulfilled_per_second, found.rejected_per_second) == (95.0, 2.0)
    assert [each["name"] for each in found.outcomes] == ["timed_out", "unreachable"]
    assert [each["username"] for each in found.accounts] == ["bob", "alice"]
    assert [each["change"] for each in found.accounts] == ["900", "-250"]


def test_a_node_that_was_restarted_counts_anew() -> None:
    found = activity(AFTER, status({"fulfilled": 10}, account("alice", 300, 0)), 1.0)
    assert found.fulfilled_per_second == 10.0
    assert found.accounts[0]["moved"] == "0"


def test_lines() -> None:
    shown = lines(activity(BEFORE, AFTER, 2.0), 1)
    text = "\n".join(shown)
    assert "g.hub  3 in flight  95 fulfilled/s  2 rejected/s" in shown[0]
    assert "bob" in text and "+9.00" in text
    assert "batch waits for the peer, btp DOWN, http-in" in text
    assert "and 1 more accounts" in text and "alice" not in text
    empty = status({})
    assert "no rejects" in lines(activity(empty, empty, 1.0))[-1]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory: Path = tmp_path_factory.mktemp("watched")
    with NodeProcess(directory, CONFIG) as process:
        yield process


def pay(node: NodeProcess, destination: str) -> Any:
    packet = Prepare(
        amount=10,
        expires_at=int(time.time() * 1_000) + 20_000,
        execution_condition=hashlib.sha256(bytes(32)).digest(),
        destination=destination,
    )
    return decode(node.send("alice", bytes(packet)))


def test_watches_a_node(node: NodeProcess) -> None:
    """One look at a time, while packets flow; the change is what they moved."""
    where = ("--node", f"http://{node.http}", "--auth", ADMIN_TOKEN)
    command = [sys.executable, "-m", "fastilp", "watch", *where, "--json", "--interval", "0.2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline())]
    assert isinstance(pay(node, "example.node.loop"), Fulfill)
    while sum(int(each["change"]) for look in looks for each in look["accounts"]
              if each["username"] == "loop") == 0:  # fmt: skip
        looks.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    busiest = looks[-1]["accounts"]
    moved = {each["username"]: int(each["change"]) for each in busiest}
    assert moved["loop"] > 0 and moved["alice"] == -moved["loop"]
    assert looks[-1]["fulfilled_per_second"] > 0


class Screen:
    """A terminal, and what was written to it."""

    def __init__(self) -> None:
        self._leader, self.terminal = pty.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self._content = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # Ends with an error once nobody has the terminal open any more.
        with contextlib.suppress(OSError):
            while piece := os.read(self._leader, 65_536):
                self._content += piece

    def wait_for(self, text: str) -> None:
        """Until it is written anew."""
        start, end = len(self._content), time.monotonic() + WAIT_SECONDS
        while text.encode() not in self._content[start:]:
            assert time.monotonic() < end, self._content[-3_000:]
            time.sleep(0.02)

    def close(self) -> None:
        os.close(self.terminal)
        self._reader.join()
        os.close(self._leader)


def test_a_terminal_is_redrawn_and_outlives_the_node(tmp_path: Path) -> None:
    screen = Screen()
    with NodeProcess(tmp_path / "node", CONFIG) as node:
        where = ("--node", f"http://{node.http}", "--auth", ADMIN_TOKEN, "--interval", "0.1")
        process = subprocess.Popen(
            [sys.executable, "-m", "fastilp", "watch", *where],
            stdin=screen.terminal, stdout=screen.terminal, stderr=screen.terminal,
        )  # fmt: skip
        screen.wait_for("loopback")
        pay(node, "example.nowhere")
        screen.wait_for("unreachable")
        port = node.http
        node.kill()
        screen.wait_for("no node answers")
        node.start("--http", port)
        screen.wait_for("loopback")
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0
    screen.close()


def test_once(node: NodeProcess) -> None:
    pay(node, "example.nowhere")
    where = ("--node", f"http://{node.http}", "--interval", "0.1", "--once")
    done = fastilp("watch", *where, "--auth", ADMIN_TOKEN)
    assert done.status == 0 and "alice" in done.stdout and "reject or fault" in done.stdout
    assert fastilp("watch", *where, "--auth", "wrong").status == 1
    assert fastilp("watch", *where).status == 1
