"""A chain, alice - a - a.b - a.b.c - bob, and everybody's books in each phase of a packet.

Four nodes: a, a.b, a.b.c and bob's own; alice and bob themselves are raw peers, so that every
phase can be held open. Five units go from left to right. A Prepare takes them from alice and
makes each hop owe the next; the Fulfill moves them for good, hop by hop on its way back; a
Reject undoes everything.
"""

import asyncio
import functools
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import ilp_bytes
from tests.helpers import free_ports
from tests.interop import books
from tests.interop.node import Account, Node, account, running
from tests.interop.payments import eventually
from tests.peers import BtpPeer, Held

AMOUNT = 5
SCENE_SECONDS = 60
FULFILLMENT = b"the workshop's five units of XRP"
CONDITION = ilp_bytes.condition_of(FULFILLMENT)
BOB = "test.a.b.c.d.bob"
ADDRESSES = ("test.a", "test.a.b", "test.a.b.c", "test.a.b.c.d")
# Alice's five units come from here, so that she owns them before she sends them.
FAUCET = "faucet"

Balances = list[dict[str, int]]
# Node by node, as each keeps them: positive is what the node owes the account's holder.
BEFORE: Balances = [
    {"alice": 5, FAUCET: -5, "node_b": 0},
    {"node_a": 0, "node_c": 0},
    {"node_b": 0, "node_d": 0},
    {"node_c": 0, "bob": 0},
]
PREPARED: Balances = [
    {"alice": 0, FAUCET: -5, "node_b": 0},
    {"node_a": -5, "node_c": 0},
    {"node_b": -5, "node_d": 0},
    {"node_c": -5, "bob": 0},
]
FULFILLED: Balances = [
    {"alice": 0, FAUCET: -5, "node_b": 5},
    {"node_a": -5, "node_c": 5},
    {"node_b": -5, "node_d": 5},
    {"node_c": -5, "bob": 5},
]


def neighbour(position: int) -> str:
    """The username of the node at a place of the chain."""
    return f"node_{'abcd'[position]}"


def hop_account(position: int, of: int, ports: list[int], transport: str) -> Account:
    """The account of node `of` in the books of node `position`: each dials the one to its left."""
    settings: dict[str, Any] = {"routing_relation": "Peer", "round_trip_time": 50}
    here, there = neighbour(position), neighbour(of)
    url = f"127.0.0.1:{ports[of]}/accounts/{here}/ilp"
    if transport == "http":
        settings["ilp_over_http_url"] = f"http://{url}"
        settings["ilp_over_http_outgoing_token"] = f"{here}_in"
    elif of < position:
        settings["ilp_over_btp_url"] = f"btp+ws://{url}/btp"
        settings["ilp_over_btp_outgoing_token"] = f"{here}_in"
    return account(there, **settings)


def make_node(directory: Path, position: int, ports: list[int], transport: str) -> Node:
    accounts, routes = [], {}
    if position == 0:
        accounts += [account("alice", min_balance=0, round_trip_time=50), account(FAUCET)]
    else:
        accounts.append(hop_account(position, position - 1, ports, transport))
        routes["test.a"] = neighbour(position - 1)
    if position == len(ADDRESSES) - 1:
        accounts.append(account("bob", round_trip_time=50))
    else:
        accounts.append(hop_account(position, position + 1, ports, transport))
        routes[ADDRESSES[position + 1]] = neighbour(position + 1)
    address = ADDRESSES[position]
    return Node(
        directory / neighbour(position), address, accounts, routes=routes, port=ports[position]
    )


@dataclass
class Chain:
    """The four nodes and the two raw peers at its ends."""

    nodes: list[Node]
    alice: BtpPeer
    bob: BtpPeer

    def balances(self) -> Balances:
        return [node.balances() for node in self.nodes]

    async def connect(self) -> None:
        await self.alice.connect(self.nodes[0].port, "alice", "alice_in")
        await self.bob.connect(self.nodes[-1].port, "bob", "bob_in")
        for node in self.nodes:
            await eventually(node.ways_out, set(node.scales) - {FAUCET})
        await self.fund()

    async def fund(self) -> None:
        """Five units of alice's own."""
        faucet = BtpPeer()
        await faucet.connect(self.nodes[0].port, FAUCET, f"{FAUCET}_in")
        answer = faucet.start(AMOUNT, "test.a.alice", CONDITION)
        self.alice.answer(await self.alice.held.get(), ilp_bytes.fulfill(FULFILLMENT))
        assert (await answer).type == ilp_bytes.FULFILL
        await faucet.close()

    async def prepare(
        self, expiry_ms: int = 20_000
    ) -> tuple["asyncio.Future[ilp_bytes.Packet]", Held]:
        """Alice's five units, up to bob, who holds them."""
        await eventually(self.balances, BEFORE)
        answer = self.alice.start(AMOUNT, BOB, CONDITION, expiry_ms)
        held = await self.bob.held.get()
        assert held.packet.amount == AMOUNT
        await eventually(self.balances, PREPARED)
        await eventually(lambda: [pending(node) for node in self.nodes], [AMOUNT] * len(self.nodes))
        return answer, held

    async def __aenter__(self) -> "Chain":
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.alice.close()
        await self.bob.close()


