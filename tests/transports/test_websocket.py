"""The handshake of WebSocket, both sides, and the hand-over of a connection."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable

import pytest

from fastilp.transports.websocket import adopt_websocket, dial_websocket
from tests.transports.harness import on_uvloop, until

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
# Of that key (RFC 6455 1.3).
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


class Session(asyncio.BufferedProtocol):
    """Collects what comes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received = b""
        self.lost = False
        self.room = bytearray(16)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.room[:nbytes]

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


class Front(asyncio.Protocol):
    """Somebody who reads the request and then hands the connection over."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        if b"\r\n\r\n" in self.received:
            adopt_websocket(self.transport, self.received, self.session)


@contextlib.asynccontextmanager
async def listening(made: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@on_uvloop
async def test_the_answer_and_what_follows() -> None:
    session = Session()
    async with listening(lambda: Front(session)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST + b"bytes of more than one buffer, at once ")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n" in head
        writer.write(b"and later")
        await until(lambda: session.received.endswith(b"and later"))
        assert session.received == b"bytes of more than one buffer, at once and later"
        assert session.transport is not None
        session.transport.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await until(lambda: session.lost)


@pytest.mark.parametrize(
    "old, new",
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"keep-alive, Upgrade", b"keep-alive"),
        (b"Version: 13", b"Version: 8"),
        (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Kay: "),
        (KEY, b"dGhlIHNhbXBsZQ=="),
        (KEY, b"!" + KEY),
        (KEY, KEY + b"\r\nSec-WebSocket-Key: " + KEY),
    ],
)
@on_uvloop
async def test_requests_that_are_none(old: bytes, new: bytes) -> None:
    session = Session()
    async with listening(lambda: Front(session)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST.replace(old, new, 1))
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        assert session.transport is None


class Server(asyncio.Protocol):
    """Answers an upgrade request with whatever it is told."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"\r\n\r\n"):
            answer = self.answer(self.received)
            if answer is None:
                self.transport.close()
            else:
                self.transport.write(answer)


def good(request: bytes) -> bytes:
    [key] = [line[19:] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key:")]
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key + guid).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


@on_uvloop
async def test_dialling() -> None:
    requests = []

    def answer(request: bytes) -> bytes:
        requests.append(request)
        return good(request) + b"more than the answer"

    async with listening(lambda: Server(answer)) as port:
        session = Session()
        await dial_websocket(f"ws://127.0.0.1:{port}/path?query=1", session)
        await until(lambda: session.received == b"more than the answer")
        [request] = requests
        assert request.startswith(b"GET /path?query=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
        assert session.transport is not None
        session.transport.abort()
        await until(lambda: session.lost)


@pytest.mark.parametrize(
    "answer, text",
    [
        (lambda request: b"HTTP/1.1 404 Not Found\r\n\r\n", "404"),
        (lambda request: b"x" * 20_000, "too long"),
        (lambda request: None, "closed"),
        (lambda request: good(request).replace(b"upgrade", b"close"), "switch"),
        (lambda request: good(request).replace(b"WebSocket\r", b"h2c\r"), "switch"),
        (lambda request: good(request).replace(b"Accept: ", b"Accept: x"), "Accept"),
        (
            lambda request: good(request).replace(
                b"Sec-", b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-"
            ),
            "extension",
        ),
        (
            lambda request: good(request).replace(b"Sec-", b"Sec-WebSocket-Protocol: chat\r\nSec-"),
            "subprotocol",
        ),
    ],
)
@on_uvloop
async def test_answers_that_are_none(answer: Callable[[bytes], bytes | None], text: str) -> None:
    async with listening(lambda: Server(answer)) as port:
        session = Session()
        with pytest.raises(ConnectionError, match=text):
            await dial_websocket(f"ws://127.0.0.1:{port}/", session)
        assert session.transport is None


@on_uvloop
async def test_nobody_answers() -> None:
    silent = Server(lambda request: b"")
    async with listening(lambda: silent) as port:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await dial_websocket(f"ws://127.0.0.1:{port}/", Session())
        await until(silent.transport.is_closing)
