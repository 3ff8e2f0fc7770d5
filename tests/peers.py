"""Raw ILP peers for tests: they send Prepares, answer or hold what they get, and keep books.

Plain sockets on asyncio and the codec of `ilp_bytes`; nothing of fastilp. A peer never decides by
itself: the test's `on_prepare` says what to answer, and None holds the packet until the test calls
`answer`. The books are what the other side's ledger is judged by, so every entry is made before the
bytes leave or right as they arrive. Not on asyncio's transports: those throw away what has arrived
when a write fails, and a Fulfill that has arrived counts, whatever became of its sender.
"""

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests import ilp_bytes
from tests.ilp_bytes import Packet

REQUEST_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    "Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
)
RESPONSE_HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
)
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


@dataclass
class Books:
    """One peer's own record, by condition: what it sent and how that ended, what it got and what it
    answered."""

    sent: dict[bytes, int] = field(default_factory=dict)
    answered: dict[bytes, str] = field(default_factory=dict)
    received: dict[bytes, int] = field(default_factory=dict)
    given: dict[bytes, str] = field(default_factory=dict)

    def paid(self) -> int:
        """What this peer owes for: the Prepares it sent whose Fulfill it has seen."""
        return sum(self.sent[key] for key, end in self.answered.items() if end == "fulfilled")

    def earned(self) -> int:
        """What this peer is owed: the Prepares for which it gave the fulfillment away."""
        return sum(self.received[key] for key, end in self.given.items() if end == "fulfilled")


class Held(NamedTuple):
    """A Prepare that waits for the test to answer it."""

    request_id: int
    packet: Packet


OnPrepare = Callable[[Packet], bytes | None]


def end_of(packet: Packet) -> str:
    return "fulfilled" if packet.type == ilp_bytes.FULFILL else packet.code


