"""kill -9, a full disk and a stalling disk under a running stream of packets.

The peers' own books judge the node's: whatever was killed when, a Fulfill that a sender
received is in the balances, nothing is in them twice, and the crash report says how much may be
missing. The ledger is read by py-lmdb in a process of its own before the node comes back.
"""

import asyncio
import random
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ilp_bytes import Packet
from tests.interop import books
from tests.interop.books import Books
from tests.interop.node import Node, account, running
from tests.interop.traffic import Pair, Traffic

ROUNDS, ROUNDS_SOAK = 5, 50
SEED = 20261122
# What may be delivered and not recorded: far less than the senders' windows would put in flight.
IN_FLIGHT_MAX = {"bob": 16_000_000, "dave": 8_000}
ASSETS = {"alice": "XRP/9", "bob": "XRP/9", "carol": "XRP/9", "dave": "USD/6"}
PAIRS = [Pair("alice", "bob", "test.hub.bob.x"), Pair("carol", "dave", "test.hub.dave.x")]


@pytest.fixture(params=["commit", "process"])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Node:
    """With either durability: what was given to the kernel survives the process."""
    accounts = []
    for name, asset in ASSETS.items():
        code, _, scale = asset.partition("/")
        limit = {"max_in_flight_amount": IN_FLIGHT_MAX[name]} if name in IN_FLIGHT_MAX else {}
        accounts.append({**account(name, (code, int(scale))), **limit})
    rates = {"XRP": "0.5", "USD": "1"}
    return Node(tmp_path, "test.hub", accounts, rates=rates, durability=request.param)


@dataclass
class Round:
    """What one run of the node changed in the ledger, account by account, and who drove it."""

    before: Books
    after: Books
    traffic: list[Traffic]

    def posted(self, name: str, side: str) -> int:
        asset, counter = ASSETS[name], f"{side}_posted"
        before = self.before.get(asset, {}).get(name, {})
        return self.after[asset][name][counter] - before.get(counter, 0)


async def run_and_kill(node: Node, chance: random.Random) -> list[Traffic]:
    """Traffic until a random number of answers has come, and kill -9 in the middle of it."""
    left = chance.randint(50, 1_500)

    def count(_: Packet) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            node.running().send_signal(signal.SIGKILL)

    traffic = [Traffic(pair, chance, count) for pair in PAIRS]
    for one in traffic:
        await one.connect(node)
    await asyncio.gather(*(one.run() for one in traffic))
    await asyncio.gather(*(one.closed() for one in traffic))
    return traffic


def judge(round: Round, report: dict[str, dict[str, int]]) -> None:
    """The ledger after a kill against the peers' books and the node's own report."""
    for traffic in round.traffic:
        sender, receiver = traffic.pair.sender, traffic.pair.receiver
        debited, credited = round.posted(sender, "debits"), round.posted(receiver, "credits")
        paid, earned = traffic.sender.books.paid(), traffic.receiver.books.earned()
        given = traffic.receiver.books.given
        delivered = sum(
            traffic.sender.books.sent[key] for key, end in given.items() if end == "fulfilled"
        )
        # Every Fulfill that the sender saw was on the disk; what it did not see is reported.
        not_relayed = report.get(sender, {}).get("not_relayed", 0)
        assert paid <= debited <= paid + not_relayed
        # Nothing is credited that the receiver did not earn, nothing is debited without that.
        assert debited <= delivered
        bound = report[receiver]["in_flight_out_bound"]
        assert bound == IN_FLIGHT_MAX[receiver]
        assert credited <= earned <= credited + bound
        if ASSETS[sender] == ASSETS[receiver]:
            assert debited == credited


def test_kill(node: Node, soak: bool) -> None:
    chance = random.Random(SEED)
    before: Books = {}
    with running(node):
        for _ in range(ROUNDS_SOAK if soak else ROUNDS):
            traffic = asyncio.run(run_and_kill(node, chance))
            node.kill()
            after = books.read(node.data)
            books.assert_balanced(after)
            node.start()
            judge(Round(before, after, traffic), node.crash_report())
            assert node.balances() == books.balances(after, ASSETS, settled=True)
            before = after
    ended = books.read(node.data)
    books.assert_balanced(ended)
    assert not any(row["debits_pending"] for rows in ended.values() for row in rows.values())
    with running(node):
        assert node.crash_report() == {}
