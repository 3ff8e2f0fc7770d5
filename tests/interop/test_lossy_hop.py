"""Payments over a hop that loses one packet in five: alice's node - the hop - bob's node.

Everybody's books are compared at the end: what the payer has paid, what the hop has paid for
answers that it lost, what the receiver got.
"""

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import wait_until
from tests.interop import books
from tests.interop.lossy import Losses, LossyHop, lossy_hop, share
from tests.interop.node import Node, account, running
from tests.interop.processes import Script, stopping

XRP = ("XRP", 9)
# What is lost is answered for when it expires, and nobody shall wait long for that.
HOLD_MS = 1_500
PACKET_MAX = 100
PAID_SECONDS = 120.0


class World(NamedTuple):
    left: Node
    right: Node

    def balance(self, name: str) -> int:
        return (self.left if name == "alice" else self.right).balances()[name]

    def check(self, hop: LossyHop, sent: int) -> None:
        """Nobody has lost anything but the hop, and the hop what it paid for lost answers."""
        wait_until(lambda: self.left.get("/status")["in_flight"], 0)
        assert hop.lost > 0
        assert self.left.balances() == {"alice": -sent, "hop": sent}
        arrived = sent + hop.paid()
        receivers = {name: value for name, value in self.right.balances().items() if name != "hop"}
        assert sum(receivers.values()) == arrived == -self.right.balances()["hop"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    left = Node(
        tmp_path / "left",
        "test.left",
        [account("alice", XRP, max_packet_amount=PACKET_MAX), account("hop", XRP)],
        routes={"test.right": "hop"},
        hold_max_ms=HOLD_MS,
    )
    right = Node(
        tmp_path / "right",
        "test.right",
        [account("hop", XRP), account("carol", XRP), account("bob", XRP)],
    )
    with running(left, right):
        yield World(left, right)
        for node in (left, right):
            books.assert_balanced(books.read(node.data))


def pay(world: World, url: str, amount: int) -> dict[str, int]:
    body = {"receiver": url, "source_amount": amount}
    path = "/accounts/alice/payments"
    paid: dict[str, int] = world.left.call("POST", path, body, "alice_in", PAID_SECONDS)
    return paid


def amount_of(soak: bool) -> int:
    return 10**6 if soak else 3 * 10**4


@pytest.mark.parametrize("kind", ["stream", "receiver"])
def test_lost_prepares(world: World, kind: str, soak: bool) -> None:
    """They come back unpaid, and are sent again: the sum is exact."""
    if kind == "receiver" and not soak:
        pytest.skip("one receiver is enough for every day: `make soak` has both")
    amount = amount_of(soak)
    receiver = Script("receiver.js", {"role": kind, "plugin": world.right.btp("bob")})
    with stopping(receiver), lossy_hop(world.left, world.right, Losses(share(0.2))) as hop:
        port = receiver.event("ready")["port"]
        paid = pay(world, f"http://127.0.0.1:{port}/", amount)
        assert paid["sent_amount"] == paid["delivered_amount"] == amount
        world.check(hop, amount)
        assert hop.paid() == 0


def test_lost_answers(world: World, soak: bool) -> None:
    """The receiver has got them; what the payer sends again arrives twice, at the hop's cost."""
    amount = amount_of(soak)
    losses = Losses(share(0.1), share(0.1, seed=2))
    with lossy_hop(world.left, world.right, losses) as hop:
        paid = pay(world, f"{world.right.origin}/accounts/carol/spsp", amount)
        assert paid["sent_amount"] == amount
        world.check(hop, amount)
        assert hop.paid() > 0
        assert amount <= paid["delivered_amount"] <= amount + hop.paid()


@pytest.mark.parametrize("role", ["stream", "pay"])
def test_payers_of_npm(world: World, role: str) -> None:
    """They give up at R00, so they are told T00 of what was lost."""
    told = world.right.call("GET", "/accounts/carol/spsp", token="")
    amount = 3_000
    payment = {
        "destinationAccount": told["destination_account"],
        "sharedSecret": told["shared_secret"],
        "amount": str(amount) if role == "stream" else f"{Decimal(amount).scaleb(-9):f}",
        "slippage": 0.01,
    }
    task = {
        "role": role,
        "plugin": world.left.btp("alice"),
        "payments": [payment],
        "prices": {"XRP": 1},
    }
    source = random.Random(3)
    losses = Losses(lambda packet: packet.amount > 0 and source.random() < 0.2, code="T00")
    with lossy_hop(world.left, world.right, losses) as hop:
        with stopping(payer := Script("payer.js", task)):
            event = payer.event("paid", PAID_SECONDS)
        scale = 0 if role == "stream" else 9
        assert event.get("error") is None
        assert int(Decimal(event["sent"]).scaleb(scale)) == amount
        assert int(Decimal(event["delivered"]).scaleb(scale)) == amount
        world.check(hop, amount)
