"""A real switch behind real sockets on uvloop, and clients that write raw bytes."""

import asyncio
import base64
import contextlib
import functools
import hashlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvloop

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.switch import Switch
from fastilp.transports.auth import TokenTable
from fastilp.transports.btp import BtpLimits, BtpPort
from fastilp.transports.http_messages import HttpLimits
from fastilp.transports.http_port import HttpPort
from fastilp.transports.http_server import Fallback, Feeds, HttpListener
from fastilp.transports.pump import Pump
from tests import ilp_bytes

FULFILLMENT = b"preimage".ljust(32, b".")
CONDITION = hashlib.sha256(FULFILLMENT).digest()
BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
DEADLINE_SECONDS = 30


def on_uvloop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on uvloop; one that hangs fails."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await test(*args, **kwargs)

        uvloop.run(bounded())

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must happen; the test's deadline is the limit."""
    while not condition():
        await asyncio.sleep(0.002)


def prepare(amount: int = 1, to: str = "g.hub.bob", ms: int = 20_000, data: bytes = b"") -> bytes:
    return ilp_bytes.prepare(amount, to, CONDITION, ilp_bytes.now_ms() + ms, data)


class Receiver:
    """An in-process account; `answer` says what to answer to a Prepare, None holds it."""

    def __init__(self, link: Link, pump: Pump) -> None:
        self.link = link
        self.pump = pump
        self.held: list[tuple[int, bytes]] = []
        self.seen: list[ilp_bytes.Packet] = []
        self.answer: Callable[[ilp_bytes.Packet], bytes | None] = lambda packet: ilp_bytes.fulfill(
            FULFILLMENT, packet.data
        )
        link.owner = self

    def flush(self, link: Link) -> None:
        for request_id, packet in link.take():
            decoded = ilp_bytes.decode(packet)
            self.seen.append(decoded)
            if decoded.type != ilp_bytes.PREPARE:
                continue
            answer = self.answer(decoded)
            if answer is None:
                self.held.append((request_id, packet))
            else:
                self.give(request_id, answer)

    def give(self, request_id: int, answer: bytes) -> None:
        self.link.receive([(request_id, answer)])
        self.pump.wake()

    def release(self) -> None:
        """Fulfil everything that was held."""
        held, self.held = self.held, []
        for request_id, _ in held:
            self.give(request_id, ilp_bytes.fulfill(FULFILLMENT))

    def send(self, request_id: int, packet: bytes) -> None:
        self.link.receive([(request_id, packet)])
        self.pump.wake()


class Hub:
    """One connector. Accounts have no egress unless they are receivers or told so."""

    def __init__(
        self,
        fallback: Fallback | None,
        http: HttpLimits | None,
        btp: BtpLimits,
        feeds: Feeds | None = None,
    ) -> None:
        self.switch = Switch(Ledger.memory(), address="g.hub")
        self.pump = Pump(self.switch)
        self.clients: list[Client] = []
        self.http_tokens: TokenTable[HttpPort] = TokenTable()
        self.btp_tokens: TokenTable[BtpPort] = TokenTable()
        self.listener = HttpListener(
            self.pump,
            self.http_tokens,
            self.btp_tokens,
            fallback=fallback,
            feeds=feeds,
            limits=http,
            btp_limits=btp,
        )

    def account(self, name: str) -> Account:
        try:
            return self.switch.account(name)
        except KeyError:
            account = self.switch.add_account(
                name,
                asset_code="USD",
                asset_scale=9,
                min_balance=-(10**15),
                round_trip_time=100,
            )
            self.switch.set_route(f"g.hub.{name}", account)
            return account

    def receiver(self, name: str) -> Receiver:
        return Receiver(self.switch.open_link(self.account(name), local=True), self.pump)

    def http(self, name: str, token: str) -> HttpPort:
        account = self.account(name)
        port = HttpPort(self.switch.open_link(account, name="http-in"), self.pump)
        self.switch.set_egress(account, None)
        self.http_tokens.put(name, token, port)
        return port

    def btp(self, name: str, token: str) -> BtpPort:
        link = self.switch.open_link(self.account(name), kind="btp", name="btp")
        self.switch.set_egress(self.account(name), link)
        port = BtpPort(link, self.pump)
        self.btp_tokens.put(name, token, port)
        return port

    async def is_alive(self) -> None:
        """A payment between two other accounts goes through."""
        if "g.hub.witness" not in self.switch.routes():
            self.receiver("witness-receiver")
            self.http("witness", "witness-token")
        client = await self.connect()
        packet = prepare(to="g.hub.witness-receiver")
        request = post(packet, "/accounts/witness/ilp", "Bearer witness-token")
        assert (await client.ask(request)).packet.type == ilp_bytes.FULFILL
        await client.close()

    async def connect(self, **options: Any) -> "Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, **options)
        client = Client(reader, writer)
        self.clients.append(client)
        return client


