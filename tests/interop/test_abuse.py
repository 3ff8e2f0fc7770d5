"""Peers that behave badly over real sockets: the answer is clear, memory is bounded, nobody else
notices.

Each test has an honest pair of accounts that pays all the while; every one of its packets must
go through.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import ilp_bytes
from tests.helpers import free_port, free_ports
from tests.ilp_bytes import Packet
from tests.interop.node import Node, account, http_account, running
from tests.interop.payments import eventually
from tests.peers import REQUEST_HEAD, BtpPeer, HttpPeer, Stream

HONEST_PAYMENTS = 200
# Generous: what the node may grow by while somebody tries to fill it.
GROWTH_MAX_MIB = 192
BIG = bytes(30_000)
STUCK_SECONDS = 2.0
IN_FLIGHT, IN_FLIGHT_OUT_MAX = 10_000, 8_000
# One sender alone leaves the last eighth of a next hop's window to others.
ADMITTED = IN_FLIGHT_OUT_MAX - IN_FLIGHT_OUT_MAX // 8 + 1


def fulfill(packet: Packet) -> bytes:
    """The fulfillment rides in front of the data; the answer is as large as the Prepare."""
    return ilp_bytes.fulfill(packet.data[:32], packet.data[32:])


def secret(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def pay(sender: BtpPeer | HttpPeer, destination: str, numbers: range) -> "Counter[str]":
    """One payment of one unit after the other; how they ended."""
    ends: Counter[str] = Counter()
    for number in numbers:
        fulfillment = secret(number)
        condition = ilp_bytes.condition_of(fulfillment)
        answer = await sender.send(1, destination, condition, data=fulfillment)
        ends["fulfilled" if answer.type == ilp_bytes.FULFILL else answer.code] += 1
    return ends


async def connected(node: Node, name: str, peer: BtpPeer, *, read: bool = True) -> BtpPeer:
    await peer.connect(node.port, name, f"{name}_in", read=read)
    return peer


async def honest_payments(node: Node) -> None:
    """alice pays bob, and nothing of what goes on beside it costs her a packet."""
    alice = await connected(node, "alice", BtpPeer())
    bob = await connected(node, "bob", BtpPeer(fulfill))
    ends = await pay(alice, "test.hub.bob.x", range(HONEST_PAYMENTS))
    assert ends == {"fulfilled": HONEST_PAYMENTS}
    await alice.close()
    await bob.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    names = ["alice", "bob", "mallory", "victim"]
    accounts = [account(name) for name in names]
    silent: dict[str, Any] = {"in_flight_out_max": IN_FLIGHT_OUT_MAX, "round_trip_time": 0}
    accounts.append(account("silent", **silent))
    accounts.append(http_account("silent_http", free_port(), **silent))
    hub = Node(tmp_path, "test.hub", accounts)
    with running(hub):
        yield hub


async def flood_btp(node: Node) -> tuple[Stream, Callable[[int], None]]:
    mallory = await connected(node, "mallory", BtpPeer(), read=False)

    def send(number: int) -> None:
        fulfillment = secret(number)
        condition = ilp_bytes.condition_of(fulfillment)
        mallory.start(1, "test.hub.victim.x", condition, 30_000, fulfillment + BIG)

    return mallory.stream, send


async def flood_http(node: Node) -> tuple[Stream, Callable[[int], None]]:
    """Requests back to back on one connection (RFC 9112 section 9.3.2)."""
    stream = await Stream.connect("127.0.0.1", node.port)

    def send(number: int) -> None:
        condition = ilp_bytes.condition_of(secret(number))
        expires_at_ms = ilp_bytes.now_ms() + 30_000
        data = secret(number) + BIG
        body = ilp_bytes.prepare(1, "test.hub.victim.x", condition, expires_at_ms, data)
        path = urlsplit(node.ilp_url("mallory")).path
        head = REQUEST_HEAD.format(path=path, token="mallory_in", size=len(body))
        stream.write(head.encode() + body)

    return stream, send


Flood = Callable[[Node], Awaitable[tuple[Stream, Callable[[int], None]]]]


async def never_reads(node: Node, flood: Flood) -> None:
    """mallory sends large Prepares that are all fulfilled, and lets the answers pile up."""
    before_mib = node.resident_mib()
    victim = await connected(node, "victim", BtpPeer(fulfill))
    stream, send = await flood(node)
    for number in range(8_000):
        send(number)
        # Give the victim and the node a chance; what does not move for a while is not read.
        await asyncio.wait([asyncio.create_task(stream.drained())], timeout=STUCK_SECONDS)
        if stream.leaving:
            break
    # It stopped reading (HTTP), or it read all 240 MB and answered T03 in few bytes (BTP, where
    # answers to others may lie behind): it keeps none of it.
    await honest_payments(node)
    assert node.resident_mib() - before_mib < GROWTH_MAX_MIB
    stream.close()
    await eventually(lambda: node.balance("mallory") + node.balance("victim"), 0)
    assert node.balance("victim") == victim.books.earned() > 0
    await victim.close()


@pytest.mark.parametrize("flood", [flood_btp, flood_http])
def test_peer_that_never_reads(node: Node, flood: Flood) -> None:
    asyncio.run(never_reads(node, flood))


async def never_answers(node: Node, silent: BtpPeer | HttpPeer, name: str) -> None:
    """mallory keeps 10,000 Prepares in flight to a peer that holds them all until they expire."""
    before_mib = node.resident_mib()
    mallory = await connected(node, "mallory", BtpPeer())
    answers = []
    for number in range(IN_FLIGHT):
        condition = ilp_bytes.condition_of(secret(number))
        answers.append(mallory.start(1, f"test.hub.{name}.x", condition, 8_000, secret(number)))
        if number % 500 == 0:
            await mallory.stream.drained()
    await honest_payments(node)
    ends = Counter([(await answer).code for answer in answers])
    assert ends == {"R00": ADMITTED, "T02": IN_FLIGHT - ADMITTED}
    assert len(silent.books.received) <= ADMITTED
    assert node.resident_mib() - before_mib < GROWTH_MAX_MIB
    assert (node.balance("mallory"), node.balance(name)) == (0, 0)
    await mallory.close()
    await silent.close()


async def never_answers_btp(node: Node) -> None:
    silent = await connected(node, "silent", BtpPeer())
    await never_answers(node, silent, "silent")
    # Every one that was admitted had reached it.
    assert len(silent.books.received) == ADMITTED


async def never_answers_http(node: Node) -> None:
    silent = HttpPeer()
    await silent.listen(urlsplit(node.urls["silent_http"]).port or 0, "silent_http_out")
    await never_answers(node, silent, "silent_http")


def test_peer_that_never_answers(node: Node) -> None:
    asyncio.run(never_answers_btp(node))


def test_peer_that_never_answers_http(node: Node) -> None:
    asyncio.run(never_answers_http(node))


FLOOD_FULFILLED, FLOOD_WINDOW, FLOOD_IN_FLIGHT_MAX = 500, 128, 16


@pytest.fixture
def facing(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes with hardly any room in flight, and a sender and a receiver at each."""
    ports = free_ports(2)
    peer: dict[str, Any] = {"routing_relation": "Peer", "round_trip_time": 0}
    url = f"btp+ws://127.0.0.1:{ports[0]}/accounts/right/ilp/btp"
    dials = {**peer, "ilp_over_btp_url": url, "ilp_over_btp_outgoing_token": "right_in"}
    sides = {"left": account("right", **peer), "right": account("left", **dials)}
    nodes = []
    for port, (side, other) in zip(ports, sides.items(), strict=True):
        node = Node(
            tmp_path / side,
            f"test.{side}",
            [other, account("alice"), account("bob")],
            routes={f"test.{other['username']}": other["username"]},
            port=port,
            in_flight_max=FLOOD_IN_FLIGHT_MAX,
        )
        nodes.append(node)
    with running(*nodes):
        yield nodes[0], nodes[1]


