"""fastilp and npm's ilp-connector in one network: as peer, parent and child, over BTP.

Nobody's routes are configured: all that is known was told by CCP, and children have their addresses
by IL-DCP.
"""

import json
import random
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastilp._core.packet import Fulfill, Prepare
from fastilp.control import ccp, ildcp
from tests.interop.node import Account, Node, account, running
from tests.interop.payments import Payment, stream_exactly, wait_until
from tests.interop.processes import NpmConnector, Script, stopping

XRP, USD, EUR = ("XRP", 9), ("USD", 6), ("EUR", 9)
# Of the acceptance: from the moment of connecting, and from that of the kill.
ROUTE_SECONDS = 5.0
INTERVAL_MS = 1_000


def npm_account(
    node: Node, relation: str, asset: tuple[str, int], username: str = "npm", **options: Any
) -> dict[str, Any]:
    """ilp-connector's account for a node of ours, which it dials."""
    url = f"btp+ws://:{username}_in@127.0.0.1:{node.port}/accounts/{username}/ilp/btp"
    return {
        "relation": relation,
        "plugin": "ilp-plugin-btp",
        "assetCode": asset[0],
        "assetScale": asset[1],
        "balance": {"maximum": "1000000000000"},
        "options": {"server": url},
        **options,
    }


def npm_connector(address: str, accounts: dict[str, Any], **settings: Any) -> NpmConnector:
    return NpmConnector(address, accounts, route_broadcast_interval=INTERVAL_MS, **settings)


def routing_of(connector: NpmConnector) -> dict[str, Any]:
    """What ilp-connector says of its routing."""
    url = f"http://127.0.0.1:{connector.admin_port}/routing"
    with urllib.request.urlopen(url, timeout=10) as response:
        found: dict[str, Any] = json.load(response)
    return found


def npm_routes(connector: NpmConnector) -> set[str]:
    return set(routing_of(connector)["localRoutingTable"])


def next_hop(node: Node, prefix: str) -> Callable[[], str | None]:
    return lambda: node.get("/routes").get(prefix)


def make_node(directory: Path, name: str, *accounts: Account, **more: Any) -> Node:
    node = Node(directory / name, f"test.{name}", list(accounts), **more)
    return node


def npm_at(asset: tuple[str, int], relation: str = "Peer", **more: Any) -> Account:
    """Our account for ilp-connector."""
    return account("npm", asset, routing_relation=relation, round_trip_time=50, **more)


def test_three_connectors_and_two_currency_changes(tmp_path: Path) -> None:
    """fastilp - ilp-connector - fastilp: routes come, a payment crosses, routes go."""
    rates = {"XRP": "0.5", "USD": "1"}
    left = make_node(tmp_path, "left", account("alice", XRP), npm_at(USD), rates=rates)
    right = make_node(tmp_path, "right", npm_at(EUR), account("bob", EUR))
    with running(left, right):
        # ilp-connector tells peers what peers have told it.
        peers = {
            "left": npm_account(left, "peer", USD),
            "right": npm_account(right, "peer", EUR),
        }
        npm = npm_connector("test.npm", peers)
        with stopping(npm):
            npm.wait_ready()
            deadline = time.monotonic() + ROUTE_SECONDS
            wait_until(next_hop(left, "test.right"), "npm", ROUTE_SECONDS)
            wait_until(next_hop(right, "test.left"), "npm", ROUTE_SECONDS)
            wait_until(lambda: {"test.left", "test.right"} <= npm_routes(npm), True, ROUTE_SECONDS)
            assert time.monotonic() < deadline
            assert next_hop(left, "test.npm")() == "npm"
            before = {**left.balances(), **{f"right {k}": v for k, v in right.balances().items()}}

            def books() -> dict[str, int]:
                far = {f"right {name}": each for name, each in right.balances().items()}
                return {**left.balances(), **far}

            # 1 XRP is 0.5 USD is, for ilp-connector, 0.5 EUR.
            after = {
                "alice": before["alice"] - 1_000_000_000,
                "npm": before["npm"] + 500_000,
                "right npm": before["right npm"] - 500_000_000,
                "right bob": before["right bob"] + 500_000_000,
            }
            ends = left.btp("alice"), right.btp("bob")
            prices = {"XRP": 0.5, "USD": 1.0, "EUR": 1.0}
            stream_exactly(Payment(*ends, 1_000_000_000, 500_000_000, books, after, prices=prices))
            assert (npm.balance("left"), npm.balance("right")) == (500_000, -500_000_000)
            npm.popen.kill()
            wait_until(next_hop(left, "test.right"), None, ROUTE_SECONDS)
            wait_until(next_hop(right, "test.left"), None, ROUTE_SECONDS)
            assert next_hop(left, "test.npm")() is None


