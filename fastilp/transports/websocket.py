"""The server side of a WebSocket on a connection that somebody else accepted. Imports transports
only.

picows can only listen by itself; ILP-over-HTTP and BTP share one port. So the HTTP shell reads the
upgrade request and hands over the transport with every byte it has read, from the request line on.
"""

import asyncio
import logging

from picows import WSAutoPingStrategy, WSListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from fastilp.transports.adopt import adopt

_log = logging.getLogger("fastilp.websocket")

_HANDSHAKE_SECONDS = 5.0
_READ_BUFFER_SIZE = 16_384
# Of picows' own pinger, which stays off: its sessions ping by themselves.
_PING_SECONDS = 20.0


def adopt_websocket(
    transport: asyncio.Transport, received: bytes, listener: WSListener, frame_size_max: int
) -> None:
    """Make `listener` the other end of this connection. `received` begins with the upgrade request;
    picows checks it, answers 101 (or 400 and closes), and parses what follows."""
    protocol = WSProtocol(
        None,
        None,
        False,
        lambda request: listener,
        _log,
        True,
        _HANDSHAKE_SECONDS,
        False,
        _PING_SECONDS,
        _PING_SECONDS,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,
        frame_size_max,
        None,
        _READ_BUFFER_SIZE,
    )
    adopt(transport, protocol, received)
