"""One HTTP/1.1 connection of the listener that sent something else than ILP peers do
(http_fast.py): requests in, answers out in the order of the requests. Imports transports only;
llhttp (through httptools) does the parsing, and refuses what smuggling needs: two lengths, a length
and a Transfer-Encoding, bare line feeds, spaces before the colon.
"""

import asyncio
from collections import deque
from typing import Protocol, cast

import httptools

from fastilp.transports.http_messages import (
    CONNECTION_CLOSE,
    CONTINUE,
    HttpLimits,
    HttpRequest,
    HttpResponse,
    problem,
    response_head,
)
from fastilp.transports.http_port import Exchange, HttpPort
from fastilp.transports.http_reply import Answerer, HttpReply

_VERSION_UNKNOWN = problem(426, "WebSocket version 13 is spoken here", Sec_WebSocket_Version="13")
# How long a client that was refused may take to notice.
LINGER_SECONDS = 2.0
_HOST_MISSING = problem(400, "an HTTP/1.1 request names exactly one Host (RFC 9112 3.2)")


class Connection(Protocol):
    """What a listener asks of its connections."""

    def finish(self) -> None:
        """Take no more requests; close as soon as those that came are answered."""

    def abort(self) -> None: ...
    def sweep(self, now: float) -> None:
        """Called now and then: close what has outlived its time."""


class Listener(Protocol):
    """What a connection asks of the listener that accepted it."""

    limits: HttpLimits
    now: float

    def opened(self, connection: "Connection") -> bool: ...
    def lost(self, connection: "Connection") -> None: ...
    def version(self) -> int: ...
    def route(
        self, method: str, target: str, headers: dict[str, str]
    ) -> HttpPort | HttpResponse | None: ...
    def is_trusted(self, headers: dict[str, str]) -> bool: ...
    def fall_back(self, request: HttpRequest) -> HttpResponse | Answerer: ...
    def upgrade(
        self, transport: asyncio.Transport, target: str, headers: dict[str, str], received: bytes
    ) -> HttpResponse | None: ...


