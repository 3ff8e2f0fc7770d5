"""The receiving side for programs: connections that others pay and write to.

Imports endpoints, _core and stream's uplink. Money is counted and belongs to the account at once;
data of stream 1 is kept until the program reads it, in a window of fixed size for each connection.
Nothing that a peer sends makes more than CONNECTIONS_MAX of them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastilp._core.stream_frames import (
    ConnectionDataBlocked,
    ConnectionMaxData,
    Frame,
    StreamClose,
    StreamData,
    StreamDataBlocked,
    StreamMaxData,
)
from fastilp.endpoints.stream.outbox import STREAM_ID
from fastilp.endpoints.stream.receiver import Incoming as IncomingPacket
from fastilp.endpoints.stream.tokens import Credentials
from fastilp.stream.inbox import Inbox
from fastilp.stream.uplink import NetworkUplink, open_uplink

# Connections that are remembered; the one that was quiet for longest is forgotten first.
CONNECTIONS_MAX = 4_096
# Connections that the program has not taken yet.
_BACKLOG_MAX = 1_024


class Incoming:
    """A connection that somebody opened to us. `async for amount in connection` gives what came
    since the last time, until the payer closes; `read` gives data."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        """The address that was paid to: which credentials were used."""
        self.received_amount = 0
        self.is_closed = False
        self.inbox = Inbox()
        self._told = 0
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            changed = self._changed
            if self.received_amount > self._told:
                amount, self._told = self.received_amount - self._told, self.received_amount
                yield amount
            elif self.is_closed:
                return
            else:
                await changed.wait()

    async def read(self) -> bytes:
        """What has come of the data, in order; nothing once the payer has closed. Reading makes
        room for more."""
        while True:
            changed = self._changed
            data = self.inbox.take()
            if data or self.is_closed:
                return data
            await changed.wait()

    def note(self, amount: int, *, closed: bool = False) -> None:
        self.received_amount += amount
        self.is_closed = self.is_closed or closed
        self._changed.set()
        self._changed = asyncio.Event()


class Server:
    """What `listen` gives. `async for connection in server` gives each connection at its first
    packet."""

    def __init__(self, uplink: NetworkUplink) -> None:
        self.received_amount = 0
        """Of all connections."""
        self._connections: OrderedDict[str, Incoming] = OrderedDict()
        self._waiting: asyncio.Queue[Incoming] = asyncio.Queue(_BACKLOG_MAX)
        self._make_credentials = uplink.receive(self._received, self._heard)

    def credentials(self) -> Credentials:
        """Address and shared secret of a new connection, for one payer, who gets them by another
        way, such as SPSP."""
        return Credentials(*self._make_credentials())

    async def __aiter__(self) -> AsyncIterator[Incoming]:
        while True:
            yield await self._waiting.get()

    def _received(self, packet: IncomingPacket) -> None:
        self.received_amount += packet.amount
        connection = self._connection(packet.destination)
        if connection is not None:
            connection.note(packet.amount, closed=packet.connection_closed)

    def _heard(self, destination: str, frame: Frame) -> list[Frame]:
        connection = self._connection(destination)
        if connection is None:
            return []
        inbox = connection.inbox
        if isinstance(frame, StreamData) and frame.stream_id == STREAM_ID:
            if inbox.put(frame.offset, frame.data):
                connection.note(0)
        elif isinstance(frame, StreamClose) and frame.stream_id == STREAM_ID:
            connection.note(0, closed=True)
        elif not isinstance(frame, StreamDataBlocked | ConnectionDataBlocked):
            return []
        return [StreamMaxData(STREAM_ID, inbox.limit), ConnectionMaxData(inbox.limit)]

    def _connection(self, destination: str) -> Incoming | None:
        """None: the program does not take connections as fast as they come."""
        # Whoever has one token can write what they like before it, and is still one payer.
        token = destination.rpartition(".")[2]
        connection = self._connections.get(token)
        if connection is not None:
            self._connections.move_to_end(token)
            return connection
        if self._waiting.full():
            return None
        connection = self._connections[token] = Incoming(destination)
        self._waiting.put_nowait(connection)
        if len(self._connections) > CONNECTIONS_MAX:
            _, forgotten = self._connections.popitem(last=False)
            forgotten.note(0, closed=True)
        return connection


@asynccontextmanager
async def listen(uplink: NetworkUplink | str) -> AsyncIterator[Server]:
    """Take payments at the account's address while the block runs, and as long as the uplink lasts.
    `uplink`: one that is open, or its URL. Raises PaymentError, and UsageError for an uplink that
    cannot receive."""
    async with AsyncExitStack() as stack:
        if isinstance(uplink, str):
            uplink = await stack.enter_async_context(open_uplink(uplink))
        yield Server(uplink)
