"""The Python programs of examples/ pay npm's receivers and are paid by npm's payers, through a node
of ours and through npm's ilp-connector: money and data, and what both ends say of it.
"""

import base64
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.helpers import free_ports, wait_until
from tests.interop import books
from tests.interop.node import ROOT, Node, account, running
from tests.interop.processes import NpmConnector, Process, Script, btp_plugin, stopping

NAMES = ("alice", "bob")
# That of the example.
SAID = "for the coffee"
AMOUNT = 123_456_789
LIMIT = "1000000000000000"


class Connector(NamedTuple):
    """Where alice and bob have accounts, and what it owes them."""

    ports: dict[str, int]
    paths: dict[str, str]
    balances: Callable[[], dict[str, int]]

    def uplink(self, name: str) -> str:
        return f"btp+ws://{name}:{name}_in@127.0.0.1:{self.ports[name]}{self.paths[name]}"

    def plugin(self, name: str) -> dict[str, Any]:
        return btp_plugin(self.ports[name], name, f"{name}_in", path=self.paths[name])


def ours(directory: Path) -> Iterator[Connector]:
    node = Node(directory, "test.hub", [account(name) for name in NAMES])
    with running(node):
        ports = dict.fromkeys(NAMES, node.port)
        yield Connector(ports, {name: f"/accounts/{name}/ilp/btp" for name in NAMES}, node.balances)
        books.assert_balanced(books.read(node.data))


def npms() -> Iterator[Connector]:
    ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
    accounts = {
        name: {
            "relation": "child",
            "plugin": "ilp-plugin-btp",
            "assetCode": "XRP",
            "assetScale": 9,
            "balance": {"maximum": LIMIT, "minimum": f"-{LIMIT}"},
            "options": {"listener": {"port": port, "secret": f"{name}_in"}},
        }
        for name, port in ports.items()
    }
    connector = NpmConnector("test.hub", accounts)
    with stopping(connector):
        connector.wait_ready()
        yield Connector(
            ports,
            dict.fromkeys(NAMES, ""),
            lambda: {name: -connector.balance(name) for name in NAMES},
        )


@pytest.fixture(params=["fastilp", "ilp-connector"])
def connector(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connector]:
    yield from ours(tmp_path) if request.param == "fastilp" else npms()


def program(name: str, *arguments: str) -> Process:
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    return Process(command, {"PYTHONPATH": paths})


@pytest.mark.parametrize("kind", ["stream", "receiver"])
def test_a_program_pays(connector: Connector, kind: str) -> None:
    receiver = Script("receiver.js", {"role": kind, "plugin": connector.plugin("bob")})
    with stopping(receiver):
        url = f"http://127.0.0.1:{receiver.event('ready')['port']}/"
        payer = program("stream_pay.py", connector.uplink("alice"), str(AMOUNT), url)
        with stopping(payer):
            payer.wait_for(f"delivered {AMOUNT} XRP")
            if kind == "stream":
                assert receiver.event("data")["text"] == SAID
            assert payer.popen.wait(30) == 0
        wait_until(connector.balances, {"alice": -AMOUNT, "bob": AMOUNT})


def test_a_program_is_paid(connector: Connector) -> None:
    receiver = program("stream_receive.py", connector.uplink("bob"))
    with stopping(receiver):
        destination, secret = receiver.wait_for("test.hub.bob").split()
        payment = {
            "destinationAccount": destination,
            "sharedSecret": base64.b64encode(bytes.fromhex(secret)).decode(),
            "amount": str(AMOUNT),
            "data": SAID,
        }
        task = {"role": "stream", "plugin": connector.plugin("alice"), "payments": [payment]}
        with stopping(payer := Script("payer.js", task)):
            paid = payer.event("paid")
            assert paid["sent"] == paid["delivered"] == str(AMOUNT)
            receiver.wait_for(f"says {SAID}")
            receiver.wait_for(f"received {AMOUNT} in all")
            assert receiver.popen.wait(30) == 0
        wait_until(connector.balances, {"alice": -AMOUNT, "bob": AMOUNT})
