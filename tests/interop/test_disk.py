"""A disk that stalls and a disk that is full, under a running node: T00 for what is new, nothing
that is in hand is lost, and all is well again once the disk is.

The stalling disk is the store's preloaded `stall.c`, the full one a small tmpfs.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import ilp_bytes
from tests.ilp_bytes import Packet
from tests.interop import books
from tests.interop.node import Node, account, running
from tests.interop.payments import eventually
from tests.interop.processes import Process
from tests.interop.traffic import Pair, Traffic, receive
from tests.peers import BtpPeer
from tests.storage.faulty_disk import compile_shim, fill, mounted, preload

STALL_SECONDS = 5.0
HELD = 10
# These expire while the disk stalls: their Fulfills must not wait for it.
SOON_MS, LATER_MS = 3_000, 20_000
SCENE_SECONDS = 60
# The journal has 4 MiB from the start. The node keeps 16 MiB of room ahead for LMDB, and there is
# hardly more than that: it is short of it as soon as LMDB's file has grown by some pages.
DISK_SIZE = "22m"
READER = """
import lmdb, sys
environment = lmdb.open(sys.argv[1], readonly=True)
with environment.begin():
    print("reading", flush=True)
    sys.stdin.read()
"""

Scene = Callable[[Node, BtpPeer, BtpPeer, Path], Awaitable[None]]
Answers = list["asyncio.Future[Packet]"]


def fulfillment(number: int) -> bytes:
    """One that `receive` fulfils, too: it rejects by the first byte."""
    return b"\1" + number.to_bytes(31, "big")


def hold(alice: BtpPeer, numbers: range, expiry_ms: int) -> Answers:
    """Prepares to bob, who holds what he gets."""
    conditions = [ilp_bytes.condition_of(fulfillment(number)) for number in numbers]
    return [alice.start(1_000, "test.hub.bob.x", key, expiry_ms) for key in conditions]


def fulfil_held(bob: BtpPeer) -> None:
    """Give the fulfillments of all held Prepares away."""
    secrets = {ilp_bytes.condition_of(fulfillment(n)): fulfillment(n) for n in range(2 * HELD)}
    while not bob.held.empty():
        held = bob.held.get_nowait()
        bob.answer(held, ilp_bytes.fulfill(secrets[held.packet.condition]))


async def answered(alice: BtpPeer, wanted: str) -> None:
    """Pay dave, who fulfils at once, again and again until a payment ends as wanted."""
    while True:
        secret = b"\1" + os.urandom(31)
        condition = ilp_bytes.condition_of(secret)
        answer = alice.start(2_000, "test.hub.dave.x", condition, LATER_MS, secret)
        # A payment that was let in before may wait for the disk as long as it likes.
        await asyncio.wait([answer], timeout=0.2)
        if answer.done() and alice.books.answered[condition] == wanted:
            return


def judge(node: Node, peers: dict[str, BtpPeer]) -> None:
    """kill -9, and the ledger says what the peers' books say, to the unit."""
    node.kill()
    ledger = books.read(node.data)
    books.assert_balanced(ledger)
    xrp = ledger["XRP/9"]
    assert xrp["alice"]["debits_posted"] == peers["alice"].books.paid()
    for name in ("bob", "dave"):
        assert xrp[name]["credits_posted"] == peers[name].books.earned()


async def on_stage(node: Node, scene: Scene, disk: Path) -> None:
    """Three peers play the scene; then all that alice sent has been answered, and it is judged."""
    peers = {"alice": BtpPeer(), "bob": BtpPeer(), "dave": BtpPeer(receive)}
    async with asyncio.timeout(SCENE_SECONDS):
        try:
            for name, peer in peers.items():
                await peer.connect(node.port, name, f"{name}_in")
            await scene(node, peers["alice"], peers["bob"], disk)
            await eventually(peers["alice"].in_flight, 0)
            judge(node, peers)
        finally:
            for peer in peers.values():
                await peer.close()


def make_node(directory: Path) -> Node:
    return Node(directory, "test.hub", [account(name) for name in ("alice", "bob", "dave")])


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_shim(tmp_path_factory.mktemp("shim"))


async def stall(node: Node, alice: BtpPeer, bob: BtpPeer, disk: Path) -> None:
    soon, later = hold(alice, range(HELD), SOON_MS), hold(alice, range(HELD, 2 * HELD), LATER_MS)
    await eventually(bob.held.qsize, 2 * HELD)
    (disk / "stall").touch()
    started = time.monotonic()
    fulfil_held(bob)
    await answered(alice, "T00")
    # The alarm is raised, and alice has what she would have lost by waiting.
    assert {(await answer).type for answer in soon} == {ilp_bytes.FULFILL}
    await asyncio.to_thread(node.running().wait_for, "fulfilled before commit")
    await asyncio.sleep(STALL_SECONDS - (time.monotonic() - started))
    assert not any(answer.done() for answer in later)
    await answered(alice, "T00")
    (disk / "stall").unlink()
    assert {(await answer).type for answer in later} == {ilp_bytes.FULFILL}
    await answered(alice, "fulfilled")


def test_disk_that_stalls(tmp_path: Path, shim: Path) -> None:
    node = make_node(tmp_path)
    node.environment = {"LD_PRELOAD": preload(shim), "FASTILP_TEST_DISK": str(tmp_path)}
    with running(node):
        asyncio.run(on_stage(node, stall, tmp_path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", DISK_SIZE) as disk:
        yield disk


@contextmanager
def old_reader(data: Path) -> Iterator[None]:
    """Somebody reads the ledger and does not end: LMDB cannot use a page again, the file grows."""
    reader = Process([sys.executable, "-c", READER, str(data)])
    reader.wait_for("reading")
    yield
    reader.stop()


async def fill_up(node: Node, alice: BtpPeer, bob: BtpPeer, disk: Path) -> None:
    in_hand = hold(alice, range(2 * HELD), LATER_MS)
    await eventually(bob.held.qsize, 2 * HELD)
    fill(disk / "filler")
    with old_reader(node.data):
        full = asyncio.Event()
        pair = Pair("alice", "dave", "test.hub.dave.x")
        traffic = Traffic(pair, random.Random(2), sender=alice)
        traffic.on_answer = lambda packet: full.set() if packet.code == "T00" else None
        running_traffic = asyncio.create_task(traffic.run())
        await full.wait()
        running_traffic.cancel()
        # The room that is kept ahead takes what is in hand.
        fulfil_held(bob)
        assert {(await answer).type for answer in in_hand} == {ilp_bytes.FULFILL}
        await answered(alice, "T00")
    (disk / "filler").unlink()
    await answered(alice, "fulfilled")


def test_disk_that_is_full(small_disk: Path) -> None:
    node = make_node(small_disk)
    with running(node):
        asyncio.run(on_stage(node, fill_up, small_disk))
