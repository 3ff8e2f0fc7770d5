"""npm's clients pay each other through one `fastilp run`, over BTP and over HTTP.

Nothing between the two ends but the node; balances are asked of its admin API, and every
payment is exact on both sides.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import ilp_bytes
from tests.helpers import free_ports, wait_until
from tests.interop import books
from tests.interop.node import Node, account, http_account, running
from tests.interop.payments import Payment, Plugin, pay_exactly, stream_exactly
from tests.interop.processes import (
    EVENT_SECONDS,
    Script,
    btp_plugin,
    http_plugin,
    stopping,
)
from tests.peers import BtpPeer

# One XRP is half a USD: 1,000,000 units of scale 9 are 500 of scale 6.
RATES = {"XRP": "0.5", "USD": "1"}
XRP, USD = ("XRP", 9), ("USD", 6)


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    """Where the HTTP plugins of the account holders listen."""
    names = ("alice_http", "bob_http", "dave_http")
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[Node]:
    accounts = [
        account("alice_btp", XRP),
        account("bob_btp", XRP),
        account("dave_btp", USD),
        http_account("alice_http", ports["alice_http"], XRP),
        http_account("bob_http", ports["bob_http"], XRP),
        http_account("dave_http", ports["dave_http"], USD),
    ]
    hub = Node(tmp_path_factory.mktemp("clients"), "test.hub", accounts, rates=RATES)
    with running(hub):
        yield hub
        assert {name: hub.balance(name) for name in hub.scales} == hub.balances()
        books.assert_balanced(books.read(hub.data))
        assets = {name: "USD/6" if "dave" in name else "XRP/9" for name in hub.scales}
        wait_until(lambda: books.balances(books.read(hub.data), assets), hub.balances())


@pytest.fixture(params=["btp", "http"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plugin(node: Node, ports: Mapping[str, int], username: str) -> Plugin:
    return node.http(username, ports[username]) if username in ports else node.btp(username)


def payment(
    node: Node, ports: Mapping[str, int], sender: str, receiver: str, sent: int, delivered: int
) -> Payment:
    """From what the balances are now; everybody else's stay as they are."""
    after = node.balances()
    after[sender] -= sent
    after[receiver] += delivered
    ends = plugin(node, ports, sender), plugin(node, ports, receiver)
    prices = {code: float(rate) for code, rate in RATES.items()}
    return Payment(*ends, sent, delivered, node.balances, after, prices=prices)


def test_protocol_stream(node: Node, ports: dict[str, int], transport: str) -> None:
    ends = f"alice_{transport}", f"bob_{transport}"
    paid = stream_exactly(payment(node, ports, *ends, 1_000_000, 1_000_000))
    assert paid["destinationAccount"].startswith(f"test.hub.bob_{transport}.")
    assert paid["sourceAccount"].startswith(f"test.hub.alice_{transport}")
    assert (paid["destinationAssetCode"], paid["destinationAssetScale"]) == XRP


def test_protocol_stream_across_assets(node: Node, ports: dict[str, int], transport: str) -> None:
    ends = f"alice_{transport}", f"dave_{transport}"
    paid = stream_exactly(payment(node, ports, *ends, 1_000_000, 500))
    assert (paid["destinationAssetCode"], paid["destinationAssetScale"]) == USD


def test_protocol_stream_across_transports(node: Node, ports: dict[str, int]) -> None:
    stream_exactly(payment(node, ports, "alice_btp", "bob_http", 1_000_000, 1_000_000))
    stream_exactly(payment(node, ports, "alice_http", "bob_btp", 1_000_000, 1_000_000))


def test_interledger_pay(node: Node, ports: dict[str, int], transport: str) -> None:
    ends = f"alice_{transport}", f"dave_{transport}"
    paid = pay_exactly(payment(node, ports, *ends, 1_000_000, 500))
    assert (paid["assetCode"], paid["assetScale"]) == USD


ILDCP = [("alice_btp", XRP), ("dave_btp", USD), ("alice_http", XRP), ("dave_http", USD)]


