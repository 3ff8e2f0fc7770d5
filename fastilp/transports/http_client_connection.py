"""One connection of a pool (http_pool). The core writes requests and reads answers in the shape
that ILP peers send (_core.http_out); answers that have another shape, and all that follow on their
connection, are read here by llhttp. Imports _core only.
"""

import asyncio
import re
from typing import Protocol, cast

import httptools

from fastilp._core.http_out import HttpClientConnection, HttpPool
from fastilp._core.poller import Poller

_TIMEOUT = re.compile(r"\btimeout=([0-9]{1,9})\b")
# As in the core.
_KEEP_ALIVE_MARGIN_SECONDS = 1.0


class Sender(Protocol):
    """Whose requests a connection carries: `HttpOutlet.owner`."""

    def answered(self, request_id: int, status: int, body: bytes) -> None: ...
    def lost(self, request_ids: list[int], error: str) -> None: ...
    def open_more(self) -> None: ...


class Pool(Protocol):
    """What a connection belongs to."""

    poller: Poller

    def opened(self, connection: "ClientConnection") -> bool:
        """False: nobody needs it any more."""

    def lost(
        self, connection: "ClientConnection", sender: Sender | None, ids: list[int], error: str
    ) -> None:
        """`ids`: of the sender's Prepares that were written and never answered."""


class ClientConnection(HttpClientConnection, asyncio.BufferedProtocol):
    def __init__(self, pool: HttpPool, response_size_max: int, deadline: asyncio.Timeout) -> None:
        """`deadline`: of opening it."""
        super().__init__(pool)
        self._deadline = deadline
        self._pool = cast(Pool, pool)
        self._response_size_max = response_size_max
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self.error = "connection lost before the answer"
        """What is said of requests that are never answered."""
        self._answers: list[tuple[int, bytes, bool]] = []
        self._start()

    def abort(self) -> None:
        self._transport.abort()

    # --- The socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.attach(self._transport, self._pool.poller)
        if self._is_in_time() and self._pool.opened(self):
            self.opened()
        else:
            self.abort()

    def _is_in_time(self) -> bool:
        """From here on no deadline ends the opening: it would close the socket, and say so to
        nobody."""
        try:
            self._deadline.reschedule(None)
        except RuntimeError:
            return False
        return True

    def eof_received(self) -> bool:
        if self._headers_done and self._until_close and self.waiting:
            # A body without a length ends with the connection (RFC 9112 6.3).
            self._answers.append((self._parser.get_status_code(), b"".join(self._body), False))
            self._finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        error = f"{self.error}: {exc}" if exc is not None else self.error
        sender = self._sender()
        self._pool.lost(self, sender, self.lost(), error)

    def _sender(self) -> Sender | None:
        return self.outlet.owner if self.outlet is not None else None

    # --- What the core says ---------------------------------------------------------------------

    def answered(self, request_id: int, status: int, body: bytes) -> None:
        sender = self._sender()
        if sender is not None:
            sender.answered(request_id, status, body)

    def failed(self, error: str) -> None:
        self.error = error
        self.withdraw()
        self.abort()

    def retire(self) -> None:
        self.withdraw()
        self._transport.close()

    def other(self, received: bytes) -> None:
        self._size += len(received)
        if self.waiting == 0:
            self.failed("peer sent an answer to nothing")
            return
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.failed(f"peer's answer is not valid HTTP: {error}")
            return
        if len(self._answers) + self._began > self.waiting:
            self.failed("peer sent more than one answer")
        elif self._answers:
            self._finish()
        elif self._size > 2 * self._response_size_max:
            self.failed("peer's answer is too large")

    # --- The answer, as httptools tells it ------------------------------------------------------

    def _start(self) -> None:
        self._body: list[bytes] = []
        self._size = 0
        self._began = False
        self._until_close = True
        self._headers_done = False

    def on_message_begin(self) -> None:
        self._began = True

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.lower()
        if key in (b"content-length", b"transfer-encoding"):
            self._until_close = False
        elif key == b"keep-alive":
            timeout = _TIMEOUT.search(value.decode("latin-1"))
            if timeout is not None:
                seconds = float(timeout.group(1)) - _KEEP_ALIVE_MARGIN_SECONDS
                self.keep_alive_seconds = max(seconds, 0.0)

    def on_headers_complete(self) -> None:
        self._headers_done = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            # llhttp forgets whether to keep it alive right after this call.
            answer = (status, b"".join(self._body), self._parser.should_keep_alive())
            self._answers.append(answer)
        # 100 Continue and its like come before the answer (RFC 9110 15.2).
        self._start()

    def _finish(self) -> None:
        answers, self._answers = self._answers, []
        for status, body, keep_alive in answers:
            self.answered(self.pop(), status, body[: self._response_size_max + 1])
            if not keep_alive:
                self.retire()
                return
        self.offer()
