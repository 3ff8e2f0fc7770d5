"""Peers that do not keep up: memory stays bounded, everybody else is served."""

import asyncio
import contextlib
import socket

import pytest

from fastilp.transports.btp import BtpLimits
from fastilp.transports.btp_client import BtpDialler
from tests import ilp_bytes
from tests.ilp_bytes import BTP_MESSAGE, BTP_RESPONSE, btp_frame, btp_ilp
from tests.transports.harness import (
    BINARY,
    FULFILLMENT,
    PING,
    Client,
    Hub,
    auth_message,
    hub,
    on_uvloop,
    prepare,
    until,
)

LIMITS = BtpLimits(egress_size_max=1_000_000, write_buffer_size=100_000, stall_seconds=0.5)


async def deaf_peer(node: Hub, name: str) -> tuple[socket.socket, Client]:
    """A connection that has said hello and only writes: a small window, and nobody reads."""
    node.btp(name, f"{name}-token")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", node.listener.port))
    client = Client(asyncio.StreamReader(), None)  # type: ignore[arg-type]
    await loop.sock_sendall(sock, client.upgrade_request(f"/accounts/{name}/ilp/btp"))
    await loop.sock_sendall(sock, client.frame(BINARY, auth_message(f"{name}-token")))
    return sock, client


async def flood(sock: socket.socket, frame: bytes, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.sock_sendall(sock, frame)


@pytest.mark.parametrize("kind", ["prepares", "pings", "transfers", "messages"])
@on_uvloop
async def test_a_peer_that_writes_and_never_reads(kind: str) -> None:
    async with hub(btp=LIMITS) as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: ilp_bytes.fulfill(FULFILLMENT, bytes(30_000))
        sock, client = await deaf_peer(node, "alice")
        message = {
            "prepares": btp_ilp(BTP_MESSAGE, 1, prepare(data=bytes(1_000))),
            "pings": b"p" * 125,
            "transfers": btp_frame(7, 1, [])[:5] + b"\x0a" + bytes(8) + b"\x01\x00",
            "messages": btp_frame(BTP_MESSAGE, 1, [("other", 0, b"")]),
        }[kind]
        frame = client.frame(PING if kind == "pings" else BINARY, message)
        batch = frame * (1 + 20_000 // len(frame))
        with contextlib.closing(sock), pytest.raises(OSError):
            # We stop reading, and then hang up: 4 GB are not taken.
            await flood(sock, batch, 200_000)
        port = node.btp_tokens.find("alice", "alice-token")
        assert port is not None
        await until(lambda: not port.up)
        assert len(bob.seen) < 3_000
        await node.is_alive()


@on_uvloop
async def test_a_next_hop_that_never_reads_gets_no_more_prepares() -> None:
    """What waits for it is bounded by the switch; senders are told T02, others are not touched."""
    limits = BtpLimits(stall_seconds=0.5)
    async with hub(btp=limits) as node:
        alice = node.receiver("alice")
        sock, _ = await deaf_peer(node, "bob")
        port = node.btp_tokens.find("bob", "bob-token")
        assert port is not None
        await until(lambda: port.up)
        with contextlib.closing(sock):
            for request_id in range(2_000):
                alice.send(request_id, prepare(data=bytes(30_000)))
                if request_id % 50 == 0:
                    await asyncio.sleep(0)
            await until(lambda: any(packet.code == "T02" for packet in alice.seen))
            assert port.link.egress_size < 6_000_000
            await node.is_alive()
            # It is over its bound, and stays so: it is hung up on.
            await until(lambda: not port.up)
            assert port.link.egress_size == 0


@on_uvloop
async def test_a_peer_that_reads_again_is_served_again() -> None:
    limits = BtpLimits(egress_size_max=500_000, write_buffer_size=100_000)
    async with hub(btp=limits) as node:
        node.receiver("bob")
        node.btp("alice", "alice-token")
        client = await node.connect(limit=2**16)
        await client.upgrade()
        await client.auth("alice-token")
        count = 400
        for request_id in range(count):
            packet = prepare(data=bytes(30_000))
            client.send(BINARY, btp_ilp(BTP_MESSAGE, request_id, packet))
        # 12 MB of answers wait for us now, or would; reading them lets the rest come.
        await asyncio.sleep(0.3)
        answers = [await client.btp() for _ in range(count)]
        assert {answer.type for answer in answers} == {BTP_RESPONSE}
        assert sorted(answer.request_id for answer in answers) == list(range(count))


@on_uvloop
async def test_two_connectors_face_each_other_with_more_than_fits() -> None:
    limits = BtpLimits(write_buffer_size=50_000)
    async with hub(btp=limits) as near, hub(btp=limits) as far:
        senders = []
        for node, other, name in ((near, far, "far"), (far, near, "near")):
            node.btp(name, f"{name}-token")
            sender = node.receiver(f"sender-{name}")
            other.receiver(f"receiver-{name}")
            node.switch.set_route(f"g.hub.receiver-{name}", node.account(name))
            senders.append((sender, f"g.hub.receiver-{name}"))
        port = near.btp_tokens.find("far", "far-token")
        assert port is not None
        url = f"btp+ws://near:near-token@127.0.0.1:{far.listener.port}/"
        dialler = BtpDialler(port, url, limits=limits)
        dialler.start()
        await until(lambda: port.up)
        for request_id in range(600):
            for sender, to in senders:
                sender.send(request_id, prepare(to=to, data=bytes(25_000)))
        for sender, _ in senders:
            await until(lambda sender=sender: len(sender.seen) == 600)  # type: ignore[misc]
            codes = {packet.code for packet in sender.seen if packet.type == ilp_bytes.REJECT}
            assert codes <= {"T02"}
            assert any(packet.type == ilp_bytes.FULFILL for packet in sender.seen)
        assert near.switch.in_flight() == far.switch.in_flight() == 0
        await dialler.close()