async def flood_until_enough(sender: BtpPeer, destination: str) -> "Counter[str]":
    """Many times more than fits at once, until enough has come through; how everything ended."""
    ends: Counter[str] = Counter()
    numbers = iter(range(10**6))

    async def keep_sending() -> None:
        while ends["fulfilled"] < FLOOD_FULFILLED:
            fulfillment = secret(next(numbers))
            condition = ilp_bytes.condition_of(fulfillment)
            packet = await sender.send(1, destination, condition, 20_000, fulfillment)
            ends["fulfilled" if packet.type == ilp_bytes.FULFILL else packet.code] += 1

    await asyncio.gather(*(keep_sending() for _ in range(FLOOD_WINDOW)))
    return ends


async def full_and_facing(left: Node, right: Node) -> None:
    """Both sides' tables are full of each other's packets: the answers still find their way."""
    alices, bobs = [], []
    for node in (left, right):
        bobs.append(await connected(node, "bob", BtpPeer(fulfill)))
        alices.append(await connected(node, "alice", BtpPeer()))
        await eventually(node.ways_out, set(node.scales))
    there, back = await asyncio.gather(
        flood_until_enough(alices[0], "test.right.bob.x"),
        flood_until_enough(alices[1], "test.left.bob.x"),
    )
    for ends in (there, back):
        # Refused for want of room, here or over there, or carried; nothing was left to expire.
        assert set(ends) == {"fulfilled", "T03"}
    assert (left.balance("bob"), right.balance("bob")) == (back["fulfilled"], there["fulfilled"])
    assert left.balance("right") == -right.balance("left")
    # With the flood gone, everything goes through again.
    for alice, destination in zip(alices, ("test.right.bob.x", "test.left.bob.x"), strict=True):
        assert await pay(alice, destination, range(10**6, 10**6 + 20)) == {"fulfilled": 20}
    for peer in (*alices, *bobs):
        await peer.close()


def test_two_full_nodes_facing_each_other(facing: tuple[Node, Node]) -> None:
    asyncio.run(full_and_facing(*facing))