class HttpConnection(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        self.closed = False
        self.room = asyncio.Event()
        self.room.set()
        self._listener = listener
        self._limits = listener.limits
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._last = False
        """No request is taken any more; close when the exchanges are answered."""
        self._refused = False
        """The last answer was a refusal: the client may still be sending."""
        self._writing_paused = False
        self._reading_paused = False
        self._continue = False
        """A client waits for 100 Continue, and earlier answers must go first."""
        self._upgrade: tuple[str, bytes] | None = None
        # Since when (listener.now), for the sweep.
        self._idle_since = listener.now
        self._stalled_since = 0.0
        self._reading_since: float | None = None
        self._closing_since: float | None = None
        # Bytes of unfinished headers that llhttp keeps to itself, in whole chunks.
        self._unparsed_size = 0
        self._began = False
        # What the last request was and where it went, to spare the digest of its token.
        self._known_key: tuple[str, str, str, str, int] | None = None
        self._known_port: HttpPort | None = None
        self._start()

    def _start(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._header_size = 0
        self._headers_done = False
        self._hosts = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._outcome: HttpPort | HttpResponse | None = None

    # --- The socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if not self._listener.opened(self):
            self._refuse(problem(503, "too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.room.set()
        self._listener.lost(self)

    def eof_received(self) -> bool:
        """The client has said all it will; it may still read (half-close)."""
        self._last = True
        return bool(self._exchanges)

    def pause_writing(self) -> None:
        self._writing_paused = True
        self.room.clear()
        self._stalled_since = self._listener.now
        self._regulate()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.room.set()
        self._regulate()

    def data_received(self, data: bytes) -> None:
        self._began = False
        size = len(data)
        while data and not self._last and self._upgrade is None:
            data = self._parse(data)
        if self._reading_since is not None and not self._headers_done and not self._began:
            self._unparsed_size += size
            self._check_header_size(self._unparsed_size)
        self.write_ready()
        self._regulate()

    def _parse(self, data: bytes) -> bytes:
        """Returns what is left to parse."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._last:
                self._refuse(problem(400, f"not a valid HTTP/1.1 request: {error}"))
        return b""

    def _regulate(self) -> None:
        """Reading waits while the client does not read, or has asked too much at once. (Nothing
        that we wait for ourselves comes in on this socket.)"""
        if self.closed:
            return
        busy = len(self._exchanges) >= self._limits.requests_in_flight_max
        pause = self._writing_paused or busy or self._upgrade is not None
        if pause and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        elif self._reading_paused and not pause:
            self._reading_paused = False
            self._transport.resume_reading()

    # --- One request, as httptools tells it -----------------------------------------------------

    def on_message_begin(self) -> None:
        if self._last:
            return
        self._start()
        self._began = True
        self._unparsed_size = 0
        self._reading_since = self._listener.now

    def on_url(self, target: bytes) -> None:
        self._target += target
        self._check_header_size(0)

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("utf-8", "surrogateescape")
        self._header_size += len(name) + len(value) + 4
        self._check_header_size(0)
        if key == "host":
            self._hosts += 1
        if key in self._headers:
            text = f"{self._headers[key]}, {text}"
        self._headers[key] = text

    def _check_header_size(self, more: int) -> None:
        size = max(self._header_size + len(self._target), more)
        size_max = self._limits.header_size_max
        if size > size_max and not self._last:
            self._refuse(problem(431, f"request line and headers exceed {size_max} bytes"))

    def on_headers_complete(self) -> None:
        self._headers_done = True
        headers = self._headers
        if self._last:
            return
        if self._hosts != 1 and self._parser.get_http_version() != "1.0":
            self._refuse(_HOST_MISSING)
        elif self._parser.should_upgrade():
            return
        elif "transfer-encoding" in headers:
            self._refuse(problem(411, "send the body with Content-Length, not chunked"))
        elif self._is_too_large(int(headers.get("content-length", 0))):
            self._refuse(problem(413, f"the body exceeds {self._limits.body_size_max} bytes"))
        else:
            self._outcome = self._route()
            if isinstance(self._outcome, HttpPort) and "content-length" not in headers:
                self._refuse(problem(411, "send the packet with Content-Length"))
            self._expect(headers.get("expect"))

    def _is_too_large(self, size: int) -> bool:
        limits = self._limits
        if size <= limits.body_size_max:
            return False
        if size > limits.large_body_size_max or not self._listener.is_trusted(self._headers):
            return True
        # A packet never is that large, whoever sends it.
        return isinstance(self._route(), HttpPort)

    def _route(self) -> HttpPort | HttpResponse | None:
        method = self._parser.get_method().decode("latin-1")
        target = self._target.decode("latin-1")
        headers = self._headers
        key = (
            method,
            target,
            headers.get("authorization", ""),
            headers.get("content-type", ""),
            self._listener.version(),
        )
        if key == self._known_key:
            return self._known_port
        outcome = self._listener.route(method, target, headers)
        if isinstance(outcome, HttpPort):
            self._known_key, self._known_port = key, outcome
        return outcome

    def _expect(self, expectation: str | None) -> None:
        if expectation is None or self._last:
            return
        if expectation.lower() != "100-continue":
            self._refuse(problem(417, "the only expectation known is 100-continue"))
        elif isinstance(self._outcome, HttpResponse):
            # The client may or may not send the body now: nothing after it could be understood.
            self._refuse(self._outcome)
        elif self._exchanges:
            self._continue = True
        else:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_size += len(body)

    def on_message_complete(self) -> None:
        if self._last or self._parser.should_upgrade():
            return
        self._reading_since = None
        self._continue = False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if not self._parser.should_keep_alive() or self._parser.get_http_version() == "1.0":
            self._last = True
        exchange = Exchange(self)
        self._exchanges.append(exchange)
        if isinstance(self._outcome, HttpPort):
            self._outcome.submit(exchange, body)
            return
        response: HttpResponse | Answerer | None = self._outcome
        if response is None:
            response = self._listener.fall_back(self._request(body))
        if isinstance(response, HttpResponse):
            self._answer(exchange, response)
        else:
            response(self._reply(exchange))

    def _request(self, body: bytes) -> HttpRequest:
        method = self._parser.get_method().decode("latin-1")
        return HttpRequest(method, self._target.decode("latin-1"), self._headers, body)

    def _reply(self, exchange: Exchange) -> HttpReply:
        head_only = self._parser.get_method() == b"HEAD"
        # HTTP/1.0 knows no chunks, and its connections are closed after one answer.
        chunked = self._parser.get_http_version() != "1.0"
        return HttpReply(exchange, self, head_only=head_only, chunked=chunked)

    def _answer(self, exchange: Exchange, response: HttpResponse) -> None:
        exchange.head = response_head(response)
        exchange.body = b"" if self._parser.get_method() == b"HEAD" else response.body

    def _refuse(self, response: HttpResponse) -> None:
        """The last answer of this connection: what follows on it cannot be told apart any more."""
        self._last = True
        self._refused = True
        self._continue = False
        self._reading_since = None
        exchange = Exchange(self)
        exchange.head, exchange.body = response_head(response), response.body
        self._exchanges.append(exchange)
        self.write_ready()

    # --- Answers --------------------------------------------------------------------------------

    def write_ready(self) -> None:
        """Write the answers that are complete, in the order of their requests."""
        if self.closed or self._closing_since is not None:
            return
        out: list[bytes] = []
        exchanges = self._exchanges
        while exchanges and exchanges[0].head is not None:
            exchange = exchanges[0]
            if not exchange.begun:
                exchange.begun = True
                out.append(exchange.head or b"")
                if self._last and len(exchanges) == 1:
                    out.append(CONNECTION_CLOSE)
                out.append(b"\r\n")
            out.append(exchange.body)
            exchange.body = b""
            if exchange.more:
                break
            exchanges.popleft()
        if out:
            self._idle_since = self._listener.now
            self._transport.write(b"".join(out))
            if self._reading_paused:
                self._regulate()
        if exchanges:
            return
        if self._continue:
            self._continue = False
            self._transport.write(CONTINUE)
        if self._upgrade is not None:
            self._hand_over()
        elif self._last:
            self._close()

    def _close(self) -> None:
        """After a refusal the client may still be sending, and closing now would reset the
        connection and take the answer with it: say that we are done, and let the client close (or
        the sweep)."""
        self._closing_since = self._listener.now
        if self._refused and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def finish(self) -> None:
        self._last = True
        self._reading_since = None
        self.write_ready()

    def refuse_late(self) -> None:
        """The request that is being read has taken too long."""
        if not self._last:
            self._refuse(problem(408, "the request did not arrive in time"))

    def abort(self) -> None:
        self._transport.abort()

    def sweep(self, now: float) -> None:
        limits = self._limits
        if self._closing_since is not None:
            if now - self._closing_since > LINGER_SECONDS:
                self._transport.abort()
        elif self._writing_paused:
            if now - self._stalled_since > limits.stall_seconds:
                self._transport.abort()
        elif self._reading_since is not None:
            if now - self._reading_since > limits.request_seconds:
                self.refuse_late()
        elif not self._exchanges and now - self._idle_since > limits.idle_seconds:
            self._close()

    # --- Upgrades -------------------------------------------------------------------------------

    def _upgraded(self, rest: bytes) -> bytes:
        """llhttp stops behind the headers of a request with Upgrade. A WebSocket leaves with all
        its bytes; what asks for another protocol (h2c of some Java clients) goes on as if it had
        not asked (RFC 9110 7.8). Returns the bytes to parse next."""
        method = self._parser.get_method()
        websocket = "websocket" in self._headers.get("upgrade", "").lower()
        if self._last:
            return b""
        if method == b"CONNECT":
            self._refuse(problem(405, "this is no proxy"))
            return b""
        if websocket and method == b"GET":
            if self._headers.get("sec-websocket-version") != "13":
                self._refuse(_VERSION_UNKNOWN)
                return b""
            self._reading_since = None
            self._upgrade = (self._target.decode("latin-1"), self._head() + rest)
            return b""
        self._headers.pop("upgrade", None)
        self._headers.pop("http2-settings", None)
        if "close" not in self._headers.pop("connection").lower():
            rest = self._head() + rest
        else:
            rest = self._head(b"Connection: close\r\n") + rest
        self._parser = httptools.HttpRequestParser(self)
        return rest

    def _head(self, more: bytes = b"") -> bytes:
        """The head of this request once more, as it was parsed."""
        line = b"%s %s HTTP/1.1\r\n" % (self._parser.get_method(), self._target)
        fields = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        return line + fields.encode("utf-8", "surrogateescape") + more + b"\r\n"

    def _hand_over(self) -> None:
        assert self._upgrade is not None
        target, received = self._upgrade
        self._upgrade = None
        self._last = True
        refusal = self._listener.upgrade(self._transport, target, self._headers, received)
        if refusal is None:
            self.closed = True
            self._listener.lost(self)
        else:
            self._refuse(refusal)
