"""npm's payers pay accounts of one `fastilp run`, where the payments end: ilp-protocol-stream by
what SPSP says, @interledger/pay by payment pointer over HTTPS. Every sum is exact on both sides.
"""

import base64
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certificates import Authority
from tests.helpers import free_ports, until, wait_until
from tests.interop import books
from tests.interop.node import Node, account, http_account, running
from tests.interop.processes import Event, Script, stopping

RATES = {"XRP": "0.5", "USD": "1"}
XRP, USD = ("XRP", 9), ("USD", 6)
SCALES = range(19)
SPREAD = Decimal("0.02")
# Half of what the storm's payer wants to send.
STORM_LIMIT = 500_000
# It asks less and less often: after five seconds, five more go by.
STORM_SECONDS, STORM_SECONDS_SOAK = 2.0, 5.0
PAYERS = ("payer", "small", "spread", "storm")
PAID_SECONDS = 300.0


class Paid(NamedTuple):
    """What ends a payment: who got it, what was sent, what its payer says that arrived."""

    receiver: str
    sent: int
    delivered: int
    event: Event


@pytest.fixture(scope="module", params=["btp", "http"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def accounts(ports: dict[str, int]) -> list[dict[str, Any]]:
    """Four payers on either transport, and receivers without any link."""
    limits: dict[str, dict[str, Any]] = {
        "payer": {},
        "small": {"max_packet_amount": 100},
        "spread": {"spread": str(SPREAD)},
        "storm": {"min_balance": -STORM_LIMIT},
    }
    made = []
    for name, more in limits.items():
        made.append(account(f"{name}_btp", XRP, **more))
        made.append(http_account(f"{name}_http", ports[name], XRP, **more))
    made += [account("carol", XRP), account("dave", USD)]
    made += [account(f"scale_{scale}", ("XRP", scale)) for scale in SCALES]
    return made


class World(NamedTuple):
    """A node and what it takes to be one of its payers."""

    node: Node
    ports: dict[str, int]
    transport: str

    def plugin(self, payer: str) -> dict[str, Any]:
        name = f"{payer}_{self.transport}"
        return (
            self.node.btp(name)
            if self.transport == "btp"
            else self.node.http(name, self.ports[payer])
        )

    def check(self, payer: str, before: dict[str, int], paid: Sequence[Paid]) -> None:
        """The payer has paid what it says, everybody got what the payer says, nobody else did."""
        after = dict(before)
        for each in paid:
            after[f"{payer}_{self.transport}"] -= each.sent
            after[each.receiver] += each.delivered
        wait_until(self.node.balances, after)


def made_world(directory: Path, transport: str, **more: Any) -> Iterator[World]:
    ports = dict(zip(PAYERS, free_ports(len(PAYERS)), strict=True))
    node = Node(directory, "test.hub", accounts(ports), rates=RATES, **more)
    with running(node):
        yield World(node, ports, transport)
        books.assert_balanced(books.read(node.data))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[World]:
    yield from made_world(tmp_path_factory.mktemp("paid"), transport)


def stream(world: World, payer: str, wanted: Sequence[tuple[str, int]], **more: Any) -> list[Paid]:
    """Payments by ilp-protocol-stream, one after the other, to what SPSP says of each receiver."""
    before = world.node.balances()
    payments = []
    for receiver, amount in wanted:
        told = world.node.call("GET", f"/accounts/{receiver}/spsp", token="")
        payments.append(
            {
                "destinationAccount": told["destination_account"],
                "sharedSecret": told["shared_secret"],
                "amount": str(amount),
                **more,
            }
        )
    script = Script(
        "payer.js", {"role": "stream", "plugin": world.plugin(payer), "payments": payments}
    )
    paid = []
    with stopping(script):
        for receiver, amount in wanted:
            event = script.event("paid", PAID_SECONDS)
            assert int(event["sent"]) == amount
            paid.append(Paid(receiver, amount, int(event["delivered"]), event))
        world.check(payer, before, paid)
    return paid


def test_amounts(world: World) -> None:
    amounts = [1, 10**6, 10**12]
    paid = stream(world, "payer", [("carol", amount) for amount in amounts])
    assert [each.delivered for each in paid] == amounts
    assert {(each.event["code"], each.event["scale"]) for each in paid} == {XRP}


def test_scales(world: World) -> None:
    """From nine digits fewer to nine more. Amounts that no packet's rounding can take from."""
    wanted = [(f"scale_{scale}", 10**12 if scale < 9 else 10**6) for scale in SCALES]
    for scale, paid in zip(SCALES, stream(world, "payer", wanted), strict=True):
        assert paid.event["scale"] == scale
        exact = Decimal(paid.sent).scaleb(scale - 9)
        assert exact * Decimal("0.99") <= paid.delivered <= exact


def test_a_rate_with_spread(world: World) -> None:
    """500 units of USD for 1,000,000 of XRP without a spread."""
    [plain] = stream(world, "payer", [("dave", 10**9)])
    [spread] = stream(world, "spread", [("dave", 10**9)])
    assert plain.delivered <= 500_000 and plain.delivered >= 499_990
    assert spread.delivered <= 490_000 and spread.delivered >= 489_990


def test_a_small_path(world: World, soak: bool) -> None:
    """Packets of 100 units at the most: every one of them arrives, and is counted once."""
    amount = 10**6 if soak else 10**4
    [paid] = stream(world, "small", [("carol", amount)])
    assert paid.delivered == amount


@contextmanager
def storm(world: World, seconds: float, begun_share: Decimal = Decimal("0.9")) -> Iterator[None]:
    """The credit of the payer ends half-way: T04 until there is more, so many seconds after
    this share of it was used."""
    name = f"storm_{world.transport}"
    details = next(each for each in accounts(world.ports) if each["username"] == name)

    def clear() -> None:
        # Not all: the crumbs do not fit.
        until(lambda: world.node.balances()[name] <= -STORM_LIMIT * begun_share)
        time.sleep(seconds)
        world.node.call("PUT", f"/accounts/{name}", {**details, "min_balance": -10 * STORM_LIMIT})

    clearing = threading.Thread(target=clear)
    clearing.start()
    try:
        yield
    finally:
        clearing.join()


def test_a_storm_that_clears(world: World, soak: bool) -> None:
    if world.transport == "http" and not soak:
        pytest.skip("one transport is enough for every day: `make soak` has both")
    with storm(world, STORM_SECONDS_SOAK if soak else STORM_SECONDS):
        [paid] = stream(world, "storm", [("carol", 2 * STORM_LIMIT)])
    assert paid.delivered == 2 * STORM_LIMIT


def test_receipts_and_data(world: World) -> None:
    """What the payer gets to show is signed with the verifier's secret, for all that arrived."""
    nonce, secret = os.urandom(16), os.urandom(32)
    headers = {"Receipt-Nonce": base64.b64encode(nonce).decode()}
    headers["Receipt-Secret"] = base64.b64encode(secret).decode()
    before = world.node.balances()
    told = world.node.call("GET", "/accounts/carol/spsp", **headers)
    assert told["receipts_enabled"] is True
    payment = {
        "destinationAccount": told["destination_account"],
        "sharedSecret": told["shared_secret"],
        "amount": "70000",
        "receiptSecret": headers["Receipt-Secret"],
        "data": "for the coffee",
    }
    task = {"role": "stream", "plugin": world.plugin("payer"), "payments": [payment]}
    with stopping(script := Script("payer.js", task)):
        event = script.event("paid", PAID_SECONDS)
    assert event["receipt"] == event["delivered"] == "70000"
    world.check("payer", before, [Paid("carol", 70_000, 70_000, event)])


@pytest.fixture(scope="module")
def public(
    tmp_path_factory: pytest.TempPathFactory, transport: str, authority: Authority
) -> Iterator[World]:
    """The same by TLS alone."""
    yield from made_world(tmp_path_factory.mktemp("public"), transport, tls=authority)


def by_pointer(
    world: World, authority: Authority, payer: str, wanted: Sequence[tuple[str, int]]
) -> list[Paid]:
    """Payments by @interledger/pay, which asks https://localhost/… where to pay."""
    payments = [
        {
            "paymentPointer": f"$localhost:{world.node.port}/accounts/{receiver}",
            "amount": f"{Decimal(amount).scaleb(-9):f}",
            "slippage": 0.025,
        }
        for receiver, amount in wanted
    ]
    before = world.node.balances()
    task = {
        "role": "pay",
        "plugin": world.plugin(payer),
        "payments": payments,
        "prices": {code: float(rate) for code, rate in RATES.items()},
    }
    paid = []
    with stopping(script := Script("payer.js", task, authority.file)):
        for receiver, amount in wanted:
            event = script.event("paid", PAID_SECONDS)
            assert event["error"] is None
            assert Decimal(event["sent"]).scaleb(9) == amount
            delivered = int(Decimal(event["delivered"]).scaleb(int(event["scale"])))
            paid.append(Paid(receiver, amount, delivered, event))
        world.check(payer, before, paid)
    return paid


def test_payment_pointers(public: World, authority: Authority) -> None:
    amounts = [1, 10**6, 10**12]
    paid = by_pointer(public, authority, "payer", [("carol", amount) for amount in amounts])
    assert [each.delivered for each in paid] == amounts


def test_payment_pointers_of_other_scales(public: World, authority: Authority, soak: bool) -> None:
    scales = list(SCALES if soak else SCALES[::6])
    wanted = [(f"scale_{scale}", 10**12 if scale < 9 else 10**6) for scale in scales]
    for scale, paid in zip(scales, by_pointer(public, authority, "payer", wanted), strict=True):
        exact = Decimal(paid.sent).scaleb(scale - 9)
        assert exact * Decimal("0.975") <= paid.delivered <= exact


def test_payment_pointers_and_a_spread(public: World, authority: Authority) -> None:
    [plain] = by_pointer(public, authority, "payer", [("dave", 10**9)])
    [spread] = by_pointer(public, authority, "spread", [("dave", 10**9)])
    assert (plain.delivered, spread.delivered) == (500_000, 490_000)


def test_payment_pointers_and_a_small_path(public: World, authority: Authority, soak: bool) -> None:
    amount = 10**6 if soak else 5_000
    [paid] = by_pointer(public, authority, "small", [("carol", amount)])
    assert paid.delivered == amount


def test_payment_pointers_and_a_storm(public: World, authority: Authority, soak: bool) -> None:
    if not soak:
        pytest.skip("the other payer has one every day: `make soak` has both")
    # It sends all of it in one packet, or nothing.
    with storm(public, STORM_SECONDS_SOAK, begun_share=Decimal(0)):
        [paid] = by_pointer(public, authority, "storm", [("carol", 2 * STORM_LIMIT)])
    assert paid.delivered == 2 * STORM_LIMIT
