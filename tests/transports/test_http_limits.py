"""The HTTP listener against clients that are hostile, broken, slow, or do not read."""

import asyncio
import contextlib
import socket

import pytest

from fastilp.transports.http_messages import HttpLimits
from tests import ilp_bytes
from tests.transports.harness import FULFILLMENT, hub, on_uvloop, post, prepare, until

HEAD = b"POST /accounts/alice/ilp HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer alice-token\r\n"
CHUNK = b"5\r\nhello\r\n0\r\n\r\n"

SMUGGLING = {
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "two different lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "a list of lengths": (HEAD + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "a signed length": (HEAD + b"Content-Length: +5\r\n\r\nhello", 400),
    "a negative length": (HEAD + b"Content-Length: -5\r\n\r\nhello", 400),
    "a hexadecimal length": (HEAD + b"Content-Length: 0x5\r\n\r\nhello", 400),
    "length and chunked": (
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
        400,
    ),
    "chunked and length": (
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + CHUNK,
        400,
    ),
    "chunked twice": (
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
        (400, 411),
    ),
    "hidden chunked": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNK, (400, 411)),
    "space before the colon": (HEAD + b"Content-Length : 5\r\n\r\nhello", 400),
    "folded header": (HEAD + b"X-A: 1\r\n Content-Length: 5\r\n\r\nhello", 400),
    "line feeds alone": (HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 5\n\nhello", 400),
    "carriage return alone": (HEAD + b"X-A: 1\rContent-Length: 5\r\n\r\nhello", 400),
    "zero byte": (HEAD + b"X-A: 1\x00\r\nContent-Length: 5\r\n\r\nhello", 400),
    "no host": (HEAD.replace(b"Host: hub\r\n", b"") + b"Content-Length: 5\r\n\r\nhello", 400),
    "two hosts": (HEAD + b"Host: other\r\nContent-Length: 5\r\n\r\nhello", 400),
    "chunked": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK, 411),
    "no length": (HEAD + b"\r\n", 411),
    "too long": (HEAD + b"Content-Length: 65536\r\n\r\n", 413),
    "far too long": (HEAD + b"Content-Length: 18446744073709551615\r\n\r\n", 413),
    "length beyond 64 bits": (HEAD + b"Content-Length: 18446744073709551616\r\n\r\n", 400),
    "other protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "unknown method": (b"FETCH / HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "proxy": (b"CONNECT hub:80 HTTP/1.1\r\nHost: hub\r\n\r\n", 405),
}


@pytest.mark.parametrize("request_, status", SMUGGLING.values(), ids=SMUGGLING)
@on_uvloop
async def test_refused_and_closed(request_: bytes, status: int | tuple[int, ...]) -> None:
    """What follows is never taken for a request."""
    smuggled = post(prepare(data=b"smuggled"))
    async with hub() as node:
        bob = node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        response = await client.ask(request_ + smuggled)
        assert response.status in (status if isinstance(status, tuple) else (status,))
        assert response.headers["connection"] == "close"
        assert response.headers["content-type"] == "application/problem+json"
        assert await client.is_closed()
        assert bob.seen == []
        await node.is_alive()


@on_uvloop
async def test_refused_byte_by_byte_and_behind_a_good_one() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        for request, status in SMUGGLING.values():
            client = await node.connect()
            client.write(post(prepare()))
            for byte in request:
                client.write(bytes([byte]))
            assert (await client.response()).status == 200
            response = await client.response()
            assert response.status in (status if isinstance(status, tuple) else (status,))
            await client.close()


@on_uvloop
async def test_random_bytes() -> None:
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        whole = post(prepare(data=b"mutated"))
        for seed in range(300):
            mutated = bytearray(whole)
            for step in range(3):
                mutated[(seed * 7919 + step * 104_729) % len(mutated)] = (seed * 31 + step) & 0xFF
            client = await node.connect()
            client.write(bytes(mutated))
            client.writer.write_eof()
            await client.reader.read()
            await client.close()
        await node.is_alive()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /" + b"a" * 20_000,
        HEAD + b"X-A: " + b"b" * 20_000,
        HEAD + b"".join(b"X-%d: c\r\n" % i for i in range(2_000)),
        HEAD + b"Z" * 20_000,
    ],
    ids=["target", "value", "many headers", "name"],
)
@pytest.mark.parametrize("piece", [7, 1_000, 1_000_000])
@on_uvloop
async def test_endless_headers(head: bytes, piece: int) -> None:
    async with hub() as node:
        node.receiver("bob")
        client = await node.connect()
        for at in range(0, len(head), piece):
            client.write(head[at : at + piece])
            await asyncio.sleep(0)
        client.write(b"\r\nHost: hub\r\n\r\n")
        assert (await client.response()).status in (400, 431)
        assert await client.is_closed()
        await node.is_alive()


