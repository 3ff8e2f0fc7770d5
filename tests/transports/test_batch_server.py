"""The batch listener against clients that write bytes by hand: hello, packets, everything else."""

import asyncio
import contextlib
import random
import socket
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fastilp.transports.batch import BatchLimits
from tests import ilp_bytes
from tests.transports.batch_harness import BatchHub, batch_hub
from tests.transports.harness import FULFILLMENT, on_uvloop, prepare, until

HELLO = {"ilp": 1, "account": "alice", "token": "alice-token"}


@pytest.mark.parametrize(
    "hello",
    [
        HELLO,
        {"ilp": 1, "token": "alice-token"},
        {"ilp": 1, "account": "", "token": "alice-token"},
        {**HELLO, "something": ["of", {"a": "later version"}]},
    ],
)
@on_uvloop
async def test_hello(hello: dict[str, Any]) -> None:
    async with batch_hub() as node:
        node.hub.receiver("bob")
        port = node.batch("alice", "alice-token")
        node.batch("carol", "carol-token")
        client = await node.connect()
        client.send(hello)
        assert await client.value() == {"ilp": 1, "in_flight_max": 16_384}
        assert port.up and port.link.up
        client.send([7, prepare(amount=9, data=b"hi")])
        request_id, packet = await client.packet()
        assert (request_id, packet.type, packet.data) == (7, ilp_bytes.FULFILL, b"hi")
        assert node.switch.balance(node.hub.account("alice")) == -9
        await client.close()
        await until(lambda: not port.up)


@pytest.mark.parametrize(
    "hello, reason",
    [
        ({**HELLO, "token": "wrong"}, "authentication failed"),
        ({**HELLO, "token": "carol-token"}, "authentication failed"),
        ({**HELLO, "account": "nobody"}, "authentication failed"),
        ({**HELLO, "account": 7}, "authentication failed"),
        ({**HELLO, "token": b"alice-token"}, "authentication failed"),
        ({**HELLO, "token": ""}, "authentication failed"),
        ({"ilp": 1, "account": "alice"}, "authentication failed"),
        ({"ilp": 1, "token": "wrong"}, "authentication failed"),
        ({**HELLO, "ilp": 2}, '"ilp": 1'),
        ({"account": "alice", "token": "alice-token"}, '"ilp": 1'),
        ([1, b"a packet"], "not a map"),
        ("hello", "not a map"),
        ({str(n): n for n in range(17)}, "not MessagePack"),
        ({1: 1}, "not MessagePack"),
        ({**HELLO, "more": "x" * 5_000}, "too long"),
    ],
)
@on_uvloop
async def test_strangers_are_told_and_closed(hello: object, reason: str) -> None:
    async with batch_hub() as node:
        alice, carol = node.batch("alice", "alice-token"), node.batch("carol", "carol-token")
        client = await node.connect()
        client.send(hello)
        client.send([1, prepare(to="g.hub.carol")])
        assert reason in await client.last_words()
        assert not alice.up and not carol.up
        assert node.switch.statuses()["forwarded"] == 0
        await node.hub.is_alive()


@on_uvloop
async def test_bytes_that_are_no_messagepack(caplog: pytest.LogCaptureFixture) -> None:
    async with batch_hub() as node:
        for raw in (b"\xc1", b"GET / HTTP/1.1\r\n\r\n", b"\xdd\xff\xff\xff\xff", b"\x81\xa3\xff"):
            client = await node.connect()
            client.write(raw + b"\xc1" * 8)
            assert "hello" in await client.last_words()
    # Strangers cannot fill the log.
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "login refused: the hello is not MessagePack"
    ]


@on_uvloop
async def test_a_hello_that_takes_its_time() -> None:
    async with batch_hub(limits=BatchLimits(hello_seconds=0.2)) as node:
        node.batch("alice", "alice-token")
        silent, slow = await node.connect(), await node.connect()
        slow.write(msgpack.packb(HELLO)[:-1])
        assert await silent.last_words() == await slow.last_words() == "no hello in time"
        await until(lambda: not node.listener.sessions)


