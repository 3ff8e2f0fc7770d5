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
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from fastilp._core.http_out import HttpOutlet
from fastilp._core.link import Link
from fastilp._core.packet import Reject
from fastilp.errors import UsageError
from fastilp.transports.auth import url_without_token
from fastilp.transports.http_client_connection import ClientConnection
from fastilp.transports.http_messages import OCTET_STREAM
from fastilp.transports.pump import Pump

_log = logging.getLogger("fastilp.http")

_ANSWERS = (13, 14)
_SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HttpSenderLimits:
    """Bounds of one sender."""

    connections_max: int = 32
    """Opened as Prepares have to wait for one."""
    pipeline_depth: int = 1
    """Requests at a time on each: HTTP/1.1 pipelining is not safe with all servers."""
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
        self.poller = pump.poller
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        secure, self._host, self._port, target, host = parse_http_url(url)
        if not token.isprintable():
            raise UsageError("an outgoing token must not have control characters")
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: {OCTET_STREAM}\r\nAccept: {OCTET_STREAM}\r\nContent-Length: "
        ).encode()
        self.outlet = HttpOutlet(
            link,
            head,
            pump.wake,
            depth=self.limits.pipeline_depth,
            queue_count_max=self.limits.queue_size_max,
            queue_size_max=self.limits.queue_bytes_max,
        )
        self._ssl = (ssl_context or ssl.create_default_context()) if secure else None
        self._connections: set[ClientConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False
        self._sweep_timer: asyncio.TimerHandle | None = None
        link.owner = self

    @property
    def last_error(self) -> str:
        """Why the last Prepare could not be delivered; empty if it could."""
        return self.outlet.last_error

    def flush(self, link: Link) -> None:
        """Called by the pump."""
        for request_id in self.outlet.flush():
            self._reject(request_id, "T02", "too many packets wait for this peer")
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
            for request_id in connection.lost():
                self._reject(request_id, "T01", "the link is closed")
            connection.abort()
        self.link.owner = None

    def connection_count(self) -> int:
        return len(self._connections)

    # --- Who carries what -----------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Open as many connections as Prepares have to wait for one."""
        waiting = self.outlet.queue_count
        if waiting:
            room = self.limits.connections_max - len(self._connections) - len(self._connecting)
            for _ in range(min(waiting - len(self._connecting), room)):
                task = self._loop.create_task(self._connect())
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)
        if self._sweep_timer is None and (waiting or self._connections):
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
            self.outlet.last_error = str(error) or "connecting took too long"
            account = self.link.account
            extra = {"account": account.name if account is not None else None}
            _log.info("%s:%d: %s", self._host, self._port, self.last_error, extra=extra)
            if not self._connections:
                # Why is our business; the sender gets no text of our operating system.
                self._fail_queue("peer cannot be reached")

    def _fail_queue(self, message: str) -> None:
        for request_id in self.outlet.drop_queue():
            self._reject(request_id, "T01", message)

    def _sweep(self) -> None:
        """Close what is idle for too long, and what waits for the answer to an expired Prepare."""
        self._sweep_timer = None
        late_ms = self._pump.now_ms() - round(self.limits.expiry_slack_seconds * 1_000)
        late = datetime.fromtimestamp(late_ms / 1_000, UTC).strftime("%Y%m%d%H%M%S%f")[:-3]
        digits = late.encode()
        now = self.outlet.now = self._loop.time()
        for connection in list(self._connections):
            if connection.waiting == 0:
                idle_seconds = min(self.limits.idle_seconds, connection.keep_alive_seconds)
                if now - connection.idle_since >= idle_seconds:
                    connection.withdraw()
                    connection.abort()
            elif connection.expiry < digits:
                self.outlet.last_error = connection.error = "peer did not answer in time"
                connection.abort()
        # The switch has answered them.
        self.outlet.drop_queue(digits)
        if self.outlet.queue_count or self._connections:
            self._sweep_timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    # --- What connections report ----------------------------------------------------------------

    def opened(self, connection: ClientConnection) -> bool:
        """False: nobody needs it any more."""
        if not self._closed:
            self._connections.add(connection)
        return not self._closed

    def lost(self, connection: ClientConnection, request_ids: list[int], error: str) -> None:
        """`request_ids`: of the Prepares that were written and never answered."""
        self._connections.discard(connection)
        for request_id in request_ids:
            self.outlet.last_error = error
            self._reject(request_id, "T01", error)
        if not self._closed:
            self._dispatch()

    def answered(self, request_id: int, status: int, body: bytes) -> None:
        too_large = len(body) > self.limits.response_size_max
        if status == 200 and not too_large and body and body[0] in _ANSWERS:
            self.outlet.last_error = ""
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
        self.outlet.last_error = message
        self._reject(request_id, code, message)

    def _reject(self, request_id: int, code: str, message: str) -> None:
        address = self._pump.switch.address
        reject = Reject(code=code, triggered_by=address, message=message[:200])
        self.link.receive(((request_id, bytes(reject)),))
        self._pump.wake()
