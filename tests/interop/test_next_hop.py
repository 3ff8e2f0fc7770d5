"""npm's ilp-connector 23.0.2 as the next hop: payments cross both nodes, on each transport.

Routes are static on either side. ilp-connector asks for ours with a CCP message, which is refused
(F01) until there is somebody to answer it; that disturbs nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.helpers import free_ports, wait_until
from tests.interop.node import Node, account, http_account, running
from tests.interop.payments import Payment, stream_exactly
from tests.interop.processes import NpmConnector, btp_plugin, stopping


class Hops(NamedTuple):
    near: Node
    far: NpmConnector
    bob: dict[str, Any]


def peering(kind: str, node_port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our account for ilp-connector, and the plugin and options of its account for us."""
    port, post_port = free_ports(2)
    ours = f"127.0.0.1:{node_port}/accounts/far/ilp"
    if kind == "http":
        incoming = {"port": post_port, "staticToken": "far_out"}
        outgoing = {"url": f"http://{ours}", "staticToken": "far_in"}
        options = {"incoming": incoming, "outgoing": outgoing}
        return http_account("far", post_port), {"plugin": "ilp-plugin-http", "options": options}
    if kind == "btp, they dial":
        options = {"server": f"btp+ws://:far_in@{ours}/btp"}
        return account("far"), {"plugin": "ilp-plugin-btp", "options": options}
    options = {"listener": {"port": port, "secret": "near_secret"}}
    url = f"btp+ws://127.0.0.1:{port}"
    ours_dials = account("far", ilp_over_btp_url=url, ilp_over_btp_outgoing_token="near_secret")
    return ours_dials, {"plugin": "ilp-plugin-btp", "options": options}


def limits() -> dict[str, Any]:
    return {
        "assetCode": "XRP",
        "assetScale": 9,
        "balance": {"maximum": "1000000000000000", "minimum": "-1000000000000000"},
    }


@pytest.fixture(params=["btp, they dial", "btp, we dial", "http"])
def hops(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hops]:
    near_port, bob_port = free_ports(2)
    ours, theirs = peering(request.param, near_port)
    far_account = {**ours, "routing_relation": "Peer"}
    near = Node(
        tmp_path, "test.near", [account("alice"), far_account],
        routes={"test.far": "far"}, port=near_port,
    )  # fmt: skip
    bob = {
        "relation": "child",
        "plugin": "ilp-plugin-btp",
        "options": {"listener": {"port": bob_port, "secret": "bob_in"}},
    }
    with running(near):
        far = NpmConnector(
            "test.far",
            {
                "near": {"relation": "peer", **limits(), **theirs},
                "bob": {**limits(), **bob},
            },
            routes=[{"targetPrefix": "test.near", "peerId": "near"}],
        )
        with stopping(far):
            far.wait_ready()
            wait_until(near.ways_out, {"far"})
            yield Hops(near, far, btp_plugin(bob_port, "bob", "bob_in", path=""))


def test_payment_crosses_both(hops: Hops) -> None:
    near, far, bob = hops

    def books() -> dict[str, int]:
        return {
            "alice, near": near.balance("alice"),
            "far, near": near.balance("far"),
            "near, far": far.balance("near"),
            "bob, far": far.balance("bob"),
        }

    alice = near.btp("alice")
    # ilp-connector counts what the holder owes it, we what we owe the holder.
    there = {"alice, near": -(10**6), "far, near": 10**6, "near, far": 10**6, "bob, far": -(10**6)}
    paid = stream_exactly(Payment(alice, bob, 10**6, 10**6, books, there))
    assert paid["destinationAccount"].startswith("test.far.bob.")
    assert paid["sourceAccount"].startswith("test.near.alice")
    back = {name: balance // 4 for name, balance in there.items()}
    stream_exactly(Payment(bob, alice, 750_000, 750_000, books, back))
