"""ILP-over-HTTP, the listening side, and the one port that HTTP and BTP share. Imports _core and transports only.

pump = Pump(switch, on_events)
http_tokens: TokenTable[HttpPort] = TokenTable()
btp_tokens: TokenTable[BtpPort] = TokenTable()
listener = HttpListener(pump, http_tokens, btp_tokens, fallback=status_page)
await listener.start("127.0.0.1", 7770)
http_tokens.put("alice", "alice-password", HttpPort(switch.open_link(alice, name="http-in"), pump))
...
await listener.drain(5.0)
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fastilp._core.link import Link
from fastilp.transports.auth import TokenTable
from fastilp.transports.btp import BtpPort
from fastilp.transports.pump import Pump


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that is no ILP packet, for the listener's fallback."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case; the values of a repeated header are joined by ", "."""
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Fallback = Callable[[HttpRequest], HttpResponse | None]
"""Answers what is not ILP, at once; None = 404 (200 `OK` for GET /)."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    header_size_max: int = 16_384
    body_size_max: int = 65_535
    """The largest packet of any link."""
    requests_in_flight_max: int = 256
    """Pipelined requests of one connection that wait for an answer; above it reading pauses."""
    connections_max: int = 4_096
    request_seconds: float = 10.0
    """From a request's first byte to its last (slow loris)."""
    idle_seconds: float = 120.0
    """Keep-alive without a request."""
    stall_seconds: float = 30.0
    """A client that does not read what it asked for."""


class HttpPort:
    """The incoming side of one account: owner of its http-in message link. Put it into the token table."""

    undeliverable: int
    """Answers whose client had gone."""

    def __init__(self, link: Link, pump: Pump) -> None: ...

    def flush(self, link: Link) -> None:
        """Called by the pump."""

    def close(self) -> None:
        """Answer what waits with 503 and close the link."""


class HttpListener:
    """One listening socket (or several) for ILP-over-HTTP, BTP by WebSocket upgrade, and the fallback."""

    def __init__(
        self,
        pump: Pump,
        http_tokens: TokenTable[HttpPort],
        btp_tokens: TokenTable[BtpPort],
        *,
        fallback: Fallback | None = None,
        limits: HttpLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None: ...

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError. Port 0 picks a free one, see `port`."""

    port: int

    def connection_count(self) -> int: ...

    async def drain(self, timeout_seconds: float) -> None:
        """Stop accepting, close what is idle, wait for the answers of the rest, then close everything."""