def test_ilp_connector_as_parent(tmp_path: Path) -> None:
    """It gives us our address; our accounts have theirs below it; its routes are ours."""
    parent_port_account = {"relation": "child", "sendRoutes": True, "receiveRoutes": True}
    node = Node(
        tmp_path / "child",
        "local.host",
        [npm_at(XRP, "Parent"), account("carol", XRP)],
        inherit=True,
    )
    other = make_node(tmp_path, "other", npm_at(XRP), account("bob", XRP))
    with running(node, other):
        accounts = {
            "kid": npm_account(node, asset=XRP, **parent_port_account),
            "other": npm_account(other, "peer", XRP),
        }
        npm = npm_connector("test.npm", accounts)
        with stopping(npm):
            npm.wait_ready()
            wait_until(lambda: node.get("/")["ilp_address"], "test.npm.kid", ROUTE_SECONDS)
            carol = node.get("/accounts/carol")
            assert carol["ilp_address"] == "test.npm.kid.carol"
            assert next_hop(node, "")() == "npm"
            wait_until(next_hop(node, "test.other"), "npm", ROUTE_SECONDS)
            wait_until(lambda: "test.npm.kid" in npm_routes(npm), True, ROUTE_SECONDS)
            wait_until(next_hop(other, "test.npm"), "npm", ROUTE_SECONDS)
            after = {"carol": -1_000, "npm": 1_000}
            stream_exactly(
                Payment(node.btp("carol"), other.btp("bob"), 1_000, 1_000, node.balances, after)
            )
        # The address stays, whoever gave it.
        assert node.get("/")["ilp_address"] == "test.npm.kid"


def test_ilp_connector_as_child(tmp_path: Path) -> None:
    """We give it its address, and tell it what peers have told us."""
    parent = make_node(
        tmp_path,
        "parent",
        npm_at(XRP, "Child"),
        account("alice", XRP),
        account(
            "peer",
            XRP,
            routing_relation="Peer",
            ilp_over_btp_url="btp+ws://127.0.0.1:1/",
            ilp_over_btp_outgoing_token="none",
        ),
    )
    with running(parent):
        npm = npm_connector("unknown", {"up": npm_account(parent, "parent", XRP)})
        with stopping(npm):
            npm.wait_ready()
            wait_until(lambda: "test.parent" in npm_routes(npm), True, ROUTE_SECONDS)
            table = routing_of(npm)["localRoutingTable"]
            assert table["test.parent"]["nextHop"] == "up"
            assert "test.parent.npm" in table, table
            wait_until(lambda: learned(parent), ["test.parent.npm"], ROUTE_SECONDS)
            assert parent.get("/routes/neighbours")["npm"]["speaker"] == "test.parent.npm"


@pytest.mark.parametrize("role", ["peer", "child"])
def test_ilp_connector_comes_back(tmp_path: Path, role: str) -> None:
    """What it has told is void when it goes, and asked for again when it is back."""
    relation = {"peer": "Peer", "child": "Child"}[role]
    node = make_node(tmp_path, "node", npm_at(XRP, relation), account("alice", XRP))
    ours = {"peer": "peer", "child": "parent"}[role]
    address = {"peer": "test.npm", "child": "unknown"}[role]
    wanted = {"peer": "test.npm", "child": "test.node.npm"}[role]
    with running(node):
        for _ in range(2):
            npm = npm_connector(address, {"up": npm_account(node, ours, XRP)})
            with stopping(npm):
                npm.wait_ready()
                wait_until(lambda: learned(node), [wanted], ROUTE_SECONDS)
                wait_until(lambda: "test.node" in npm_routes(npm), True, ROUTE_SECONDS)  # noqa: B023
            wait_until(lambda: learned(node), [], ROUTE_SECONDS)


# What one argument of a process can hold.
_TASK_SIZE_MAX = 100_000


