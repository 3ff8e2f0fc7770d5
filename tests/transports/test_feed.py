"""Feeds: texts to a client that listens, to one that does not, and to nobody."""

import asyncio
from collections.abc import Callable, Mapping

from fastilp.transports.btp import BtpLimits
from fastilp.transports.feed import Feed
from fastilp.transports.http_messages import HttpResponse
from tests.transports.harness import BINARY, CLOSE, PING, PONG, TEXT, hub, on_uvloop, until

KEEP_MAX = 8


class Texts:
    """A feed that keeps the newest few."""

    def __init__(self) -> None:
        self.on_more: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.waiting: list[str] = []
        self.is_closed = False

    def put(self, text: str) -> None:
        self.waiting = [*self.waiting[1 - KEEP_MAX :], text]
        if self.on_more is not None:
            self.on_more()

    def take(self) -> list[str]:
        taken, self.waiting = self.waiting, []
        return taken

    def close(self) -> None:
        self.is_closed = True


class Desk:
    """Gives a feed to whoever asks at /feed."""

    def __init__(self) -> None:
        self.given: list[Texts] = []
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def __call__(self, path: str, headers: Mapping[str, str]) -> Feed | HttpResponse | None:
        self.asked.append((path, headers))
        if path == "/refused":
            return HttpResponse(401, b"who?", "text/plain")
        if path != "/feed":
            return None
        self.given.append(Texts())
        self.given[-1].put("first")
        return self.given[-1]


@on_uvloop
async def test_texts_come_as_they_are_put() -> None:
    desk = Desk()
    async with hub(feeds=desk) as made:
        client = await made.connect()
        await client.upgrade("/feed?x=1")
        assert desk.asked[0][0] == "/feed" and desk.asked[0][1]["host"] == "hub"
        assert await client.receive() == (TEXT, b"first")
        [feed] = desk.given
        feed.put("second \u20ac")
        feed.put("x" * 70_000)
        assert await client.receive() == (TEXT, "second \u20ac".encode())
        assert await client.receive() == (TEXT, b"x" * 70_000)
        assert made.listener.connection_count() == 1
        await client.close()
        await until(lambda: feed.is_closed)
        await until(lambda: made.listener.connection_count() == 0)


@on_uvloop
async def test_what_the_client_says_is_forgotten() -> None:
    desk = Desk()
    async with hub(feeds=desk) as made:
        client = await made.connect()
        await client.upgrade("/feed")
        await client.receive()
        for number in range(1_000):
            client.send(TEXT if number % 2 else BINARY, b"hello" * 20)
        client.send(TEXT, b"in two ", fin=False)
        client.send(0, b"parts")
        client.send(PING, b"there?")
        assert await client.receive() == (PONG, b"there?")
        desk.given[0].put("yes")
        assert await client.receive() == (TEXT, b"yes")
        client.send(CLOSE, (1_000).to_bytes(2, "big"))
        assert (await client.receive())[0] == CLOSE
        assert await client.is_closed()
        await until(lambda: desk.given[0].is_closed)
        await made.is_alive()


@on_uvloop
async def test_what_is_no_websocket_is_an_error_of_the_client() -> None:
    desk = Desk()
    async with hub(feeds=desk, btp=BtpLimits(message_size_max=1_000)) as made:
        for fault in (b"\x82\x05naked", b"\xf2\x80mask", b"\x81\xfe\xff\xffmask"):
            client = await made.connect()
            await client.upgrade("/feed")
            await client.receive()
            client.write(fault)
            assert (await client.receive())[0] == CLOSE
        await until(lambda: all(feed.is_closed for feed in desk.given))
        await made.is_alive()


@on_uvloop
async def test_who_gets_none() -> None:
    desk = Desk()
    async with hub(feeds=desk) as made:
        for path, status in (("/refused", 401), ("/nothing", 404)):
            client = await made.connect()
            response = await client.ask(client.upgrade_request(path))
            assert response.status == status
            assert await client.is_closed()
        # A request that is no right one: nobody listens to the feed that was given.
        client = await made.connect()
        request = client.upgrade_request("/feed").replace(b"Sec-WebSocket-Key: ", b"X-Key: ")
        assert (await client.ask(request)).status == 400
        assert desk.given[-1].is_closed
    async with hub() as made:
        client = await made.connect()
        assert (await client.ask(client.upgrade_request("/feed"))).status == 404


@on_uvloop
async def test_a_client_that_does_not_read_costs_what_its_socket_holds() -> None:
    desk = Desk()
    limits = BtpLimits(write_buffer_size=64 * 1024, stall_seconds=0.2)
    async with hub(feeds=desk, btp=limits) as made:
        client = await made.connect(limit=1_024)
        await client.upgrade("/feed")
        [feed] = desk.given
        text = "x" * 10_000
        for _ in range(5_000):
            feed.put(text)
            if len(feed.waiting) == KEEP_MAX:
                break
            await asyncio.sleep(0)
        # It is the feed's now to keep or to drop; and the client is hung up on.
        assert len(feed.waiting) == KEEP_MAX
        await until(lambda: feed.is_closed)
        await until(lambda: made.listener.connection_count() == 0)
        await made.is_alive()


@on_uvloop
async def test_the_end_of_a_feed_closes_its_connection() -> None:
    desk = Desk()
    async with hub(feeds=desk) as made:
        client = await made.connect()
        await client.upgrade("/feed")
        await client.receive()
        on_end = desk.given[0].on_end
        assert on_end is not None
        on_end()
        assert (await client.receive())[0] == CLOSE
        desk.given[0].put("too late")
        assert await client.is_closed()


@on_uvloop
async def test_a_drain_closes_feeds() -> None:
    desk = Desk()
    async with hub(feeds=desk) as made:
        client = await made.connect()
        await client.upgrade("/feed")
        await client.receive()
        draining = asyncio.create_task(made.listener.drain(5.0))
        assert (await client.receive())[0] == CLOSE
        await client.close()
        await draining
        assert desk.given[0].is_closed