@pytest.mark.parametrize(("username", "asset"), ILDCP)
def test_ildcp(node: Node, ports: dict[str, int], username: str, asset: tuple[str, int]) -> None:
    script = Script("client.js", {"role": "ildcp", "plugin": plugin(node, ports, username)})
    with stopping(script):
        answer = script.event("ildcp")
    assert answer["clientAddress"] == f"test.hub.{username}"
    assert (answer["assetCode"], answer["assetScale"]) == asset


def test_bare_paths(node: Node, ports: dict[str, int]) -> None:
    """The plugins' usual URLs name no account: the token does."""
    url = f"http://127.0.0.1:{node.port}/ilp"
    bare = {
        "dave_btp": btp_plugin(node.port, "dave_btp", "dave_btp_in", path=""),
        "dave_http": http_plugin(url, ports["dave_http"], "dave_http_in", "dave_http_out"),
    }
    for username, description in bare.items():
        script = Script("client.js", {"role": "ildcp", "plugin": description})
        with stopping(script):
            assert script.event("ildcp")["clientAddress"] == f"test.hub.{username}"


async def pay_until_fulfilled(node: Node) -> None:
    """The node is back, its peer is still dialling: T01 until it is there."""
    alice = BtpPeer()
    await alice.connect(node.port, "alice", "alice_in")
    code = "T01"
    while code == "T01":
        condition = ilp_bytes.condition_of(b"\1" * 32)
        code = (await alice.send(3, "test.hub.bob.x", condition, data=os.urandom(16))).code
        alice.books.sent.clear()
    assert code == ""
    await alice.close()


def test_client_survives_a_restart(tmp_path: Path) -> None:
    """ilp-plugin-btp dials again, and goes on receiving."""
    node = Node(tmp_path, "test.hub", [account("alice"), account("bob")])
    with running(node):
        receiver = Script("client.js", {"role": "receive", "plugin": node.btp("bob")})
        with stopping(receiver):
            receiver.event("ready")
            for received in (3, 6):
                asyncio.run(asyncio.wait_for(pay_until_fulfilled(node), EVENT_SECONDS))
                assert receiver.event("money")["received"] == str(received)
                assert node.stop() == 0
                node.start()
        assert node.balances() == {"alice": -6, "bob": 6}


REFUSALS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"amount": 1, "destination": "test.nowhere"}, {"code": "F02", "triggeredBy": "test.hub"}),
    ({"amount": 1, "destination": "g.elsewhere"}, {"code": "F02", "triggeredBy": "test.hub"}),
    ({"amount": 0, "destination": "peer.nothing"}, {"code": "F01", "triggeredBy": "test.hub"}),
    ({"amount": 1, "destination": "peer.nothing"}, {"code": "F03", "triggeredBy": "test.hub"}),
    (
        {"amount": 0, "destination": "test.hub.bob_{transport}.x", "expiryMs": 1_050},
        {"code": "R02", "triggeredBy": "test.hub"},
    ),
    (
        {"amount": 1, "destination": "test.hub.dave_{transport}.x"},
        {"code": "R01", "triggeredBy": "test.hub"},
    ),
]


def test_plain_packets(node: Node, ports: dict[str, int], transport: str) -> None:
    """What npm's packet library makes of our answers, the good and the bad."""
    before = node.balances()
    receiver = Script(
        "client.js", {"role": "receive", "plugin": plugin(node, ports, f"bob_{transport}")}
    )
    with stopping(receiver):
        receiver.event("ready")
        packets = [
            {**packet, "destination": packet["destination"].format(transport=transport)}
            for packet, _ in REFUSALS
        ]
        good = {"amount": 7, "destination": f"test.hub.bob_{transport}.x"}
        sender = Script(
            "client.js",
            {
                "role": "send",
                "plugin": plugin(node, ports, f"alice_{transport}"),
                "packets": [good, *packets],
            },
        )
        with stopping(sender):
            assert sender.event("reply")["fulfilled"]
            for packet, refusal in REFUSALS:
                reply = sender.event("reply")
                seen = {key: reply.get(key) for key in refusal}
                assert seen == refusal, f"{packet}: {reply}"
        assert receiver.event("money")["received"] == "7"
    after = {**before, f"alice_{transport}": before[f"alice_{transport}"] - 7}
    after[f"bob_{transport}"] += 7
    wait_until(node.balances, after)
