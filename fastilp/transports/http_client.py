"""ILP-over-HTTP, the sending side: Prepares of one link go to the account's URL. Imports _core and
transports only.

    link = switch.open_link(bob, name="http-out")
    sender = HttpSender(link, pump, "https://b.example/accounts/a/ilp", "secret")
    switch.set_egress(bob, link)

A Prepare is never sent twice: after a lost answer nobody knows whether the next hop has taken it.
What the socket does becomes a Reject at once, so that no sender waits for an expiry without need;
only silence is left to the switch's own clock.
"""

import asyncio
import logging
import ssl
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from fastilp._core.link import Link
from fastilp._core.packet import Reject
from fastilp.errors import UsageError
from fastilp.transports.auth import url_without_token
from fastilp.transports.http_client_connection import ClientConnection
from fastilp.transports.http_messages import OCTET_STREAM
from fastilp.transports.pump import Pump

_log = logging.getLogger("fastilp.http")

_PREPARE, _ANSWERS = 12, (13, 14)
_SWEEP_SECONDS = 1.0
# A Prepare's expiry is 17 digits behind the amount, 8 bytes into the content (RFC 27).
_EXPIRY_AT, _EXPIRY_SIZE = 8, 17


@dataclass(frozen=True, slots=True)
class HttpSenderLimits:
    """Bounds of one sender."""

    connections_max: int = 32
    """One request at a time on each: HTTP/1.1 pipelining is not safe with all servers."""
    queue_size_max: int = 16_384
    """Prepares that wait for a connection; above it they are rejected with T02."""
    queue_bytes_max: int = 4 * 1024 * 1024
    """Bytes of those Prepares, likewise."""
    response_size_max: int = 65_535
    """The largest packet of any link, bytes."""
    connect_seconds: float = 10.0
    idle_seconds: float = 60.0
    """Unless the server said less by `Keep-Alive: timeout`."""
    expiry_slack_seconds: float = 1.0
    """A connection is closed this long after the Prepare that it carries has expired unanswered."""


def parse_http_url(url: str) -> tuple[bool, str, int, str, str]:
    """TLS, host, port, path with query, and what the Host header says. Raises UsageError."""
    shown = url_without_token(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What urlsplit says may quote a part of the token.
        raise UsageError(f"ILP-over-HTTP URL {shown!r}: host or port is not valid") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"ILP-over-HTTP URL {shown!r} is not http://host[:port]/path, nor https://"
        )
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise UsageError(f"ILP-over-HTTP URL {shown!r}: characters in the path must be %-escaped")
    host = parts.netloc.rpartition("@")[2]
    return secure, parts.hostname, port or (443 if secure else 80), target, host


def expiry_digits(packet: bytes) -> bytes:
    """expiresAt of a Prepare as it stands there; digits compare like times."""
    length = packet[1]
    at = 2 + (length & 0x7F if length >= 0x80 else 0) + _EXPIRY_AT
    return packet[at : at + _EXPIRY_SIZE]