@on_uvloop
async def test_byte_by_byte() -> None:
    async with batch_hub() as node:
        node.hub.receiver("bob")
        node.batch("alice", "alice-token")
        client = await node.connect()
        stream = msgpack.packb(HELLO) + b"\xc0" + msgpack.packb([70_000, prepare()])
        for octet in stream:
            client.write(bytes([octet]))
            await asyncio.sleep(0)
        assert "in_flight_max" in await client.value()
        assert (await client.packet())[0] == 70_000


@on_uvloop
async def test_packets_right_behind_the_hello() -> None:
    async with batch_hub() as node:
        node.hub.receiver("bob")
        node.batch("alice", "alice-token")
        client = await node.connect()
        packets = b"".join(msgpack.packb([n, prepare(data=bytes(900))]) for n in range(500))
        client.write(msgpack.packb(HELLO) + packets)
        assert "in_flight_max" in await client.value()
        assert sorted([(await client.packet())[0] for _ in range(500)]) == list(range(500))


@on_uvloop
async def test_what_is_not_the_protocol_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with batch_hub() as node:
        node.hub.receiver("bob")
        for broken in (
            {"ilp": 1},
            [1],
            [1, b"x", 2],
            [-1, b"x"],
            [1, "x"],
            [2**32, b"x"],
            [1, b""],
        ):
            client = await node.peer()
            client.send([5, prepare()])
            assert (await client.packet())[0] == 5
            client.send(broken)
            words = await client.last_words()
            assert words and words in caplog.text
        await node.hub.is_alive()


@on_uvloop
async def test_random_streams_close_and_do_no_harm() -> None:
    source = random.Random(5)
    async with batch_hub() as node:
        node.hub.receiver("bob")
        for _ in range(60):
            client = await node.peer()
            stream = bytearray(b"".join(msgpack.packb([n, prepare()]) for n in range(5)))
            for _ in range(3):
                stream[source.randrange(len(stream))] = source.randrange(256)
            client.write(bytes(stream))
            await client.close()
        await node.hub.is_alive()


@on_uvloop
async def test_last_words_of_a_peer_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with batch_hub() as node:
        client = await node.peer()
        port = node.tokens.find("alice", "alice-token")
        assert port is not None and port.up
        client.send({"error": "I am going home"})
        assert await client.is_closed()
        await until(lambda: not port.up)
        assert "neither an array" not in caplog.text


@on_uvloop
async def test_a_newer_connection_replaces_the_one_before() -> None:
    async with batch_hub() as node:
        node.hub.receiver("bob")
        older = await node.peer()
        newer = await node.peer()
        assert await older.last_words() == "replaced by a newer connection"
        newer.send([1, prepare()])
        assert (await newer.packet())[1].fulfillment == FULFILLMENT


@on_uvloop
async def test_what_a_closing_connection_cannot_take_was_not_delivered() -> None:
    """An answer that would go to a socket which is being closed counts as one that nobody got."""
    async with batch_hub() as node:
        bob = node.hub.receiver("bob")
        bob.answer = lambda packet: None
        alice = await node.peer("alice")
        alice.send([7, prepare(amount=9)])
        await until(lambda: len(bob.held) == 1)
        port = node.tokens.find("alice", "alice-token")
        assert port is not None
        port.disconnect()
        bob.release()
        node.switch.process(node.hub.pump.now_ms())
        port.flush(port.link)
        assert node.switch.balance(node.hub.account("alice")) == -9
        await until(lambda: not port.up)
        await until(lambda: node.switch.statuses()["undeliverable"] == 1)


@on_uvloop
async def test_an_answer_on_a_later_connection() -> None:
    async with batch_hub() as node:
        alice = node.hub.receiver("alice")
        bob = await node.peer("bob")
        alice.send(3, prepare(amount=5))
        sent_id, packet = await bob.packet()
        assert packet.type == ilp_bytes.PREPARE
        await bob.close()
        bob = await node.peer("bob")
        bob.send([sent_id, ilp_bytes.fulfill(FULFILLMENT)])
        await until(lambda: len(alice.seen) == 1)
        assert alice.seen[0].fulfillment == FULFILLMENT
        assert node.switch.balance(node.hub.account("bob")) == 5


