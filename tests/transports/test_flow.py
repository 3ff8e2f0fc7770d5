"""Overload over sockets: memory stays flat, and a flood from one link leaves room for another's
packets."""

import asyncio
import os
import socket
import time

import pytest
import uvloop

from fastilp._core.link import Link
from tests import ilp_bytes
from tests.ilp_bytes import BTP_MESSAGE, BTP_RESPONSE, btp_ilp
from tests.transports.harness import (
    BINARY,
    FULFILLMENT,
    Client,
    Hub,
    auth_message,
    hub,
    on_uvloop,
    prepare,
    until,
)

BATCH = 200
GROWTH_SIZE_MAX = 8 * 1024 * 1024


class Silence:
    """A next hop that takes everything and answers nothing: all of it expires."""

    def flush(self, link: Link) -> None:
        link.take()


class Flood:
    """A peer that sends Prepares as fast as it can, and reads what comes back."""

    def __init__(self, node: Hub, name: str) -> None:
        node.btp(name, f"{name}-token")
        self.name = name
        self.node = node
        self.sent = 0
        self.received = 0
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self.node.listener.port))
        client = Client(asyncio.StreamReader(), None)  # type: ignore[arg-type]
        hello = client.upgrade_request(f"/accounts/{self.name}/ilp/btp")
        hello += client.frame(BINARY, auth_message(f"{self.name}-token"))
        await loop.sock_sendall(self.socket, hello)
        self.tasks = [loop.create_task(self.write(client)), loop.create_task(self.read())]

    async def write(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        made_at, frames = 0.0, b""
        while True:
            if time.monotonic() - made_at > 0.5:
                made_at = time.monotonic()
                packet = btp_ilp(BTP_MESSAGE, 7, prepare(to="g.hub.bob", ms=2_000))
                frames = client.frame(BINARY, packet) * BATCH
            await loop.sock_sendall(self.socket, frames)
            self.sent += BATCH

    async def read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.received += len(await loop.sock_recv(self.socket, 1 << 16))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.socket.close()


def resident_size() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer keeps freed memory, so the process grows whatever we do",
)
def test_memory_is_flat_under_overload(soak: bool) -> None:
    @on_uvloop
    async def short() -> None:
        await overload(packets=60_000, seconds=0.0)

    if soak:
        uvloop.run(overload(packets=0, seconds=600.0))
    else:
        short()


async def overload(packets: int, seconds: float) -> None:
    """More than is answered: the window of the next hop is full, and what is in it expires."""
    async with hub() as node:
        node.receiver("bob").link.owner = Silence()
        flood = Flood(node, "alice")
        await flood.start()
        # The table of what is in flight is touched slot by slot: it has its size after a while.
        warm, warm_until = max(packets, 100_000), time.monotonic() + seconds / 10
        await until(lambda: flood.sent >= warm and time.monotonic() >= warm_until)
        before, start = resident_size(), time.monotonic()
        await until(lambda: flood.sent >= warm + packets and time.monotonic() - start >= seconds)
        grown = resident_size() - before
        await flood.stop()
        counted = node.switch.statuses()
        assert counted["peer_busy"] > 0 and counted["forwarded"] > 0
        assert flood.received > 0
        assert grown < GROWTH_SIZE_MAX
        await until(lambda: node.switch.in_flight() == 0)
        assert node.switch.balance(node.account("alice")) == 0
        assert node.switch.balance(node.account("bob")) == 0


@on_uvloop
async def test_a_flood_leaves_the_last_of_a_window_to_others() -> None:
    """The next hop answers nothing to the flood, which fills its window; a victim's packets to the
    same next hop still go through."""
    async with hub() as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: (
            ilp_bytes.fulfill(FULFILLMENT) if packet.data == b"victim" else None
        )
        flood = Flood(node, "alice")
        await flood.start()
        await until(lambda: node.switch.statuses()["peer_busy"] > 0)
        node.btp("victim", "victim-token")
        client = await node.connect()
        await client.upgrade("/accounts/victim/ilp/btp")
        await client.auth("victim-token")
        for request_id in range(20):
            packet = prepare(data=b"victim")
            client.send(BINARY, btp_ilp(BTP_MESSAGE, request_id, packet))
            answer = await client.btp()
            assert (answer.type, answer.request_id) == (BTP_RESPONSE, request_id)
            assert ilp_bytes.decode(answer.entries["ilp"]).type == ilp_bytes.FULFILL
        await flood.stop()
        assert node.switch.balance(node.account("victim")) == -20
