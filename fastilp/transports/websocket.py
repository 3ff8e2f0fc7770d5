"""The opening handshake of WebSocket (RFC 6455 section 4), on a connection that somebody accepted
and on one that we make. Imports transports only.

Behind it the connection belongs to a session, an `asyncio.BufferedProtocol` that reads frames:
`adopt_websocket` where the HTTP shell has read the upgrade request, `dial_websocket` for a URL. No
extension and no subprotocol is ever agreed on.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import ssl
from typing import cast
from urllib.parse import urlsplit

from fastilp.transports.adopt import adopt

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD_SIZE_MAX = 16 * 1024
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n\r\n"
)


def _accept_value(key: bytes) -> bytes:
    """What a server makes of the client's key (4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _head_fields(head: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """First line and header fields; a field that comes twice is joined by a comma (RFC 9110
    5.3)."""
    line, *rest = head.split(b"\r\n")
    fields: dict[bytes, bytes] = {}
    for field in rest:
        name, _, value = field.partition(b":")
        name, value = name.lower(), value.strip()
        fields[name] = fields[name] + b"," + value if name in fields else value
    return line, fields


def _has_token(fields: dict[bytes, bytes], name: bytes, token: bytes) -> bool:
    return token in [one.strip().lower() for one in fields.get(name, b"").split(b",")]


def _asks_for_websocket(fields: dict[bytes, bytes]) -> bool:
    return _has_token(fields, b"upgrade", b"websocket") and _has_token(
        fields, b"connection", b"upgrade"
    )


# --- The side that was dialled --------------------------------------------------------------------


def _request_fault(head: bytes) -> str:
    """What is wrong with an upgrade request (4.2.1), empty if nothing is."""
    line, fields = _head_fields(head)
    if not line.startswith(b"GET ") or not line.endswith(b" HTTP/1.1"):
        return "a WebSocket begins with GET and HTTP/1.1"
    if not _asks_for_websocket(fields):
        return "a WebSocket needs `Upgrade: websocket` and `Connection: Upgrade`"
    if fields.get(b"sec-websocket-version") != b"13":
        return "the version of WebSocket here is 13"
    try:
        key = base64.b64decode(fields.get(b"sec-websocket-key", b""), validate=True)
    except binascii.Error:
        key = b""
    return "" if len(key) == 16 else "Sec-WebSocket-Key is not 16 bytes in base64"


def adopt_websocket(
    transport: asyncio.Transport, received: bytes, session: asyncio.BufferedProtocol
) -> bool:
    """Make `session` the other end of this connection. `received` begins with the upgrade request,
    which is answered 101, or 400 and the end (then the session is told nothing, and the answer is
    False); what follows it is the session's."""
    head, _, rest = received.partition(b"\r\n\r\n")
    fault = _request_fault(head).encode()
    if fault:
        transport.write(_BAD_REQUEST % (len(fault), fault))
        transport.close()
        return False
    key = _head_fields(head)[1][b"sec-websocket-key"]
    transport.write(_SWITCHING % _accept_value(key))
    adopt(transport, session, rest)
    return True


# --- The side that dials --------------------------------------------------------------------------


class _Handshake(asyncio.Protocol):
    """Asks for the upgrade; gives the connection away, or fails `done` with what was wrong."""

    def __init__(self, host: str, target: str, session: asyncio.BufferedProtocol) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._key = base64.b64encode(os.urandom(16))
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {self._key.decode()}\r\n\r\n"
        )
        self._session = session
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end and len(head) <= _HEAD_SIZE_MAX:
            return
        fault = self._fault(head) if end else "the head of its answer is too long"
        if fault:
            self._fail(fault)
        elif not self.done.done():
            self.done.set_result(None)
            adopt(self._transport, self._session, rest)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("it closed the connection")

    def _fault(self, head: bytes) -> str:
        """What is wrong with the answer (4.1), empty if nothing is."""
        line, fields = _head_fields(head)
        if not line.startswith(b"HTTP/1.1 101"):
            return f"it answered {line[:100].decode('latin-1')!r}"
        if not _asks_for_websocket(fields):
            return "its answer does not switch to WebSocket"
        if fields.get(b"sec-websocket-accept") != _accept_value(self._key):
            return "its Sec-WebSocket-Accept is not that of our key"
        if b"sec-websocket-extensions" in fields or b"sec-websocket-protocol" in fields:
            return "it wants an extension or a subprotocol that nobody offered"
        return ""

    def _fail(self, fault: str) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"no WebSocket at the peer: {fault}"))
            self._transport.abort()


async def dial_websocket(
    url: str, session: asyncio.BufferedProtocol, ssl_context: ssl.SSLContext | None = None
) -> None:
    """Connect to a ws: or wss: URL; `session` has the connection when this returns. Raises OSError
    (and ConnectionError, which is one) where there is none."""
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    handshake = _Handshake(parts.netloc, target, session)
    context = (ssl_context or ssl.create_default_context()) if secure else None
    port = parts.port or (443 if secure else 80)
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: handshake, parts.hostname or "", port, ssl=context
    )
    try:
        await handshake.done
    except asyncio.CancelledError:
        transport.abort()
        raise
