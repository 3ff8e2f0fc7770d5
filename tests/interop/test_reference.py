"""The same clients through npm's own ilp-connector: when this fails, the trouble is not fastilp."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests import ilp_bytes
from tests.helpers import free_ports, wait_until
from tests.interop.payments import Payment, pay_exactly, stream_exactly
from tests.interop.processes import (
    NpmConnector,
    btp_plugin,
    http_plugin,
    stopping,
)
from tests.peers import BtpPeer, HttpPeer

Plugins = dict[str, dict[str, Any]]


def account(plugin: str, options: dict[str, Any], scale: int = 9) -> dict[str, Any]:
    return {
        "relation": "child",
        "plugin": plugin,
        "assetCode": "XRP",
        "assetScale": scale,
        "balance": {"maximum": "1000000000000", "minimum": "-1000000000000"},
        "options": options,
    }


@pytest.fixture(params=["btp", "http"])
def hop(request: pytest.FixtureRequest) -> Iterator[tuple[NpmConnector, Plugins]]:
    """ilp-connector with two children on one transport, and the plugins that they would use."""
    accounts: dict[str, Any] = {}
    plugins: Plugins = {}
    for name, scale in (("alice", 9), ("bob", 6)):
        port, back = free_ports(2)
        if request.param == "btp":
            options = {"listener": {"port": port, "secret": f"{name}_in"}}
            plugins[name] = btp_plugin(port, name, f"{name}_in", path="")
        else:
            url = f"http://127.0.0.1:{back}/"
            options = {
                "incoming": {"port": port, "staticToken": f"{name}_in"},
                "outgoing": {"url": url, "staticToken": f"{name}_out"},
            }
            hop_url = f"http://127.0.0.1:{port}/"
            plugins[name] = http_plugin(hop_url, back, f"{name}_in", f"{name}_out")
        accounts[name] = account(f"ilp-plugin-{request.param}", options, scale)
    connector = NpmConnector("test.hop", accounts)
    with stopping(connector):
        connector.wait_ready()
        yield connector, plugins


def test_clients(hop: tuple[NpmConnector, Plugins]) -> None:
    connector, plugins = hop

    def books() -> dict[str, int]:
        return {name: connector.balance(name) for name in plugins}

    ends = plugins["alice"], plugins["bob"]
    after = {"alice": 1_000_000, "bob": -1_000}
    stream_exactly(Payment(*ends, 1_000_000, 1_000, books, after))
    after = {"alice": 1_500_000, "bob": -1_500}
    pay_exactly(Payment(*ends, 500_000, 500, books, after, prices={"XRP": 1}))


FULFILLMENT = bytes(range(32))


def answer(packet: ilp_bytes.Packet) -> bytes:
    """What the raw receiver says: yes to 1,000 units, no to anything else."""
    if packet.amount == 1_000:
        return ilp_bytes.fulfill(FULFILLMENT, b"thanks")
    return ilp_bytes.reject("F99", "test.hop.bob", "not that", b"why")


async def connect(plugins: Plugins) -> tuple[BtpPeer, BtpPeer] | tuple[HttpPeer, HttpPeer]:
    if "btp" in plugins["alice"]:
        peers = BtpPeer(), BtpPeer(answer)
        for peer, name in zip(peers, plugins, strict=True):
            server = plugins[name]["btp"]["server"]
            await peer.connect(int(server.rpartition(":")[2]), name, f"{name}_in")
        return peers
    alice, bob = HttpPeer(), HttpPeer(answer)
    incoming = plugins["bob"]["http"]["incoming"]
    await bob.listen(incoming["port"], incoming["staticToken"])
    outgoing = plugins["alice"]["http"]["outgoing"]
    alice.dial(outgoing["url"], outgoing["staticToken"])
    return alice, bob


async def raw_payments(plugins: Plugins) -> None:
    """A payment and a refusal by the tests' own peers, on the transport that the plugins use."""
    condition = ilp_bytes.condition_of(FULFILLMENT)
    alice, bob = await connect(plugins)
    fulfilled = await alice.send(1_000_000, "test.hop.bob.x", condition, data=b"one")
    rejected = await alice.send(2_000_000, "test.hop.bob.x", condition[::-1], data=b"two")
    assert fulfilled == ilp_bytes.decode(ilp_bytes.fulfill(FULFILLMENT, b"thanks"))
    assert rejected == ilp_bytes.decode(ilp_bytes.reject("F99", "test.hop.bob", "not that", b"why"))
    assert alice.books.paid() == 1_000_000
    assert bob.books.earned() == 1_000
    await alice.close()
    await bob.close()


def test_raw_peers(hop: tuple[NpmConnector, Plugins]) -> None:
    connector, plugins = hop
    asyncio.run(raw_payments(plugins))
    wait_until(lambda: (connector.balance("alice"), connector.balance("bob")), (1_000_000, -1_000))
