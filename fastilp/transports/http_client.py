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
from urllib.parse import urlsplit

from fastilp._core.http_out import HttpOutlet
from fastilp._core.link import Link
from fastilp._core.packet import Reject
from fastilp.errors import UsageError
from fastilp.transports.auth import url_without_token
from fastilp.transports.http_messages import OCTET_STREAM
from fastilp.transports.http_pool import HttpPools, HttpSenderLimits, Origin
from fastilp.transports.pump import Pump

_log = logging.getLogger("fastilp.http")

_ANSWERS = (13, 14)
_SWEEP_SECONDS = 1.0


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
    """The shell of one http-out message link. Raises UsageError for a URL that is not http:// or
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
        pools: HttpPools | None = None,
    ) -> None:
        """`pools`: those whose connections it shares."""
        self.link = link
        self.limits = limits or HttpSenderLimits()
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        secure, host, port, target, said = parse_http_url(url)
        if not token.isprintable():
            raise UsageError("an outgoing token must not have control characters")
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {said}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: {OCTET_STREAM}\r\nAccept: {OCTET_STREAM}\r\nContent-Length: "
        ).encode()
        self._pools = pools or HttpPools(pump)
        self._pool = self._pools.join(Origin(secure, host, port, ssl_context), self.limits)
        self.outlet = HttpOutlet(
            link,
            self._pool,
            self,
            head,
            pump.wake,
            connections_max=self.limits.connections_max,
            queue_count_max=self.limits.queue_size_max,
            queue_size_max=self.limits.queue_bytes_max,
        )
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False
        self._sweep_timer: asyncio.TimerHandle | None = None
        link.owner = self.outlet

    @property
    def last_error(self) -> str:
        """Why the last Prepare could not be delivered; empty if it could."""
        return self.outlet.last_error

    def close(self) -> None:
        """Send no more; what waits for an answer is rejected with T01. The link stays the
        caller's."""
        if self._closed:
            return
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._fail_queue("the link is closed")
        self.outlet.close()
        if self.outlet.carrying:
            self._hang_up()
        self._pools.leave(self._pool)
        self.link.owner = None

    def _hang_up(self) -> None:
        for connection in list(self._pool.connections):
            if connection.outlet is self.outlet:
                for request_id in connection.lost():
                    self._reject(request_id, "T01", "the link is closed")
                connection.abort()
            if not self.outlet.carrying:
                break

    def connection_count(self) -> int:
        """All connections to the URL's host and port, of whichever account."""
        return len(self._pool.connections)

    # --- What the outlet asks for ---------------------------------------------------------------

    def refused(self, request_ids: list[int]) -> None:
        """Prepares for which the queue has no room."""
        for request_id in request_ids:
            self._reject(request_id, "T02", "too many packets wait for this peer")

    def open_more(self) -> None:
        """Open as many connections as Prepares have to wait for one."""
        waiting = self.outlet.queue_count
        if self._closed or not waiting:
            return
        opening = len(self._connecting)
        room = self.limits.connections_max - self.outlet.carrying - opening
        for _ in range(min(waiting - opening, room)):
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def _connect(self) -> None:
        try:
            await self._pool.connect()
        except (OSError, TimeoutError, UnicodeError) as error:
            self.outlet.last_error = str(error) or "connecting took too long"
            account = self.link.account
            extra = {"account": account.name if account is not None else None}
            origin = self._pool.origin
            _log.info("%s:%d: %s", origin.host, origin.port, self.last_error, extra=extra)
            if not self._pool.connections:
                # Why is our business; the sender gets no text of our operating system.
                self._fail_queue("peer cannot be reached")

    def _fail_queue(self, message: str) -> None:
        for request_id in self.outlet.drop_queue():
            self._reject(request_id, "T01", message)

    def _sweep(self) -> None:
        """Forget what expired before there was a connection for it, as the switch has answered it,
        and try once more for the rest."""
        self._sweep_timer = None
        if self.outlet.queue_count:
            self.outlet.drop_queue(self._pool.late())
        self.open_more()

    # --- What connections report ----------------------------------------------------------------

    def lost(self, request_ids: list[int], error: str) -> None:
        """Prepares that were written and will never be answered."""
        for request_id in request_ids:
            self.outlet.last_error = error
            self._reject(request_id, "T01", error)
        self.open_more()

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