def masked(opcode: int, payload: bytes) -> bytes:
    """A whole WebSocket frame as a client must send it (RFC 6455 section 5.2)."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


class Stream:
    """A socket with a buffer on either side. What arrived can be read even when writing fails."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.arrived = bytearray()
        self.leaving = bytearray()
        self._loop = asyncio.get_running_loop()
        self._flushing: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, host: str, port: int) -> "Stream":
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection)

    async def read(self) -> bool:
        """Wait for more in `arrived`; False at the end."""
        try:
            more = await self._loop.sock_recv(self.connection, 1 << 16)
        except ConnectionError:
            return False
        self.arrived += more
        return bool(more)

    async def take(self, size: int) -> bytes:
        while len(self.arrived) < size:
            if not await self.read():
                raise EOFError
        taken = bytes(self.arrived[:size])
        del self.arrived[:size]
        return taken

    async def take_until(self, end: bytes) -> bytes:
        while (found := self.arrived.find(end)) < 0:
            if not await self.read():
                raise EOFError
        return await self.take(found + len(end))

    def write(self, data: bytes) -> None:
        """Send now what fits, the rest as the socket takes it."""
        if not self.leaving:
            with contextlib.suppress(OSError):
                data = data[self.connection.send(data) :]
        self.leaving += data
        if self.leaving and self._flushing is None:
            self._flushing = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        with contextlib.suppress(OSError):
            while self.leaving:
                chunk = bytes(self.leaving)
                await self._loop.sock_sendall(self.connection, chunk)
                del self.leaving[: len(chunk)]
            self._flushing = None

    async def drained(self) -> None:
        """Until all that was written is in the socket, or the socket has ended."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])

    def close(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        self.connection.close()

    async def frame(self) -> tuple[int, bytes]:
        """The opcode and payload of one unmasked, unfragmented WebSocket frame."""
        opcode, size = await self.take(2)
        if size >= 126:
            size = int.from_bytes(await self.take(2 if size == 126 else 8), "big")
        return opcode & 0x0F, await self.take(size)

    async def http(self) -> tuple[list[str], bytes]:
        """One message with a Content-Length: the lines of its head, its body."""
        lines = (await self.take_until(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return lines, await self.take(int(headers.get("content-length", 0)))


class BtpPeer:
    """A BTP client (RFC 23) of one account."""

    def __init__(self, on_prepare: OnPrepare | None = None, books: Books | None = None) -> None:
        self.books = books or Books()
        self.held: asyncio.Queue[Held] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.stream: Stream
        self._on_prepare = on_prepare or (lambda packet: None)
        self._waiting: dict[int, tuple[bytes, asyncio.Future[Packet]]] = {}
        self._next_id = 1
        self._reading: asyncio.Task[None] | None = None

    async def connect(self, port: int, username: str, token: str, *, read: bool = True) -> None:
        """Dial and authenticate. With `read` False nothing is read from then on."""
        self.stream = await Stream.connect("127.0.0.1", port)
        key = base64.b64encode(os.urandom(16)).decode()
        path = f"/accounts/{username}/ilp/btp"
        self.stream.write(UPGRADE.format(path=path, key=key).encode())
        head = await self.stream.take_until(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.decode())
        entries = [("auth", 0, b""), ("auth_username", 1, b""), ("auth_token", 1, token.encode())]
        self._write(ilp_bytes.btp_frame(ilp_bytes.BTP_MESSAGE, 0, entries))
        _, payload = await self.stream.frame()
        if ilp_bytes.btp_decode(payload).type != ilp_bytes.BTP_RESPONSE:
            raise PermissionError(f"{username} was refused")
        self.closed.clear()
        if read:
            self._reading = asyncio.create_task(self._read())

    async def send(
        self,
        amount: int,
        destination: str,
        condition: bytes,
        expiry_ms: int = 10_000,
        data: bytes = b"",
    ) -> Packet:
        """One Prepare; its answer. Cancelled when the connection ends first."""
        return await self.start(amount, destination, condition, expiry_ms, data)

    def start(
        self,
        amount: int,
        destination: str,
        condition: bytes,
        expiry_ms: int = 10_000,
        data: bytes = b"",
    ) -> "asyncio.Future[Packet]":
        """Write one Prepare now; the future is its answer."""
        request_id, self._next_id = self._next_id, self._next_id + 1
        expires_at_ms = ilp_bytes.now_ms() + expiry_ms
        assert condition not in self.books.sent, "the books need one condition per Prepare"
        self.books.sent[condition] = amount
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = (condition, answer)
        packet = ilp_bytes.prepare(amount, destination, condition, expires_at_ms, data)
        self._write(ilp_bytes.btp_ilp(ilp_bytes.BTP_MESSAGE, request_id, packet))
        return answer

    def answer(self, held: Held, packet: bytes) -> None:
        """Give the answer to a held Prepare away; it counts even if it never arrives."""
        self.books.given[held.packet.condition] = end_of(ilp_bytes.decode(packet))
        self._write(ilp_bytes.btp_ilp(ilp_bytes.BTP_RESPONSE, held.request_id, packet))

    def in_flight(self) -> int:
        """How many of what was sent are not answered."""
        return len(self._waiting)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        self.stream.close()

    def _write(self, frame: bytes) -> None:
        self.stream.write(masked(BINARY, frame))

    async def _read(self) -> None:
        try:
            while True:
                opcode, payload = await self.stream.frame()
                if opcode == PING:
                    self.stream.write(masked(PONG, payload))
                elif opcode == BINARY:
                    self._frame(ilp_bytes.btp_decode(payload))
                elif opcode == CLOSE:
                    break
        except EOFError:
            pass
        finally:
            for _, answer in self._waiting.values():
                answer.cancel()
            self._waiting.clear()
            self.closed.set()

    def _frame(self, frame: ilp_bytes.Frame) -> None:
        if "ilp" not in frame.entries:
            return
        packet = ilp_bytes.decode(frame.entries["ilp"])
        if packet.type == ilp_bytes.PREPARE:
            self.books.received[packet.condition] = packet.amount
            reply = self._on_prepare(packet)
            held = Held(frame.request_id, packet)
            if reply is None:
                self.held.put_nowait(held)
            else:
                self.answer(held, reply)
            return
        condition, answer = self._waiting.pop(frame.request_id)
        self.books.answered[condition] = end_of(packet)
        if not answer.done():
            answer.set_result(packet)


class HttpPeer:
    """An ILP-over-HTTP peer (RFC 35): a server, and a pool of connections for what it sends."""

    def __init__(self, on_prepare: OnPrepare | None = None, books: Books | None = None) -> None:
        self.books = books or Books()
        self.held: asyncio.Queue[Held] = asyncio.Queue()
        self._on_prepare = on_prepare or (lambda packet: None)
        self._idle: list[Stream] = []
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 1
        self._token = self._outgoing_token = ""
        self._url = urlsplit("")
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None

    async def listen(self, port: int, token: str) -> None:
        self._token = token
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._socket.setblocking(False)
        self._spawn(self._accept(self._socket))

    def dial(self, url: str, token: str) -> None:
        """Where to send Prepares, and the token for it."""
        self._url, self._outgoing_token = urlsplit(url), token

    async def send(
        self,
        amount: int,
        destination: str,
        condition: bytes,
        expiry_ms: int = 10_000,
        data: bytes = b"",
    ) -> Packet:
        """POST one Prepare and read its answer."""
        self.books.sent[condition] = amount
        expires_at_ms = ilp_bytes.now_ms() + expiry_ms
        body = ilp_bytes.prepare(amount, destination, condition, expires_at_ms, data)
        host, port = str(self._url.hostname), int(self._url.port or 0)
        stream = self._idle.pop() if self._idle else await Stream.connect(host, port)
        head = REQUEST_HEAD.format(path=self._url.path, token=self._outgoing_token, size=len(body))
        stream.write(head.encode() + body)
        lines, reply = await stream.http()
        self._idle.append(stream)
        if " 200 " not in lines[0]:
            raise ConnectionError(lines[0])
        packet = ilp_bytes.decode(reply)
        self.books.answered[condition] = end_of(packet)
        return packet

    def answer(self, held: Held, packet: bytes) -> None:
        self.books.given[held.packet.condition] = end_of(ilp_bytes.decode(packet))
        self._answers.pop(held.request_id).set_result(packet)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._idle:
            stream.close()
        if self._socket is not None:
            self._socket.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            connection.setblocking(False)
            self._spawn(self._serve(Stream(connection)))

    async def _serve(self, stream: Stream) -> None:
        try:
            while True:
                lines, body = await stream.http()
                if f"Bearer {self._token}" not in [line.partition(": ")[2] for line in lines]:
                    stream.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
                    continue
                reply = await self._reply(ilp_bytes.decode(body))
                stream.write(RESPONSE_HEAD.format(size=len(reply)).encode() + reply)
        except EOFError:
            pass
        finally:
            stream.close()

    async def _reply(self, packet: Packet) -> bytes:
        self.books.received[packet.condition] = packet.amount
        held = Held(self._next_id, packet)
        self._next_id += 1
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[held.request_id] = answer
        reply = self._on_prepare(packet)
        if reply is None:
            self.held.put_nowait(held)
        else:
            self.answer(held, reply)
        return await answer
