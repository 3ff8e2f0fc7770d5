"""A hub that listens for the batch protocol, and a client that writes its bytes by hand."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack

from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchLimits, BatchPort
from fastilp.transports.batch_client import BatchDialler
from fastilp.transports.batch_server import BatchListener
from tests import ilp_bytes
from tests.helpers import check_sums
from tests.transports.harness import Hub, hub


class BatchHub:
    def __init__(
        self, node: Hub, limits: BatchLimits | None, ssl_context: ssl.SSLContext | None
    ) -> None:
        self.hub = node
        self.switch = node.switch
        self.clients: list[BatchClient] = []
        self.tokens: TokenTable[BatchPort] = TokenTable()
        self.listener = BatchListener(
            node.pump, self.tokens, limits=limits, ssl_context=ssl_context
        )

    def batch(self, name: str, token: str) -> BatchPort:
        link = self.switch.open_link(self.hub.account(name), kind="batch", name="batch")
        self.switch.set_egress(self.hub.account(name), link)
        port = BatchPort(link, self.hub.pump)
        self.tokens.put(name, token, port)
        return port

    async def connect(self) -> "BatchClient":
        streams = await asyncio.open_connection("127.0.0.1", self.listener.port)
        return self.client(*streams)

    def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "BatchClient":
        """A client that is closed in the end."""
        self.clients.append(BatchClient(reader, writer))
        return self.clients[-1]

    async def peer(self, name: str = "alice") -> "BatchClient":
        """A connection that has said hello."""
        if self.tokens.find(name, f"{name}-token") is None:
            self.batch(name, f"{name}-token")
        client = await self.connect()
        client.send({"ilp": 1, "account": name, "token": f"{name}-token"})
        assert await client.value() == {"ilp": 1, "in_flight_max": 16_384}
        return client


@contextlib.asynccontextmanager
async def batch_hub(
    *,
    limits: BatchLimits | None = None,
    ssl_context: ssl.SSLContext | None = None,
    path: Path | None = None,
) -> AsyncIterator[BatchHub]:
    """A listening hub; its sums are right in the end."""
    async with hub() as node:
        made = BatchHub(node, limits, ssl_context)
        if path is not None:
            await made.listener.start_unix(str(path))
        else:
            await made.listener.start("127.0.0.1", 0)
        try:
            yield made
            check_sums(node.switch.ledger)
        finally:
            for client in made.clients:
                await client.close()
            await made.listener.drain(0.5)


class BatchClient:
    """MessagePack's own library on a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._unpacker = msgpack.Unpacker()

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, value: object) -> None:
        self.write(msgpack.packb(value))

    async def value(self) -> Any:
        """The next value of the stream; EOFError at its end."""
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                received = await self.reader.read(2**16)
                if not received:
                    raise EOFError from None
                self._unpacker.feed(received)

    async def packet(self) -> tuple[int, ilp_bytes.Packet]:
        request_id, packet = await self.value()
        return request_id, ilp_bytes.decode(packet)

    async def last_words(self) -> str:
        """Why the other side hangs up, which it does then."""
        while True:
            value = await self.value()
            if isinstance(value, dict):
                error: str = value["error"]
                assert set(value) == {"error"}
                assert await self.is_closed()
                return error

    async def is_closed(self) -> bool:
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def dialler(
    node: BatchHub, name: str, url: str, token: str | None = None, limits: BatchLimits | None = None
) -> AsyncIterator[BatchDialler]:
    """A dialler of `name`'s account at `node`; started, and closed in the end."""
    port = node.tokens.find(name, "unused") or node.batch(name, "unused")
    made = BatchDialler(port, url, token, limits=limits)
    made.start()
    try:
        yield made
    finally:
        await made.close()