@contextlib.asynccontextmanager
async def hub(
    *,
    fallback: Fallback | None = None,
    http: HttpLimits | None = None,
    btp: BtpLimits | None = None,
    feeds: Feeds | None = None,
) -> AsyncIterator[Hub]:
    """A listening hub."""
    made = Hub(fallback, http, btp or BtpLimits(), feeds)
    await made.listener.start("127.0.0.1", 0)
    try:
        yield made
    finally:
        for client in made.clients:
            await client.close()
        await made.listener.drain(0.2)
        made.pump.close()


class Response:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def packet(self) -> ilp_bytes.Packet:
        assert self.headers["content-type"] == "application/octet-stream"
        return ilp_bytes.decode(self.body)


def post(
    packet: bytes,
    path: str = "/accounts/alice/ilp",
    token: str | None = "Bearer alice-token",
    more: str = "",
    content_type: str | None = "application/octet-stream",
) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: hub", f"Content-Length: {len(packet)}"]
    if token is not None:
        lines.append(f"Authorization: {token}")
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return ("\r\n".join(lines) + f"\r\n{more}\r\n").encode() + packet


class Client:
    """A socket that speaks HTTP by hand, and WebSocket after `upgrade`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, head: bool = False) -> Response:
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = raw.strip().split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        for field in fields:
            name, _, value = field.partition(": ")
            headers[name.lower()] = value
        size = 0 if head else int(headers.get("content-length", 0))
        return Response(int(status), headers, await self.reader.readexactly(size))

    async def ask(self, request: bytes, head: bool = False) -> Response:
        self.write(request)
        return await self.response(head)

    async def is_closed(self) -> bool:
        """Wait for the end of the stream; True if nothing came before it."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        """Vanish: the other side gets a reset, not an orderly end."""
        linger = struct.pack("ii", 1, 0)
        opened = self.writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    # --- WebSocket ------------------------------------------------------------------------------

    def upgrade_request(self, path: str) -> bytes:
        key = base64.b64encode(os.urandom(16)).decode()
        return (
            f"GET {path} HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()

    async def upgrade(self, path: str = "/accounts/alice/ilp/btp") -> None:
        response = await self.ask(self.upgrade_request(path))
        assert response.status == 101

    def frame(self, opcode: int, payload: bytes, fin: bool = True, masked: bool = True) -> bytes:
        """A frame as a client sends it (RFC 6455 5.2)."""
        size = len(payload)
        first = (0x80 if fin else 0) | opcode
        bit = 0x80 if masked else 0
        if size < 126:
            head = bytes((first, bit | size))
        elif size <= 0xFFFF:
            head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
        if not masked:
            return head + payload
        mask = os.urandom(4)
        body = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
        return head + mask + body

    def send(self, opcode: int, payload: bytes, fin: bool = True) -> None:
        self.write(self.frame(opcode, payload, fin))

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; a server's are not masked."""
        first, second = await self.reader.readexactly(2)
        size = second
        if second == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif second == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        assert second < 0x80, "a server does not mask"
        return first & 0x0F, await self.reader.readexactly(size)

    async def btp(self) -> ilp_bytes.Frame:
        """The next BTP message, whatever control frames come before it."""
        while True:
            opcode, payload = await self.receive()
            if opcode == BINARY:
                return ilp_bytes.btp_decode(payload)

    async def auth(self, token: str, request_id: int = 1, username: str | None = None) -> None:
        self.send(BINARY, auth_message(token, request_id, username))
        assert await self.btp() == ilp_bytes.Frame(ilp_bytes.BTP_RESPONSE, request_id, {})


def auth_message(token: str, request_id: int = 1, username: str | None = None) -> bytes:
    entries = [("auth", 0, b"")]
    if username is not None:
        entries.append(("auth_username", 1, username.encode()))
    entries.append(("auth_token", 1, token.encode()))
    return ilp_bytes.btp_frame(ilp_bytes.BTP_MESSAGE, request_id, entries)