@pytest.fixture(params=["btp", "http"])
def chain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chain]:
    ports = free_ports(len(ADDRESSES))
    nodes = [make_node(tmp_path, place, ports, request.param) for place in range(len(ADDRESSES))]
    with running(*nodes):
        yield Chain(nodes, BtpPeer(), BtpPeer())


async def connected(chain: Chain, scene: Callable[[Chain], Awaitable[None]]) -> None:
    async with chain, asyncio.timeout(SCENE_SECONDS):
        await scene(chain)


def pending(node: Node) -> int:
    """What its senders have reserved, by the ledger on its disk."""
    accounts = books.read(node.data)["XRP/9"]
    return sum(accounts[name]["debits_pending"] for name in node.scales)


async def fulfilled_hop_by_hop(chain: Chain) -> None:
    """Each hop but the last is frozen while the Fulfill comes back, and thawed one by one."""
    answer, held = await chain.prepare()
    frozen = chain.nodes[:-1]
    for node in frozen:
        node.running().send_signal(signal.SIGSTOP)
    chain.bob.answer(held, ilp_bytes.fulfill(FULFILLMENT, b"for alice"))
    await eventually(chain.nodes[-1].balances, FULFILLED[-1])
    while frozen:
        assert [pending(node) for node in frozen] == [AMOUNT] * len(frozen)
        assert not answer.done()
        node = frozen.pop()
        node.running().send_signal(signal.SIGCONT)
        await eventually(node.balances, FULFILLED[len(frozen)])
    fulfill = await answer
    assert (fulfill.fulfillment, fulfill.data) == (FULFILLMENT, b"for alice")
    # What a hop in the middle is owed by its left, it owes its right: its own books are even.
    assert [sum(balances.values()) for balances in chain.balances()] == [0] * len(chain.nodes)


async def rejected(chain: Chain) -> None:
    answer, held = await chain.prepare()
    chain.bob.answer(held, ilp_bytes.reject("F99", BOB, "not today", b"why"))
    assert await answer == ilp_bytes.decode(ilp_bytes.reject("F99", BOB, "not today", b"why"))
    await eventually(chain.balances, BEFORE)


def test_fulfill_clears_hop_by_hop(chain: Chain) -> None:
    asyncio.run(connected(chain, fulfilled_hop_by_hop))


def test_reject_undoes_everything(chain: Chain) -> None:
    asyncio.run(connected(chain, rejected))


def differences(chain: Chain) -> list[int]:
    """Between what two neighbours say of each other, pair by pair from the left."""
    pairs = list(enumerate(zip(chain.nodes, chain.nodes[1:], strict=False)))
    return [
        left.balance(neighbour(place + 1)) + right.balance(neighbour(place))
        for place, (left, right) in pairs
    ]


async def middle_is_killed(chain: Chain, *, back_early: bool) -> None:
    """a.b dies between the phases, and is back before or after bob has fulfilled."""
    # Time for its start, on a busy machine too.
    answer, held = await chain.prepare(expiry_ms=20_000 if back_early else 6_000)
    middle = chain.nodes[1]
    middle.kill()
    if back_early:
        await asyncio.to_thread(middle.start)
    chain.bob.answer(held, ilp_bytes.fulfill(FULFILLMENT))
    await eventually(lambda: [node.balances() for node in chain.nodes[2:]], FULFILLED[2:])
    # Nobody can say that it was fulfilled, so alice has her money back: at once, or at its expiry.
    assert (await answer).code in ("T01", "R00")
    await eventually(chain.nodes[0].balances, BEFORE[0])
    if not back_early:
        await asyncio.to_thread(middle.start)
    assert middle.balances() == BEFORE[1]
    # Two neighbours disagree, by what the node that died says it may owe.
    assert differences(chain) == [0, -AMOUNT, 0]
    given_back = {"in_flight_in": AMOUNT, "in_flight_out": 0, "not_relayed": 0}
    may_be_delivered = {"in_flight_in": 0, "in_flight_out": AMOUNT, "not_relayed": 0}
    assert middle.crash_report() == {"node_a": given_back, "node_c": may_be_delivered}


@pytest.mark.parametrize("back_early", [False, True])
def test_kill_of_a_middle_node_is_explained(chain: Chain, back_early: bool) -> None:
    scene = functools.partial(middle_is_killed, back_early=back_early)
    asyncio.run(connected(chain, scene))
