"""A `fastilp run` pays npm's receivers over its HTTP API: ilp-protocol-stream, and
@interledger/stream-receiver with an SPSP endpoint as rafiki's, over BTP and over HTTP.

What the node says that it sent and delivered is what its books and the receiver say.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certificates import Authority
from tests.helpers import free_ports, until, wait_until
from tests.interop import books
from tests.interop.node import Node, account, http_account, running
from tests.interop.processes import Script, stopping

RATES = {"XRP": "0.5", "USD": "1"}
XRP, USD = ("XRP", 9), ("USD", 6)
SCALES = range(19)
PAID_SECONDS = 120.0
STORM_SECONDS = 5.0
STORM_LIMIT = 500_000
KINDS = ("stream", "receiver")

Payment = dict[str, Any]


class Receiver(NamedTuple):
    """One of npm's, at an account of the node."""

    username: str
    url: str
    total: Callable[[], int]


class World(NamedTuple):
    node: Node
    receivers: dict[str, Receiver]

    def pay(self, payer: str, receiver: str, **order: Any) -> Payment:
        """A payment and what it was, checked against everybody's books."""
        to = self.receivers[receiver]
        before, received = self.node.balances(), to.total()
        body = {"receiver": to.url, **order}
        path = f"/accounts/{payer}/payments"
        paid: Payment = self.node.call(
            "POST", path, body, token=f"{payer}_in", seconds=PAID_SECONDS
        )
        assert paid["in_flight_amount"] == 0
        self.check(payer, to, before, received, paid)
        return paid

    def check(
        self, payer: str, to: Receiver, before: dict[str, int], received: int, paid: Payment
    ) -> None:
        after = dict(before)
        after[payer] -= paid["sent_amount"]
        after[to.username] += paid["delivered_amount"]
        wait_until(self.node.balances, after)
        wait_until(lambda: to.total() - received, paid["delivered_amount"])


@pytest.fixture(scope="module", params=["btp", "http"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def payers() -> list[dict[str, Any]]:
    """Accounts without a link: what they pay begins in the node."""
    return [
        account("alice", XRP),
        account("small", XRP, max_packet_amount=100),
        account("spread", XRP, spread="0.02"),
        account("storm", XRP, min_balance=-STORM_LIMIT),
        *(account(f"scale_{scale}", ("XRP", scale)) for scale in SCALES),
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[World]:
    directory: Path = tmp_path_factory.mktemp("paying")
    authority = Authority(directory)
    assets = {"stream": XRP, "receiver": XRP, "dollars": USD}
    ports = dict(zip(assets, free_ports(len(assets)), strict=True))
    holders = [
        account(name, asset) if transport == "btp" else http_account(name, ports[name], asset)
        for name, asset in assets.items()
    ]
    node = Node(
        directory, "test.hub", [*holders, *payers()], rates=RATES,
        sections={"payments": {"ca_file": str(authority.file)}},
    )  # fmt: skip
    tls = {name: authority.server_file.read_text() for name in ("key", "cert")}
    with running(node):
        scripts = {
            name: Script(
                "receiver.js",
                {
                    "role": "receiver" if name == "receiver" else "stream",
                    "plugin": node.btp(name)
                    if transport == "btp"
                    else node.http(name, ports[name]),
                    # rafiki's is asked by HTTPS, with a certificate of the test's authority.
                    **({"tls": tls} if name == "receiver" else {}),
                },
            )
            for name in assets
        }
        with stopping(*scripts.values()):
            yield World(
                node, {name: _receiver(name, each, authority) for name, each in scripts.items()}
            )
            books.assert_balanced(books.read(node.data))


def _receiver(name: str, script: Script, authority: Authority) -> Receiver:
    port = script.event("ready")["port"]
    is_tls = name == "receiver"
    origin = f"https://localhost:{port}" if is_tls else f"http://127.0.0.1:{port}"
    context = authority.context() if is_tls else None

    def total() -> int:
        with urllib.request.urlopen(f"{origin}/total", timeout=10, context=context) as response:
            return int(json.load(response)["total"])

    return Receiver(name, f"{origin}/pay", total)


@pytest.mark.parametrize("receiver", KINDS)
@pytest.mark.parametrize("amount", [1, 10**6, 10**12])
def test_amounts(world: World, receiver: str, amount: int) -> None:
    paid = world.pay("alice", receiver, source_amount=amount)
    assert paid["sent_amount"] == paid["delivered_amount"] == amount
    assert (paid["destination_asset_code"], paid["destination_asset_scale"]) == XRP


@pytest.mark.parametrize("receiver", KINDS)
def test_scales(world: World, receiver: str) -> None:
    """From nine digits fewer to nine more."""
    for scale in SCALES:
        amount = 10 ** max(3, scale)
        paid = world.pay(f"scale_{scale}", receiver, source_amount=amount)
        assert paid["delivered_amount"] == Decimal(amount).scaleb(9 - scale)
        assert paid["sent_amount"] == amount


def test_rates_with_a_spread(world: World) -> None:
    """500 units of USD for 1,000,000 of XRP, and 2 % less."""
    plain = world.pay("alice", "dollars", source_amount=10**9)
    assert plain["delivered_amount"] == 500_000
    spread = world.pay("spread", "dollars", source_amount=10**9, slippage=0.025)
    assert spread["delivered_amount"] == 490_000
    with pytest.raises(AssertionError, match="the path delivers 0.00049 for 1, 0.000495 or more"):
        world.pay("spread", "dollars", source_amount=10**9, slippage=0.01)


@pytest.mark.parametrize("receiver", [*KINDS, "dollars"])
def test_what_is_to_be_delivered(world: World, receiver: str) -> None:
    paid = world.pay("alice", receiver, delivery_amount=123_456)
    assert paid["delivered_amount"] == 123_456
    assert paid["sent_amount"] == (246_912_000 if receiver == "dollars" else 123_456)


@pytest.mark.parametrize("receiver", KINDS)
def test_a_small_path(world: World, receiver: str, soak: bool) -> None:
    amount = 10**6 if soak else 3 * 10**4
    paid = world.pay("small", receiver, source_amount=amount)
    assert paid["delivered_amount"] == paid["sent_amount"] == amount


def test_a_storm_that_clears(world: World, transport: str, soak: bool) -> None:
    """The payer's credit ends half-way: T04 for five seconds, then there is more."""
    if transport == "http" and not soak:
        pytest.skip("one transport is enough for every day: `make soak` has both")
    node, to = world.node, world.receivers["stream"]
    before, received = node.balances(), to.total()
    details = next(each for each in payers() if each["username"] == "storm")
    node.call("PUT", "/accounts/storm", {**details, "min_balance": before["storm"] - STORM_LIMIT})
    order = {"receiver": to.url, "source_amount": 2 * STORM_LIMIT}
    path = "/accounts/storm/payments"
    begun = node.call("POST", path, order, token="storm_in", prefer="respond-async")
    at = f"{path}/{begun['id']}"
    until(lambda: node.balances()["storm"] < before["storm"] - STORM_LIMIT * 9 // 10)
    time.sleep(STORM_SECONDS)
    assert node.get(at)["state"] == "running"
    node.call("PUT", "/accounts/storm", {**details, "min_balance": before["storm"] - 10**9})
    wait_until(lambda: node.get(at)["state"], "completed")
    paid = node.get(at)["receipt"]
    assert paid["sent_amount"] == paid["delivered_amount"] == 2 * STORM_LIMIT
    world.check("storm", to, before, received, paid)
