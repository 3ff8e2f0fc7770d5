"""Accounts for whoever comes: clients that were written for moneyd, with its URL and a secret of
their own."""

import base64
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.interop import books
from tests.interop.node import Node, account, running
from tests.interop.payments import Payment, stream_exactly, wait_until
from tests.interop.processes import Script, free_port, stopping

# Where moneyd listens, and ilp-plugin connects to unless it is told otherwise.
MONEYD_PORT = 7768


def plugin(port: int, secret: str, name: str = "ilp-plugin") -> dict[str, Any]:
    return {"btp": {"server": f"btp+ws://{name}:{secret}@localhost:{port}"}}


def address_of(node: Node, secret: str) -> str:
    """As ilp-plugin-mini-accounts gives it."""
    segment = base64.urlsafe_b64encode(sha256(secret.encode()).digest()).rstrip(b"=").decode()
    return f"{node.address}.local.{segment}"


def name_of(secret: str) -> str:
    return f"open_{sha256(secret.encode()).hexdigest()[:27]}"


def make_node(directory: Path, port: int, **open_btp: Any) -> Node:
    wallet = account("wallet", min_balance=-10_000_000)
    return Node(
        directory,
        "test.hub",
        [wallet, account("bob")],
        listen={"open_btp": f"127.0.0.1:{port}"},
        sections={"open_btp": {"template": "wallet", **open_btp}},
    )


def fetched(port: int, secret: str, name: str = "ilp-plugin") -> dict[str, Any]:
    """What IL-DCP tells whoever has this secret."""
    script = Script("client.js", {"role": "ildcp", "plugin": plugin(port, secret, name)})
    with stopping(script):
        return script.event("ildcp")


def open_accounts(node: Node) -> list[str]:
    return [name for name in node.accounts() if name.startswith("open_")]


def test_stream_client_with_moneyds_url(tmp_path: Path) -> None:
    node = make_node(tmp_path, MONEYD_PORT)
    secret = secrets.token_hex(16)
    with running(node):
        after = {"wallet": 0, "bob": 1_000_000, name_of(secret): -1_000_000}
        ends = plugin(MONEYD_PORT, secret), node.btp("bob")
        paid = stream_exactly(Payment(*ends, 1_000_000, 1_000_000, node.balances, after))
        assert paid["sourceAccount"].startswith(address_of(node, secret))
        # It has moved money: it stays, with its address, and over a restart.
        assert node.stop() == 0
        node.start()
        assert node.balances() == after
        assert fetched(MONEYD_PORT, secret)["clientAddress"] == address_of(node, secret)
        books.assert_balanced(books.read(node.data))


def test_two_clients_pay_each_other(tmp_path: Path) -> None:
    port = free_port()
    node = make_node(tmp_path, port)
    one, other = secrets.token_hex(16), secrets.token_hex(16)
    with running(node):
        after = {"wallet": 0, "bob": 0, name_of(one): -5_000, name_of(other): 5_000}
        ends = plugin(port, one), plugin(port, other)
        stream_exactly(Payment(*ends, 5_000, 5_000, node.balances, after))


def test_the_secret_alone_says_who_it_is(tmp_path: Path) -> None:
    port = free_port()
    node = make_node(tmp_path, port)
    with running(node):
        first = fetched(port, "a-secret", "one-program")
        assert first["clientAddress"] == address_of(node, "a-secret")
        assert (first["assetCode"], first["assetScale"]) == ("XRP", 9)
        assert fetched(port, "a-secret", "another")["clientAddress"] == first["clientAddress"]
        assert fetched(port, "another-secret")["clientAddress"] != first["clientAddress"]
        # None of them has moved money.
        wait_until(lambda: open_accounts(node), [])


def test_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    port = free_port()
    node = make_node(tmp_path, port, accounts_max=2)
    with running(node):
        scripts = [
            Script("client.js", {"role": "receive", "plugin": plugin(port, f"secret{number}")})
            for number in range(2)
        ]
        with stopping(*scripts):
            for script in scripts:
                script.event("ready")
            assert len(open_accounts(node)) == 2
            late = Script("client.js", {"role": "ildcp", "plugin": plugin(port, "late")})
            with stopping(late), pytest.raises(AssertionError):
                late.event("ildcp", timeout=3.0)
            assert len(open_accounts(node)) == 2
            # Those who are there are not disturbed.
            states = node.accounts()
            assert all(states[name_of(f"secret{each}")]["links"]["btp"] for each in range(2))
        wait_until(lambda: open_accounts(node), [])
        assert fetched(port, "late")["clientAddress"] == address_of(node, "late")