class HttpSender:
    """Owner of one http-out message link. Raises UsageError for a URL that is not http:// or
    https://, or a token that no header can hold."""

    def __init__(
        self,
        link: Link,
        pump: Pump,
        url: str,
        token: str,
        *,
        limits: HttpSenderLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.link = link
        self.limits = limits or HttpSenderLimits()
        self.last_error = ""
        """Why the last Prepare could not be delivered; empty if it could."""
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        secure, self._host, self._port, target, host = parse_http_url(url)
        if not token.isprintable():
            raise UsageError("an outgoing token must not have control characters")
        self._head = (
            f"POST {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: {OCTET_STREAM}\r\nAccept: {OCTET_STREAM}\r\nContent-Length: "
        ).encode()
        self._ssl = (ssl_context or ssl.create_default_context()) if secure else None
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queue_bytes = 0
        self._idle: list[ClientConnection] = []
        self._connections: set[ClientConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False
        self._sweep_timer: asyncio.TimerHandle | None = None
        link.owner = self

    def flush(self, link: Link) -> None:
        """Called by the pump."""
        for request_id, packet in link.take():
            if packet[0] != _PREPARE:
                # An answer to something that came in here: nothing ever does.
                continue
            if self._is_full(len(packet)):
                self._reject(request_id, "T02", "too many packets wait for this peer")
            else:
                self._queue.append((request_id, packet))
                self._queue_bytes += len(packet)
        self._dispatch()

    def close(self) -> None:
        """Close all connections; what waits for an answer is rejected with T01. The link stays the
        caller's."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for task in self._connecting:
            task.cancel()
        self._fail_queue("the link is closed")
        for connection in list(self._connections):
            if connection.request_id is not None:
                self._reject(connection.request_id, "T01", "the link is closed")
                connection.request_id = None
            connection.abort()
        self.link.owner = None

    def connection_count(self) -> int:
        return len(self._connections)

    def _is_full(self, more_bytes: int) -> bool:
        limits = self.limits
        return (
            len(self._queue) >= limits.queue_size_max
            or self._queue_bytes + more_bytes > limits.queue_bytes_max
        )

    # --- Who carries what -----------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give each waiting Prepare a free connection, and open as many more as have to wait."""
        queue = self._queue
        while queue and self._idle:
            request_id, packet = queue.popleft()
            self._queue_bytes -= len(packet)
            # The one used last: the others may grow old and be closed.
            self._idle.pop().send(request_id, self._head, packet, expiry_digits(packet))
        room = self.limits.connections_max - len(self._connections) - len(self._connecting)
        for _ in range(min(len(queue) - len(self._connecting), room)):
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        if self._sweep_timer is None and (queue or self._connections):
            self._sweep_timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                await self._loop.create_connection(
                    lambda: ClientConnection(self, self.limits.response_size_max),
                    self._host,
                    self._port,
                    ssl=self._ssl,
                )
        except (OSError, TimeoutError, UnicodeError) as error:
            self.last_error = str(error) or "connecting took too long"
            account = self.link.account
            extra = {"account": account.name if account is not None else None}
            _log.info("%s:%d: %s", self._host, self._port, self.last_error, extra=extra)
            if not self._connections:
                # Why is our business; the sender gets no text of our operating system.
                self._fail_queue("peer cannot be reached")

    def _fail_queue(self, message: str) -> None:
        queue, self._queue = self._queue, deque()
        self._queue_bytes = 0
        for request_id, _ in queue:
            self._reject(request_id, "T01", message)

    def _sweep(self) -> None:
        """Close what is idle for too long, and what waits for the answer to an expired Prepare."""
        self._sweep_timer = None
        late_ms = self._pump.now_ms() - round(self.limits.expiry_slack_seconds * 1_000)
        late = datetime.fromtimestamp(late_ms / 1_000, UTC).strftime("%Y%m%d%H%M%S%f")[:-3]
        digits = late.encode()
        now = self._loop.time()
        for connection in list(self._connections):
            if connection.request_id is None:
                if now > connection.idle_until:
                    connection.abort()
            elif connection.expiry < digits:
                connection.request_id = None
                self.last_error = "peer did not answer in time"
                connection.abort()
        self._queue = deque(item for item in self._queue if expiry_digits(item[1]) >= digits)
        self._queue_bytes = sum(len(packet) for _, packet in self._queue)
        if self._queue or self._connections:
            self._sweep_timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    # --- What connections report ----------------------------------------------------------------

    def opened(self, connection: ClientConnection) -> None:
        if self._closed:
            connection.abort()
            return
        self._connections.add(connection)
        self.idle(connection)

    def idle(self, connection: ClientConnection) -> None:
        connection.idle_until = self._loop.time() + min(
            self.limits.idle_seconds, connection.keep_alive_seconds
        )
        self._idle.append(connection)
        self._dispatch()

    def lost(self, connection: ClientConnection, request_id: int | None, error: str) -> None:
        """`request_id`: of the Prepare that was written and never answered."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if request_id is not None:
            self.last_error = error
            self._reject(request_id, "T01", error)
        if self._queue and not self._closed:
            self._dispatch()

    def answered(self, request_id: int, status: int, body: bytes) -> None:
        too_large = len(body) > self.limits.response_size_max
        if status == 200 and not too_large and body and body[0] in _ANSWERS:
            self.last_error = ""
            self.link.receive(((request_id, body),))
            self._pump.wake()
            return
        if status == 200 and too_large:
            code, message = "T01", "peer's answer is too large"
        elif status == 200:
            code, message = "T01", "peer's answer is neither Fulfill nor Reject"
        elif status == 429:
            code, message = "T05", "peer answered HTTP 429"
        elif 400 <= status < 500 and status != 408:
            code, message = "F00", f"peer answered HTTP {status}"
        else:
            code, message = "T01", f"peer answered HTTP {status}"
        self.last_error = message
        self._reject(request_id, code, message)

    def _reject(self, request_id: int, code: str, message: str) -> None:
        address = self._pump.switch.address
        reject = Reject(code=code, triggered_by=address, message=message[:200])
        self.link.receive(((request_id, bytes(reject)),))
        self._pump.wake()
