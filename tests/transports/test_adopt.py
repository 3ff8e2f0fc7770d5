"""The hand-over of an open connection: nothing is lost, nothing comes twice."""

import asyncio
from collections.abc import Callable

import pytest

from fastilp.transports.adopt import adopt
from tests.transports.harness import on_uvloop, until

Received = list[bytes]
Make = Callable[["Line"], asyncio.BaseProtocol]


class Line:
    """What one accepted connection got, by which protocol."""

    def __init__(self, adopter: type) -> None:
        self.first: Received = []
        self.second: Received = []
        self.events: list[str] = []
        self.adopter = adopter
        self.transport: asyncio.Transport


class First(asyncio.Protocol):
    """Takes what comes up to a bar, and gives away the rest."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "set_protocol")
        self.line.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        mine, bar, rest = data.partition(b"|")
        self.line.first.append(mine)
        if bar:
            adopt(self.line.transport, self.line.adopter(self.line), rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self.line.events.append("first lost")


class Streaming(asyncio.Protocol):
    def __init__(self, line: Line) -> None:
        self.line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.line.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.line.second.append(data)
        if data.endswith(b"pause"):
            self.line.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.line.events.append("lost")


class Buffered(asyncio.BufferedProtocol):
    """With a buffer smaller than what comes."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.buffer = bytearray(5)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.line.events.append("made")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.line.second.append(bytes(self.buffer[:nbytes]))
        self.buffer = bytearray(5)

    def connection_lost(self, exc: Exception | None) -> None:
        self.line.events.append("lost")


@pytest.mark.parametrize("adopter", [Streaming, Buffered])
@on_uvloop
async def test_the_rest_comes_first_and_then_what_comes_later(adopter: type) -> None:
    line = Line(adopter)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: First(line), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"before|behind the bar")
    await until(lambda: b"".join(line.second) == b"behind the bar")
    writer.write(b", and more")
    await until(lambda: b"".join(line.second) == b"behind the bar, and more")
    assert line.first == [b"before"]
    writer.close()
    await until(lambda: "lost" in line.events)
    assert line.events == ["made", "lost"]
    server.close()


@pytest.mark.parametrize("adopter", [Streaming, Buffered])
@on_uvloop
async def test_nothing_was_left(adopter: type) -> None:
    line = Line(adopter)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: First(line), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"|")
    await until(lambda: line.events == ["made"])
    assert line.second == []
    writer.write(b"x")
    await until(lambda: line.second == [b"x"])
    writer.close()
    await until(lambda: "lost" in line.events)
    server.close()


@on_uvloop
async def test_a_pause_that_the_rest_asks_for_holds() -> None:
    line = Line(Streaming)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: First(line), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"|pause")
    await until(lambda: line.second == [b"pause"])
    writer.write(b"more")
    await asyncio.sleep(0.05)
    assert line.second == [b"pause"]
    line.transport.resume_reading()
    await until(lambda: line.second == [b"pause", b"more"])
    writer.close()
    await until(lambda: "lost" in line.events)
    server.close()
