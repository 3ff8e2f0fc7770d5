"""One connection of an HttpSender's pool: one request at a time. Imports nothing of the package."""

import asyncio
import re
from typing import Protocol, cast

import httptools

_TIMEOUT = re.compile(r"\btimeout=([0-9]{1,9})\b")
# Closing this much before the server says it will keeps a request from crossing the server's FIN.
_KEEP_ALIVE_MARGIN_SECONDS = 1.0


class Pool(Protocol):
    """The sender that a connection belongs to."""

    def opened(self, connection: "ClientConnection") -> None: ...
    def idle(self, connection: "ClientConnection") -> None: ...
    def lost(self, connection: "ClientConnection", request_id: int | None, error: str) -> None: ...
    def answered(self, request_id: int, status: int, body: bytes) -> None: ...


class ClientConnection(asyncio.Protocol):
    def __init__(self, pool: Pool, response_size_max: int) -> None:
        self.request_id: int | None = None
        """Of the Prepare whose answer is awaited."""
        self.expiry = b""
        self.idle_until = 0.0
        self.keep_alive_seconds = float("inf")
        self._pool = pool
        self._response_size_max = response_size_max
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._error = "connection lost before the answer"
        self._start()

    def _start(self) -> None:
        self._body: list[bytes] = []
        self._size = 0
        self._until_close = True
        self._headers_done = False
        self._complete = False
        self._surplus = False
        self._keep_alive = False

    def send(self, request_id: int, head: bytes, packet: bytes, expiry: bytes) -> None:
        """`expiry`: of the Prepare, for the sender's sweep."""
        self.request_id = request_id
        self.expiry = expiry
        self._transport.write(b"%s%d\r\n\r\n%s" % (head, len(packet), packet))

    def abort(self) -> None:
        self._transport.abort()

    # --- The socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        if self.request_id is None:
            self._fail("peer sent an answer to nothing")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"peer's answer is not valid HTTP: {error}")
            return
        if self._surplus:
            self._fail("peer sent more than one answer")
        elif self._complete:
            self._finish(self._keep_alive)
        elif self._size > 2 * self._response_size_max:
            self._fail("peer's answer is too large")

    def eof_received(self) -> bool:
        if self.request_id is not None and self._headers_done and self._until_close:
            # A body without a length ends with the connection (RFC 9112 6.3).
            self._finish(False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        request_id, self.request_id = self.request_id, None
        error = f"{self._error}: {exc}" if exc is not None else self._error
        self._pool.lost(self, request_id, error)

    # --- The answer, as httptools tells it ------------------------------------------------------

    def on_message_begin(self) -> None:
        # Whose answer would the second one be?
        self._surplus = self._complete

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
        if self._parser.get_status_code() < 200:
            # 100 Continue and its like come before the answer (RFC 9110 15.2).
            self._start()
        else:
            self._complete = True
            # llhttp forgets it right after this call.
            self._keep_alive = self._parser.should_keep_alive()

    def _finish(self, keep_alive: bool) -> None:
        request_id, self.request_id = self.request_id, None
        status, body = self._parser.get_status_code(), b"".join(self._body)
        self._start()
        assert request_id is not None
        self._pool.answered(request_id, status, body[: self._response_size_max + 1])
        if keep_alive and not self._transport.is_closing():
            self._pool.idle(self)
        else:
            self._transport.close()

    def _fail(self, error: str) -> None:
        self._error = error
        self._transport.abort()
