"""The HTTP sender against our own listener and against servers that misbehave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from fastilp.errors import UsageError
from fastilp.transports.btp_client import parse_btp_url
from fastilp.transports.http_client import HttpSender, parse_http_url
from fastilp.transports.http_pool import HttpSenderLimits
from tests import ilp_bytes
from tests.transports.harness import FULFILLMENT, Hub, Receiver, hub, on_uvloop, prepare, until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
FULFILL = ilp_bytes.fulfill(FULFILLMENT)


def ok(body: bytes = FULFILL, more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes] | None:
    """Head and body; None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None
    size = int(head.split("Content-Length: ")[1].split("\r\n")[0])
    return head, await reader.readexactly(size)


class Holding:
    """A server that answers nothing before `gate` is set. `busy`: requests that it holds, `most`:
    the most that it has held."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.busy = 0
        self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            self.busy += 1
            self.most = max(self.most, self.busy)
            await self.gate.wait()
            self.busy -= 1
            writer.write(ok())


def always(answer: bytes, then_close: bool = False) -> Serve:
    """A server that answers everything alike."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(answer)
            if then_close:
                break

    return serve


@contextlib.asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def sender_to(
    node: Hub, url: str, token: str = "secret", limits: HttpSenderLimits | None = None
) -> tuple[Receiver, HttpSender]:
    """An account "bob" at the end of the URL, and alice, who pays it in process."""
    alice = node.receiver("alice")
    link = node.switch.open_link(node.account("bob"), name="http-out")
    return alice, HttpSender(link, node.pump, url, token, limits=limits)


@contextlib.asynccontextmanager
async def sending(
    serve: Serve, limits: HttpSenderLimits | None = None
) -> AsyncIterator[tuple[Receiver, HttpSender]]:
    async with hub() as node, server(serve) as port:
        alice, sender = sender_to(node, f"http://127.0.0.1:{port}/ilp", limits=limits)
        try:
            yield alice, sender
        finally:
            sender.close()


async def answer_to(alice: Receiver, packet: bytes | None = None) -> ilp_bytes.Packet:
    before = len(alice.seen)
    alice.send(before, packet or prepare())
    await until(lambda: len(alice.seen) > before)
    return alice.seen[before]


@pytest.mark.parametrize(
    "url, parsed",
    [
        ("http://h", (False, "h", 80, "/", "h")),
        ("https://h:8443/a/b?c=d", (True, "h", 8443, "/a/b?c=d", "h:8443")),
        ("http://user:pw@h/x", (False, "h", 80, "/x", "h")),
        ("http://[::1]:8080/", (False, "::1", 8080, "/", "[::1]:8080")),
    ],
)
def test_urls(url: str, parsed: tuple[bool, str, int, str, str]) -> None:
    assert parse_http_url(url) == parsed


@pytest.mark.parametrize("url", ["", "h:80", "ftp://h", "http://", "http://h:x/", "http://h/a b"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UsageError):
        parse_http_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://:hunter2@h/",
        "http://:hunter2@h:x/",
        "http://:hunter2/x@h/",
        "http://:hunter2@h/a b",
        "http://a:hunter2@[/",
        "a:hunter2@h",
    ],
)
def test_no_complaint_shows_a_token(url: str) -> None:
    for parse in (parse_http_url, lambda text: parse_btp_url(text.replace("http", "ws"), None)):
        try:
            parse(url)
        except UsageError as error:
            assert "hunter2" not in str(error)


@on_uvloop
async def test_a_token_that_no_header_can_hold() -> None:
    async with hub() as node:
        with pytest.raises(UsageError):
            sender_to(node, "http://h/", "two\r\nlines")


@on_uvloop
async def test_two_nodes() -> None:
    async with hub() as near, hub() as far:
        far.receiver("bob")
        far.http("near", "secret")
        url = f"http://127.0.0.1:{far.listener.port}/accounts/near/ilp"
        alice, sender = sender_to(near, url)
        for request_id in range(500):
            alice.send(request_id, prepare(amount=3, data=bytes(request_id)))
        await until(lambda: len(alice.seen) == 500)
        assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
        assert 1 <= sender.connection_count() <= 32
        assert near.switch.balance(near.account("bob")) == 1_500
        assert far.switch.balance(far.account("near")) == -1_500
        sender.close()