@on_uvloop
async def test_signs_of_life() -> None:
    limits = BatchLimits(keep_alive_seconds=0.05, idle_seconds=1.0)
    async with batch_hub(limits=limits) as node:
        lively, silent = await node.peer("alice"), await node.peer("bob")
        for _ in range(20):
            assert await lively.value() is None
            lively.write(b"\xc0")
        with pytest.raises((EOFError, ConnectionResetError)):
            while await silent.value() is None:
                pass
        lively.send([1, prepare(to="g.hub.nobody")])
        while (value := await lively.value()) is None:
            pass
        assert value[0] == 1


@on_uvloop
async def test_too_many_connections() -> None:
    async with batch_hub(limits=BatchLimits(connections_max=2)) as node:
        clients = [await node.connect() for _ in range(2)]
        await until(lambda: len(node.listener.sessions) == 2)
        assert await (await node.connect()).last_words() == "too many connections"
        await clients[0].close()
        await until(lambda: len(node.listener.sessions) == 1)
        await node.peer()


@on_uvloop
async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "fastilp.sock"
    async with batch_hub(path=path) as node:
        node.hub.receiver("bob")
        node.batch("alice", "alice-token")
        client = node.client(*await asyncio.open_unix_connection(str(path)))
        client.send(HELLO)
        assert "in_flight_max" in await client.value()
        client.send([1, prepare()])
        assert (await client.packet())[1].fulfillment == FULFILLMENT
    assert not path.exists()


@on_uvloop
async def test_a_shutdown_says_so() -> None:
    async with batch_hub() as node:
        client = await node.peer()
        await node.listener.drain(1.0)
        assert await client.last_words() == "the node is shutting down"


# --- peers that do not keep up --------------------------------------------------------------------


async def deaf_peer(node: BatchHub, name: str) -> socket.socket:
    """A connection that has said hello and only writes: a small window, and nobody reads."""
    node.batch(name, f"{name}-token")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", node.listener.port))
    hello = {"ilp": 1, "account": name, "token": f"{name}-token"}
    await loop.sock_sendall(sock, msgpack.packb(hello))
    return sock


@on_uvloop
async def test_a_peer_that_writes_and_never_reads() -> None:
    limits = BatchLimits(egress_size_max=1_000_000, write_buffer_size=100_000, stall_seconds=0.5)
    async with batch_hub(limits=limits) as node:
        bob = node.hub.receiver("bob")
        bob.answer = lambda packet: ilp_bytes.fulfill(FULFILLMENT, bytes(30_000))
        sock = await deaf_peer(node, "alice")
        batch = msgpack.packb([1, prepare(data=bytes(1_000))]) * 20
        loop = asyncio.get_running_loop()
        with contextlib.closing(sock), pytest.raises(OSError):
            # We stop reading, and then hang up: 4 GB are not taken.
            for _ in range(200_000):
                await loop.sock_sendall(sock, batch)
        port = node.tokens.find("alice", "alice-token")
        assert port is not None
        await until(lambda: not port.up)
        assert len(bob.seen) < 3_000
        await node.hub.is_alive()


@on_uvloop
async def test_a_next_hop_that_never_reads_gets_no_more_prepares() -> None:
    async with batch_hub(limits=BatchLimits(stall_seconds=0.5)) as node:
        alice = node.hub.receiver("alice")
        sock = await deaf_peer(node, "bob")
        port = node.tokens.find("bob", "bob-token")
        assert port is not None
        await until(lambda: port.up)
        with contextlib.closing(sock):
            for request_id in range(2_000):
                alice.send(request_id, prepare(data=bytes(30_000)))
                if request_id % 50 == 0:
                    await asyncio.sleep(0)
            await until(lambda: any(packet.code == "T02" for packet in alice.seen))
            assert port.link.egress_size < 6_000_000
            await node.hub.is_alive()
            await until(lambda: not port.up)
            assert port.link.egress_size == 0


@on_uvloop
async def test_a_flood_does_not_keep_others_from_their_turn() -> None:
    """A connection that fills its buffer waits for the turn; nothing of it is lost."""
    async with batch_hub() as node:
        node.hub.receiver("bob")
        flooder = await node.peer("alice")
        count = 12_000
        stream = b"".join(msgpack.packb([n, prepare(data=bytes(500))]) for n in range(count))
        flooder.write(stream)
        other = await node.peer("carol")
        other.send([1, prepare()])
        assert (await other.packet())[1].fulfillment == FULFILLMENT
        answered = sorted([(await flooder.packet())[0] for _ in range(count)])
        assert answered == list(range(count))
