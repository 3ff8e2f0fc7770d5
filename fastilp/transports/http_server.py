"""ILP-over-HTTP, the listening side, and the one port that HTTP and BTP share. Imports _core and
transports only.

    pump = Pump(switch, on_events)
    http_tokens: TokenTable[HttpPort] = TokenTable()
    btp_tokens: TokenTable[BtpPort] = TokenTable()
    listener = HttpListener(pump, http_tokens, btp_tokens, fallback=status_page)
    await listener.start("127.0.0.1", 7770)
    port = HttpPort(switch.open_link(alice, name="http-in"), pump)
    http_tokens.put("alice", "alice-password", port)
    ...
    listener.stop_accepting()
    await listener.drain(5.0)

An http-in link only takes requests: `Switch.set_egress` must name another link of the account, or
None. uvloop does not close while a socket listens, so `stop_accepting` belongs into a `finally`.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping

from fastilp._core.http_in import HttpAccess, HttpExchanges
from fastilp.transports.auth import TokenTable, bearer_token
from fastilp.transports.btp import BtpLimits, BtpPort, BtpSession
from fastilp.transports.btp_server import BtpServerSession
from fastilp.transports.feed import Feed, FeedSession
from fastilp.transports.http_connection import Connection
from fastilp.transports.http_fast import FastConnection
from fastilp.transports.http_messages import (
    PACKET_CONTENT_TYPES,
    HttpLimits,
    HttpRequest,
    HttpResponse,
    media_type,
    path_of,
    problem,
    username_in,
)
from fastilp.transports.http_port import HttpPort, refusal
from fastilp.transports.http_reply import Answerer
from fastilp.transports.pump import Pump
from fastilp.transports.websocket import adopt_websocket

_log = logging.getLogger("fastilp.http")

_ILP = "/ilp"
_BTP = "/ilp/btp"
_OK = HttpResponse(200, b"OK", "text/plain")
_UNAUTHORIZED = problem(
    401, "send `Authorization: Bearer <token>` with this account's token", WWW_Authenticate="Bearer"
)
_NO_WEBSOCKET = problem(404, "no WebSocket at this path")
_SWEEP_SECONDS = 1.0
# Connections over the bound that may wait at once for their client to take the refusal.
_REFUSED_MAX = 256


Fallback = Callable[[HttpRequest], HttpResponse | Answerer | None]
"""Answers what is not ILP, at once or by an answerer; None = 404 (200 `OK` for GET /)."""
Feeds = Callable[[str, Mapping[str, str]], Feed | HttpResponse | None]
"""What a WebSocket that is no BTP gets, by path and headers, or why it gets nothing; None = 404."""


class HttpListener:
    """One listening address for ILP-over-HTTP, BTP by WebSocket upgrade, and the fallback."""

    def __init__(
        self,
        pump: Pump,
        http_tokens: TokenTable[HttpPort],
        btp_tokens: TokenTable[BtpPort],
        *,
        fallback: Fallback | None = None,
        is_trusted: Callable[[Mapping[str, str]], bool] | None = None,
        feeds: Feeds | None = None,
        limits: HttpLimits | None = None,
        btp_limits: BtpLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.pump = pump
        self.limits = limits or HttpLimits()
        self.port = 0
        self.now = 0.0
        """Loop time of the last sweep: exact enough for time-outs, and free."""
        self.access = HttpAccess(
            find=self._find,
            refusal=lambda: refusal(pump),
            wake=pump.wake,
            head_size_max=self.limits.header_size_max,
            body_size_max=self.limits.body_size_max,
            requests_in_flight_max=self.limits.requests_in_flight_max,
        )
        http_tokens.on_change.append(self.access.forget)
        self._http_tokens = http_tokens
        self._btp_tokens = btp_tokens
        self._fallback = fallback
        self._is_trusted = is_trusted
        self._feeds = feeds
        self._btp_limits = btp_limits or BtpLimits()
        self._ssl_context = ssl_context
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        # In the order in which they came.
        self._refused: dict[Connection, None] = {}
        self._sessions: set[BtpSession] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError. Port 0 picks a free one, see `port`."""
        is_tls = self._ssl_context is not None
        self._server = await self._loop.create_server(
            lambda: FastConnection(self),
            host,
            port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self.limits.request_seconds if is_tls else None,
            backlog=1_024,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        if self._sweep_timer is None:
            self._sweep()

    def connection_count(self) -> int:
        return len(self._connections) + len(self._sessions)

    def stop_accepting(self) -> None:
        """No new connections; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def drain(self, timeout_seconds: float) -> None:
        """Stop accepting, take no more HTTP requests, wait for the answers of those that came, then
        close every connection, BTP included. Stop the switch's Prepares first (`Switch.drain`)."""
        self.stop_accepting()
        deadline = self._loop.time() + timeout_seconds
        for connection in list(self._connections):
            connection.finish()
        while self._connections and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in [*self._connections, *self._refused]:
            connection.abort()
        # An abort takes a turn of the loop, which may be the last one for a long time.
        while self._connections or self._refused:
            await asyncio.sleep(0)
        for session in list(self._sessions):
            session.close("the node is shutting down")
        while self._sessions and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for session in list(self._sessions):
            session.abort()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None

    # --- What connections ask -------------------------------------------------------------------

    def is_full(self) -> bool:
        return self.connection_count() >= self.limits.connections_max

    def opened(self, connection: Connection) -> bool:
        """False: there are too many. Those are swept too, as their client may never close."""
        if self.is_full():
            if len(self._refused) >= _REFUSED_MAX:
                oldest = next(iter(self._refused))
                del self._refused[oldest]
                oldest.abort()
            self._refused[connection] = None
            return False
        self._connections.add(connection)
        return True

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._refused.pop(connection, None)

    def version(self) -> int:
        """Changes whenever a token does: what a connection remembers of its last request is void
        then."""
        return self._http_tokens.version

    def route(
        self, method: str, target: str, headers: dict[str, str]
    ) -> HttpPort | HttpResponse | None:
        """Where a request goes: to an account, or this answer at once, or None: to the fallback."""
        path = path_of(target)
        username = username_in(path, _ILP)
        if username is None and path not in (_ILP, "/"):
            return None
        if method in ("GET", "HEAD"):
            # plugin-http and interledger-relay ask this before they send packets.
            return None if path == "/" else _OK
        if method != "POST":
            return problem(405, "packets come by POST", Allow="GET, HEAD, POST")
        token = bearer_token(headers.get("authorization", ""))
        port = None
        if token and username is not None:
            port = self._http_tokens.find(username, token)
        elif token:
            port = self._http_tokens.find_by_token(token)
        if port is None:
            self._http_tokens.refused("http", username)
            return _UNAUTHORIZED
        if media_type(headers.get("content-type", "")) not in PACKET_CONTENT_TYPES:
            return problem(415, "the body must be a packet as application/octet-stream")
        return port

    def is_trusted(self, headers: dict[str, str]) -> bool:
        """Whether these headers are of somebody who may send a large body."""
        return self._is_trusted is not None and self._is_trusted(headers)

    def fall_back(self, request: HttpRequest) -> HttpResponse | Answerer:
        """What is not ILP."""
        try:
            response = self._fallback(request) if self._fallback is not None else None
        except Exception:
            _log.exception("fallback failed")
            return problem(500, "an internal error; the log has it")
        if response is not None:
            return response
        path = path_of(request.target)
        if path == "/":
            return _OK
        if username_in(path, _BTP) is not None:
            return problem(426, "this is a BTP address: connect by WebSocket", Upgrade="websocket")
        return problem(404, f"there is nothing at {path[:200]}")

    def upgrade(
        self, transport: asyncio.Transport, target: str, headers: dict[str, str], received: bytes
    ) -> HttpResponse | None:
        """Hand a WebSocket over to BTP or to a feed; or the answer, if there is none for it."""
        path = path_of(target)
        username = username_in(path, _BTP)
        if username is None and path != "/":
            return self._open_feed(transport, path, headers, received)
        session = BtpServerSession(
            self.pump, self._btp_tokens, username, self._btp_limits, self._sessions
        )
        adopt_websocket(transport, received, session)
        return None

    def _open_feed(
        self, transport: asyncio.Transport, path: str, headers: dict[str, str], received: bytes
    ) -> HttpResponse | None:
        feed = self._feeds(path, headers) if self._feeds is not None else None
        if feed is None or isinstance(feed, HttpResponse):
            return feed or _NO_WEBSOCKET
        session = FeedSession(self.pump, feed, self._btp_limits, self._sessions)
        if not adopt_websocket(transport, received, session):
            feed.close()
        return None

    def _find(self, username: str | None, token: str) -> HttpExchanges | None:
        tokens = self._http_tokens
        port = tokens.find(username, token) if username else tokens.find_by_token(token)
        return None if port is None else port.exchanges

    def _sweep(self) -> None:
        """Close what has outlived its time."""
        self.now = self.access.now = self._loop.time()
        for connection in [*self._connections, *self._refused]:
            connection.sweep(self.now)
        limits = self.limits
        shortest = min(limits.request_seconds, limits.idle_seconds, limits.stall_seconds)
        delay = min(_SWEEP_SECONDS, shortest / 2)
        self._sweep_timer = self._loop.call_later(delay, self._sweep)
