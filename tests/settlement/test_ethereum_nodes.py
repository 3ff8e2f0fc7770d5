"""Two nodes that settle on a real chain, each with its own engine: the examples of Interledger.rs,
and payments that are larger than the credit of their sender.
"""

from pathlib import Path

import pytest

from tests.helpers import until
from tests.settlement.ethereum_nodes import ethereum_pair

pytestmark = pytest.mark.interop

LIMIT = 50
PACKET = 10


def test_ex_02_eth_settlement(tmp_path: Path) -> None:
    limits = {"settle_threshold": 500, "settle_to": 0, "max_packet_amount": 100}
    at_a = {**limits, "min_balance": -1_000}
    with ethereum_pair(tmp_path, at_a, limits) as pair:
        assert pair.pay(500)["delivered_amount"] == 500
        until(pair.is_quiet, pair.about)
        for node, username, balance in (
            (pair.a, "alice", -5e-16),
            (pair.a, "bob", 0.0),
            (pair.b, "alice", 0.0),
            (pair.b, "bob", 5e-16),
        ):
            token = f"{username}_in"
            answer = node.call("GET", f"/accounts/{username}/balance", token=token)
            assert answer == {"asset_code": "ETH", "balance": balance}
        assert pair.transactions() == [500]


def test_ex_07_and_more_than_the_credit(tmp_path: Path) -> None:
    """What is owed is what was routed less what was settled, and never more than the limit: packets
    beyond that are refused until a settlement has come in, and STREAM sends them again."""
    at_a = {"settle_threshold": 40, "settle_to": 10, "max_packet_amount": PACKET}
    at_b = {"min_balance": -LIMIT, "max_packet_amount": PACKET}
    with ethereum_pair(tmp_path, at_a, at_b) as pair:
        routed = 0
        for amount in (70, 10 * LIMIT):
            assert pair.pay(amount)["delivered_amount"] == amount
            routed += amount
            until(pair.is_quiet, pair.about)
            owed = -pair.b.balance("alice")
            assert owed == routed - sum(pair.transactions())
            assert 0 <= owed < 40 + PACKET
            assert (pair.a.balance("alice"), pair.b.balance("bob")) == (-routed, routed)
        # No settlement was asked for, and some packets had to wait for one.
        assert {each["reason"] for each in pair.settlements()} == {"threshold"}
        assert pair.b.get("/status")["statuses"]["exceeds_floor"] > 0