@on_uvloop
async def test_what_we_send() -> None:
    seen: list[tuple[str, bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            seen.append(request)
            writer.write(ok())

    for token in ("secret", ""):
        async with hub() as node, server(serve) as port:
            alice, sender = sender_to(node, f"http://127.0.0.1:{port}/a/ilp?x=1", token)
            assert (await answer_to(alice)).fulfillment == FULFILLMENT
            head, body = seen.pop()
            lines = head.strip().split("\r\n")
            assert lines[0] == "POST /a/ilp?x=1 HTTP/1.1"
            assert (
                sorted(lines[1:])
                == [
                    "Accept: application/octet-stream",
                    f"Authorization: Bearer {token}",
                    f"Content-Length: {len(body)}",
                    "Content-Type: application/octet-stream",
                    f"Host: 127.0.0.1:{port}",
                ]
                or not token
            )
            assert f"Authorization: Bearer {token}\r\n" in head
            assert ilp_bytes.decode(body).destination == "g.hub.bob"
            sender.close()


REJECTED = {
    "bad request": (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "F00"),
    "bad request with a packet": (
        b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s" % (len(FULFILL), FULFILL),
        "F00",
    ),
    "unauthorized": (b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", "F00"),
    "not found": (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "F00"),
    "too many": (b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", "T05"),
    "time-out": (b"HTTP/1.1 408 No\r\nContent-Length: 0\r\n\r\n", "T01"),
    "server error": (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "T01"),
    "bad gateway": (b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", "T01"),
    "asynchronous": (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "T01"),
    "moved": (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "T01"),
    "empty": (ok(b""), "T01"),
    "text": (ok(b"hello"), "T01"),
    "a Prepare": (ok(prepare()), "T01"),
    "half a Fulfill": (ok(FULFILL[:-5]), "T01"),
    "wrong fulfillment": (ok(ilp_bytes.fulfill(b"x" * 32)), "F05"),
    "a Reject": (ok(ilp_bytes.reject("F99", "g.far", "no")), "F99"),
    "no HTTP": (b"hello\r\n\r\n", "T01"),
    "one byte too large": (ok(b"\x0d" + bytes(65_535)), "T01"),
    "huge": (ok(bytes(200_000)), "T01"),
    "endless headers": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, "T01"),
    "another protocol": (
        b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        "T01",
    ),
    "two answers": (ok() + ok(), "T01"),
}


@pytest.mark.parametrize("answer, code", REJECTED.values(), ids=REJECTED)
@on_uvloop
async def test_what_is_no_fulfill(answer: bytes, code: str) -> None:
    async with sending(always(answer)) as (alice, sender):
        for _ in range(3):
            packet = await answer_to(alice)
            assert (packet.type, packet.code) == (ilp_bytes.REJECT, code)


@pytest.mark.parametrize(
    "answer",
    [
        ok(),
        b"HTTP/1.1 100 Continue\r\n\r\n" + ok(),
        ok(more="Keep-Alive: timeout=5\r\nX-Powered-By: somebody\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (len(FULFILL), FULFILL),
    ],
)
@on_uvloop
async def test_answers_that_count(answer: bytes) -> None:
    async with sending(always(answer)) as (alice, sender):
        for _ in range(3):
            assert (await answer_to(alice)).fulfillment == FULFILLMENT
        assert sender.connection_count() == 1
        assert sender.last_error == ""


@pytest.mark.parametrize(
    "answer",
    [
        ok(more="Connection: close\r\n"),
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(FULFILL), FULFILL),
        b"HTTP/1.1 200 OK\r\n\r\n" + FULFILL,
    ],
)
@on_uvloop
async def test_answers_that_end_with_the_connection(answer: bytes) -> None:
    async with sending(always(answer, then_close=True)) as (alice, sender):
        for _ in range(3):
            assert (await answer_to(alice)).fulfillment == FULFILLMENT


@on_uvloop
async def test_byte_at_a_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            for byte in ok():
                writer.write(bytes([byte]))
                await asyncio.sleep(0.001)

    async with sending(serve) as (alice, _):
        for _ in range(2):
            assert (await answer_to(alice)).fulfillment == FULFILLMENT


@on_uvloop
async def test_nobody_listens() -> None:
    async with hub() as node:
        async with server(always(ok())) as port:
            pass
        alice, sender = sender_to(node, f"http://127.0.0.1:{port}/")
        for request_id in range(100):
            alice.send(request_id, prepare())
        await until(lambda: len(alice.seen) == 100)
        assert {packet.code for packet in alice.seen} == {"T01"}
        # Not the words of our operating system.
        assert alice.seen[0].message == "peer cannot be reached"
        assert sender.last_error
        sender.close()


@on_uvloop
async def test_a_lost_connection_is_t01_and_nothing_is_sent_twice() -> None:
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if request is not None:
            requests.append(request[1])

    async with sending(serve) as (alice, sender):
        for count in range(1, 4):
            assert (await answer_to(alice)).code == "T01"
            assert len(requests) == count


@on_uvloop
async def test_a_server_that_closes_idle_connections() -> None:
    """It says so by Keep-Alive, and we do not use a connection that is about to be closed."""
    async with sending(always(ok(more="Keep-Alive: timeout=1\r\n"))) as (alice, sender):
        assert (await answer_to(alice)).fulfillment == FULFILLMENT
        await until(lambda: sender.connection_count() == 0)
        assert (await answer_to(alice)).fulfillment == FULFILLMENT


@on_uvloop
async def test_silence_is_the_switchs_r00_and_frees_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            pass

    limits = HttpSenderLimits(connections_max=2, expiry_slack_seconds=0.1)
    async with sending(serve, limits) as (alice, sender):
        for request_id in range(10):
            alice.send(request_id, prepare(ms=800))
        await until(lambda: len(alice.seen) == 10)
        assert {packet.code for packet in alice.seen} == {"R00"}
        await until(lambda: sender.connection_count() == 0)
        assert sender.last_error == "peer did not answer in time"


@on_uvloop
async def test_the_pool_and_its_queue_are_bounded() -> None:
    peer = Holding()
    limits = HttpSenderLimits(connections_max=4, queue_size_max=10)
    async with sending(peer.serve, limits) as (alice, sender):
        for request_id in range(4):
            alice.send(request_id, prepare())
        await until(lambda: peer.busy == 4)
        for request_id in range(4, 20):
            alice.send(request_id, prepare())
        await until(lambda: len(alice.seen) == 6)
        assert {packet.code for packet in alice.seen} == {"T02"}
        peer.gate.set()
        await until(lambda: len(alice.seen) == 20)
        assert sum(packet.type == ilp_bytes.FULFILL for packet in alice.seen) == 14
        assert peer.most == 4
        assert sender.connection_count() == 4


@on_uvloop
async def test_the_queue_is_bounded_in_bytes_too() -> None:
    peer = Holding()
    limits = HttpSenderLimits(connections_max=1, queue_bytes_max=100_000)
    async with sending(peer.serve, limits) as (alice, sender):
        # The second time there is a connection that takes one at once.
        for refused in (2, 1):
            peer.gate.clear()
            alice.seen.clear()
            for request_id in range(5):
                alice.send(request_id, prepare(data=bytes(30_000)))
            await until(lambda refused=refused: len(alice.seen) == refused)
            assert {packet.code for packet in alice.seen} == {"T02"}
            peer.gate.set()
            await until(lambda: len(alice.seen) == 5)


@on_uvloop
async def test_closing_rejects_what_waits() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            pass

    async with sending(serve, HttpSenderLimits(connections_max=1)) as (alice, sender):
        for request_id in range(3):
            alice.send(request_id, prepare())
        await until(lambda: sender.connection_count() == 1)
        sender.close()
        sender.link.close()
        await until(lambda: len(alice.seen) == 3)
        assert {packet.code for packet in alice.seen} == {"T01"}
