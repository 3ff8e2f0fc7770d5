"""The answer to one request whose answerer needs time, or does not know yet how long the answer
will be. Imports transports only.

    def answerer(reply: HttpReply) -> None: ...     # now or later: reply.answer(response), or
    reply.begin(response); reply.write(piece); await reply.room(); reply.end()
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from fastilp.transports.http_messages import HttpResponse, response_head, stream_head
from fastilp.transports.http_port import Exchange


class ReplyClient(Protocol):
    """The connection that the request came in on."""

    closed: bool
    room: asyncio.Event
    """Set while the client keeps up with what is written, and once it has gone."""

    def write_ready(self) -> None: ...


class HttpReply:
    """Answers one exchange, whole or in pieces; pieces go out as they come."""

    def __init__(
        self, exchange: Exchange, client: ReplyClient, *, head_only: bool, chunked: bool
    ) -> None:
        self._exchange = exchange
        self._client = client
        self._head_only = head_only
        self._chunked = chunked

    @property
    def closed(self) -> bool:
        """The client has gone: nobody reads any more."""
        return self._client.closed

    def answer(self, response: HttpResponse) -> None:
        """All of it."""
        self._exchange.head = response_head(response)
        self._exchange.body = b"" if self._head_only else response.body
        self._client.write_ready()

    def begin(self, response: HttpResponse) -> None:
        """Status and headers; the body comes in pieces, `response.body` is the first."""
        self._exchange.head = stream_head(response, chunked=self._chunked)
        self._exchange.more = True
        self.write(response.body)

    def write(self, piece: bytes) -> None:
        if not self._head_only and piece:
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
            self._exchange.body += framed
        if not self._client.closed:
            self._client.write_ready()

    def end(self) -> None:
        self._exchange.more = False
        if self._chunked and not self._head_only:
            self._exchange.body += b"0\r\n\r\n"
        if not self._client.closed:
            self._client.write_ready()

    async def room(self) -> None:
        """Return once the client can take more, or has gone."""
        await self._client.room.wait()


Answerer = Callable[[HttpReply], None]
