"""The connections of HttpSenders: one pool for all accounts at the same host and port, so that a
hub with thousands of accounts at one peer keeps as many sockets as it has requests under way.
Imports _core and transports only.

    pools = HttpPools(pump)
    pool = pools.join(origin, limits)
    ...
    pools.leave(pool)
"""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from fastilp._core.http_out import HttpPool
from fastilp.transports.http_client_connection import ClientConnection, Sender
from fastilp.transports.pump import Pump

_SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HttpSenderLimits:
    """Bounds of one sender, and of the connections that it shares."""

    connections_max: int = 32
    """Of one account at a time, opened as its Prepares have to wait for one."""
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


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go to. `tls`: None without TLS, or if the system's authorities decide."""

    secure: bool
    host: str
    port: int
    tls: ssl.SSLContext | None = None


class OriginPool(HttpPool):
    """All connections to one origin."""

    def __init__(self, pump: Pump, origin: Origin, limits: HttpSenderLimits) -> None:
        super().__init__(depth=limits.pipeline_depth)
        self.origin = origin
        self.limits = limits
        self.poller = pump.poller
        self.senders = 0
        self.connections: set[ClientConnection] = set()
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        self._tls = (origin.tls or ssl.create_default_context()) if origin.secure else None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._reopens = False

    async def connect(self) -> None:
        """One connection more, for whoever waits first. Raises OSError, TimeoutError or
        UnicodeError."""
        async with asyncio.timeout(self.limits.connect_seconds) as deadline:
            await self._loop.create_connection(
                lambda: ClientConnection(self, self.limits.response_size_max, deadline),
                self.origin.host,
                self.origin.port,
                ssl=self._tls,
            )

    def close(self) -> None:
        """Nobody needs it any more."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in list(self.connections):
            connection.abort()

    def late(self) -> bytes:
        """Digits of the time before which a Prepare that waits for an answer has expired."""
        late_ms = self._pump.now_ms() - round(self.limits.expiry_slack_seconds * 1_000)
        late = datetime.fromtimestamp(late_ms / 1_000, UTC)
        return late.strftime("%Y%m%d%H%M%S%f")[:-3].encode()

    def _sweep(self) -> None:
        """Close what is idle for too long, and what waits for the answer to an expired Prepare."""
        self._sweep_timer = None
        late = self.late()
        self.now = self._loop.time()
        for connection in list(self.connections):
            if connection.waiting == 0:
                idle_seconds = min(self.limits.idle_seconds, connection.keep_alive_seconds)
                if self.now - connection.idle_since >= idle_seconds:
                    connection.withdraw()
                    connection.abort()
            elif connection.expiry < late:
                connection.error = "peer did not answer in time"
                if connection.outlet is not None:
                    connection.outlet.last_error = connection.error
                connection.withdraw()
                connection.abort()
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweep_timer is None and self.connections and self.senders:
            self._sweep_timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    # --- What connections report ----------------------------------------------------------------

    def opened(self, connection: ClientConnection) -> bool:
        """False: nobody needs it any more."""
        if not self.senders:
            return False
        self.now = self._loop.time()
        self.connections.add(connection)
        self._sweep_later()
        return True

    def lost(
        self, connection: ClientConnection, sender: Sender | None, ids: list[int], error: str
    ) -> None:
        """`ids`: of the sender's Prepares that were written and never answered."""
        self.connections.discard(connection)
        if sender is not None:
            sender.lost(ids, error)
        if not self._reopens and self.senders:
            # However many are lost together.
            self._reopens = True
            self._loop.call_soon(self._reopen)

    def _reopen(self) -> None:
        self._reopens = False
        for sender in self.waiting_owners():
            sender.open_more()


class HttpPools:
    """The pools of one node, each for as long as anybody needs it."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._pools: dict[tuple[Origin, HttpSenderLimits], OriginPool] = {}

    def join(self, origin: Origin, limits: HttpSenderLimits) -> OriginPool:
        """The pool of all who want the same. Raises UsageError for limits that cannot be."""
        pool = self._pools.get((origin, limits))
        if pool is None:
            pool = self._pools[origin, limits] = OriginPool(self._pump, origin, limits)
        pool.senders += 1
        return pool

    def leave(self, pool: OriginPool) -> None:
        pool.senders -= 1
        if not pool.senders:
            del self._pools[pool.origin, pool.limits]
            pool.close()