def random_update(dice: random.Random) -> ccp.RouteUpdate:
    """Of any shape that ilp-protocol-ccp can hold."""

    def address() -> str:
        segments = ["".join(dice.choices("abcXYZ019_~-", k=dice.randint(1, 40))) for _ in range(4)]
        return ".".join(["g", *segments[: dice.randint(1, 4)]])

    def prop(number: int) -> ccp.Prop:
        is_optional, is_utf8 = dice.random() < 0.5, dice.random() < 0.5
        is_transitive = not is_optional or dice.random() < 0.5
        is_partial = is_optional and is_transitive and dice.random() < 0.5
        value = b"text" if is_utf8 else dice.randbytes(dice.randint(0, 200))
        return ccp.Prop(number, value, is_optional, is_transitive, is_partial, is_utf8)

    routes = [
        ccp.Route(
            address(),
            tuple(address() for _ in range(dice.randint(0, 5))),
            dice.randbytes(32),
            tuple(prop(number) for number in range(dice.randint(0, 3))),
        )
        for _ in range(dice.choice((0, 1, 3, 20)))
    ]
    gone = [address() for _ in range(dice.choice((0, 1, 20)))]
    epochs = [dice.choice((0, 1, 255, 2**16, 2**32 - 1)) for _ in range(4)]
    return ccp.RouteUpdate(dice.randbytes(16), *epochs, address(), routes, gone)


def test_protocol_packages_agree_byte_for_byte() -> None:
    """ilp-protocol-ccp and ilp-protocol-ildcp read what we write, write the same, and mean the
    same by it."""
    dice = random.Random(1)
    expires_at_ms = int(time.time() * 1_000) + 600_000
    packets: list[tuple[str, bytes]] = []
    while sum(2 * len(packet) for _, packet in packets) < _TASK_SIZE_MAX:
        data = ccp.encode_update(random_update(dice))
        packets.append(("update", bytes(ccp.prepare(ccp.UPDATE, data, expires_at_ms))))
    for mode in ccp.Mode:
        for features in ((), ("foo", "bar"), ("x" * 200,)):
            control = ccp.RouteControl(mode, dice.randbytes(16), 2**32 - 1, features)
            data = ccp.encode_control(control)
            packets.append(("control", bytes(ccp.prepare(ccp.CONTROL, data, expires_at_ms))))
    packets.append(("response", bytes(ccp.ANSWER)))
    packets.append(("ildcpRequest", bytes(ildcp.request(expires_at_ms))))
    for address, scale, code in (("test.a", 0, "X"), ("g." + "a" * 1_000, 255, "EURO€")):
        data = ildcp.response_data(address, scale, code)
        fulfill = Fulfill(fulfillment=ildcp.FULFILLMENT, data=data)
        packets.append(("ildcpResponse", bytes(fulfill)))
    task = [{"kind": kind, "packet": packet.hex()} for kind, packet in packets]
    script = Script("ccp.js", {"role": "echo", "packets": task})
    with stopping(script):
        results = script.event("echo")["results"]
    assert len(results) == len(packets) > 20
    for (kind, packet), result in zip(packets, results, strict=True):
        written = bytes.fromhex(result["written"])
        if kind in ("update", "control"):
            # The package takes an expiry of its own.
            theirs = Prepare.decode(written)
            written = bytes(ccp.prepare(theirs.destination, theirs.data, expires_at_ms))
        assert written == packet, kind
        check_meaning(kind, packet, result["read"])


def check_meaning(kind: str, packet: bytes, read: dict[str, Any]) -> None:
    if kind == "update":
        ours = ccp.decode_update(Prepare.decode(packet).data)
        assert read["routingTableId"].replace("-", "") == ours.table_id.hex()
        epochs = [read[f"{name}EpochIndex"] for name in ("current", "from", "to")]
        assert epochs == [ours.current_epoch, ours.from_epoch, ours.to_epoch]
        assert (read["holdDownTime"], read["speaker"]) == (ours.hold_down_ms, ours.speaker)
        assert read["withdrawnRoutes"] == ours.withdrawn
        found = [(each["prefix"], tuple(each["path"]), each["auth"]) for each in read["newRoutes"]]
        assert found == [(each.prefix, each.path, each.auth.hex()) for each in ours.new_routes]
    elif kind == "control":
        control = ccp.decode_control(Prepare.decode(packet).data)
        assert read["lastKnownRoutingTableId"].replace("-", "") == control.table_id.hex()
        assert (read["mode"], read["lastKnownEpoch"]) == (control.mode, control.epoch)
        assert tuple(read["features"]) == control.features
    elif kind == "ildcpResponse":
        config = ildcp.parse_response(Fulfill.decode(packet).data)
        assert config == (read["clientAddress"], read["assetScale"], read["assetCode"])


def learned(node: Node) -> list[str]:
    """Prefixes that ilp-connector has told a node."""
    table = node.get("/routes/table")["routes"]
    return [
        route["prefix"]
        for route in table
        if any(each["source"] == "announced" for each in route["candidates"])
    ]