@on_uvloop
async def test_largest_headers_and_largest_body_pass() -> None:
    async with hub() as node:
        node.http("alice", "alice-token")
        client = await node.connect()
        request = post(b"\x0c" + bytes(65_534), more="X-A: " + "a" * 15_000 + "\r\n")
        assert (await client.ask(request)).status == 400
        assert (await client.ask(request)).packet.code == "F01"


@on_uvloop
async def test_upgrades_to_what_we_do_not_speak_are_ignored() -> None:
    """Some Java clients offer h2c with their first request."""
    h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    async with hub() as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        request = post(prepare(data=b"java"), more=h2c)
        client.write(request * 300)
        for _ in range(300):
            assert (await client.response()).packet.data == b"java"
        closing = post(prepare(), more=h2c.replace("Upgrade,", "Upgrade, close,"))
        assert (await client.ask(closing)).headers["connection"] == "close"
        assert await client.is_closed()


@on_uvloop
async def test_slow_requests_are_cut_off() -> None:
    limits = HttpLimits(request_seconds=0.3, idle_seconds=30.0)
    async with hub(http=limits) as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        client = await node.connect()
        # Longer than it may take, and not so long that the listener tires of a client that writes
        # on.
        for byte in post(prepare())[:100]:
            client.write(bytes([byte]))
            await asyncio.sleep(0.01)
        assert (await client.response()).status == 408
        assert await client.is_closed()
        # One that waits for its answer is no slow one.
        bob = node.receiver("carol")
        bob.answer = lambda packet: None
        client = await node.connect()
        client.write(post(prepare(to="g.hub.carol")))
        await asyncio.sleep(0.8)
        bob.release()
        assert (await client.response()).status == 200


@on_uvloop
async def test_idle_connections_are_closed() -> None:
    async with hub(http=HttpLimits(idle_seconds=0.2)) as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        silent, used = await node.connect(), await node.connect()
        assert (await used.ask(post(prepare()))).status == 200
        assert await silent.is_closed()
        assert await used.is_closed()


@on_uvloop
async def test_too_many_connections() -> None:
    async with hub(http=HttpLimits(connections_max=2)) as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        first, _ = await node.connect(), await node.connect()
        await until(lambda: node.listener.connection_count() == 2)
        third = await node.connect()
        assert (await third.response()).status == 503
        assert await third.is_closed()
        assert (await first.ask(post(prepare()))).status == 200
        await first.close()
        await until(lambda: node.listener.connection_count() == 1)
        assert (await (await node.connect()).ask(post(prepare()))).status == 200


@on_uvloop
async def test_refused_connections_end_though_their_clients_do_not_close() -> None:
    async with hub(http=HttpLimits(connections_max=1)) as node:
        node.receiver("bob")
        node.http("alice", "alice-token")
        first = await node.connect()
        await until(lambda: node.listener.connection_count() == 1)
        refused = [await node.connect() for _ in range(300)]
        for client in refused:
            # The refusal of the very first may be lost: only so many wait for their clients.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                assert (await client.response()).status == 503
        for client in refused:
            # Our side is open still: only an abort of the other one makes a write fail.
            while not client.writer.is_closing():
                client.write(b"x")
                await asyncio.sleep(0.01)
        assert (await first.ask(post(prepare()))).status == 200


@on_uvloop
async def test_a_client_that_sends_and_never_reads() -> None:
    limits = HttpLimits(stall_seconds=0.5)
    async with hub(http=limits) as node:
        bob = node.receiver("bob")
        bob.answer = lambda packet: ilp_bytes.fulfill(FULFILLMENT, bytes(30_000))
        node.http("alice", "alice-token")
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", node.listener.port))
        request = post(prepare(data=bytes(30_000)))

        async def flood() -> None:
            for _ in range(20_000):
                await loop.sock_sendall(sock, request)

        # 600 MB, if anybody took them; we stop reading, and then hang up.
        with contextlib.closing(sock), pytest.raises(OSError):
            await flood()
        assert len(bob.seen) < 1_000
        await node.is_alive()
