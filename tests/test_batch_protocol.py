"""The page of the batch protocol and the client under examples/: what they say is what happens."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from fastilp import Fulfill, Ledger, Prepare, Reject, Switch, decode
from fastilp._core import codec_batch
from tests.node_process import NodeProcess

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "batch-protocol.md").read_text()
EXAMPLE = ROOT / "examples" / "batch_client.py"
NOW_MS = 1_893_456_000_000 - 10_000
ACCOUNTS = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_batch_incoming_token = "secret"
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
"""


def session() -> Iterator[tuple[str, bytes]]:
    """Who writes, and what, of every value on the page."""
    for block in re.findall(r"```\n([CS] .*?)```", PAGE, re.DOTALL):
        for side, digits in re.findall(r"([CS]) ((?:[0-9a-f]{2}\s+)+)", block):
            yield side, bytes.fromhex(digits)


def test_the_session_on_the_page() -> None:
    (_, hello), (_, welcome), *rest = session()
    assert hello == msgpack.packb({"ilp": 1, "account": "alice", "token": "secret"})
    assert welcome == msgpack.packb({"ilp": 1, "in_flight_max": 16_384})
    switch = Switch(Ledger.memory(), "example.node")
    links = {}
    for name in ("alice", "loop"):
        account = switch.add_account(name, asset_code="ABC", asset_scale=9)
        switch.set_route(f"example.node.{name}", account)
        kind = "batch" if name == "alice" else "message"
        links[name] = switch.open_link(account, kind=kind, local=name == "loop")
    connection = switch.accept("batch")
    connection.bind(links["alice"])
    seen = []
    written = b""
    for side, value in rest:
        if value == b"\xc0":
            continue
        [(request_id, packet)], _ = codec_batch.read(value)
        kind = decode(packet)
        seen.append((side, type(kind).__name__))
        if side == "C":
            with connection.get_buffer(-1) as buffer:
                buffer[: len(value)] = value
                assert connection.buffer_updated(len(value))
            switch.process(NOW_MS)
            for sent_id, prepare in links["loop"].take():
                if isinstance(decode(prepare), Prepare):
                    answer = bytes(Fulfill(fulfillment=bytes(32)))
                    links["loop"].receive([(sent_id, answer)])
            switch.process(NOW_MS)
            written += links["alice"].take_bytes()
        elif isinstance(kind, Prepare):
            paying = Prepare(
                amount=kind.amount,
                expires_at=1_893_456_000_000,
                execution_condition=kind.execution_condition,
                destination=kind.destination,
            )
            links["loop"].receive([(1, bytes(paying))])
            switch.process(NOW_MS)
            assert links["alice"].take_bytes() == value
        else:
            assert written == value
            written = b""
    assert seen == [
        ("C", "Prepare"),
        ("S", "Fulfill"),
        ("C", "Prepare"),
        ("S", "Reject"),
        ("S", "Prepare"),
        ("C", "Fulfill"),
    ]
    assert switch.in_flight() == 0
    assert switch.balance(switch.account("alice")) == 0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path / "node", ACCOUNTS, listen='batch = "127.0.0.1:0"') as running:
        yield running


def run_example(
    node: NodeProcess, token: str, destination: str
) -> "subprocess.CompletedProcess[str]":
    host, port = node.batch.split(":")
    return subprocess.run(
        [sys.executable, str(EXAMPLE), host, port, "alice", token, destination, "5"],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_example_client_pays(node: NodeProcess) -> None:
    paid = run_example(node, "secret", "example.node.loop")
    welcome, answer = paid.stdout.splitlines()
    assert welcome == "{'ilp': 1, 'in_flight_max': 16384}"
    assert answer.startswith("7 fulfilled 0d21")
    refused = run_example(node, "secret", "example.nowhere")
    packet = decode(bytes.fromhex(refused.stdout.split()[-1]))
    assert isinstance(packet, Reject) and packet.code == "F02"
    assert node.balances() == {"alice": -5, "loop": 5}
    stranger = run_example(node, "guess", "example.node.loop")
    assert stranger.stdout.startswith("{'error': 'authentication failed'}")
    assert stranger.returncode and stranger.stderr.startswith("no welcome")
    assert node.balances() == {"alice": -5, "loop": 5}


def test_the_example_client_says_what_it_needs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    for words in ([], ["127.0.0.1", port, "alice", "secret", "example.node.loop", "5"]):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), *words], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "[listen]" in done.stderr if words else done.stderr.startswith("usage: ")


def test_the_example_client_is_as_short_as_the_page_says() -> None:
    code = EXAMPLE.read_text().partition('"""\n\n')[2].splitlines()
    assert f"in {len(code)} lines" in PAGE and len(code) <= 45
