"""Connected sockets, with everything that comes before the first packet already said.

Imports _core's BTP codec, errors, and the tasks. Blocking, one after the other: a run begins when
all are there. What a peer sent after its greeting must not be lost, so answers are read to the
byte.
"""

import base64
import hashlib
import os
import re
import socket
from typing import Any

import msgpack

from fastilp._core import codec_btp
from fastilp._core.codec_btp import Entry
from fastilp.errors import DecodeError, FastILPError
from fastilp.loadtest.task import IN_FLIGHT_MAX, Peer, WireTransport

_CONNECT_SECONDS = 10.0
# How long a connector may take to dial us: longer than most wait between two tries.
_WELCOME_SECONDS = 60.0
_HEAD_SIZE_MAX = 65_536
_BINARY = 2
_BTP_RESPONSE, _BTP_ERROR, _BTP_MESSAGE = 1, 2, 6
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_AUTH_ID = 1


class GreetingError(FastILPError):
    """A peer was not reached, or did not take us."""


def connect(peer: Peer) -> socket.socket:
    """A socket that is ready for packets."""
    try:
        if peer.unix:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.settimeout(_CONNECT_SECONDS)
            connected.connect(peer.unix)
        else:
            connected = socket.create_connection((peer.host, peer.port), _CONNECT_SECONDS)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if peer.kind == "batch":
            _greet_batch(connected, peer)
        elif peer.kind == "btp":
            _upgrade(connected, peer)
            _greet_btp(connected, peer)
    except OSError as error:
        where = peer.unix or f"{peer.host}:{peer.port}"
        raise GreetingError(f"{peer.kind} peer at {where} was not reached: {error}") from None
    connected.setblocking(False)
    return connected


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection through this machine, as a hop would have."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
    return one, other


def listen(port: int) -> socket.socket:
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    except OSError as error:
        raise GreetingError(f"port {port} cannot be listened on: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def welcome(listener: socket.socket, kind: WireTransport) -> socket.socket:
    """The next connector that dials us, greeted; whoever it says it is."""
    listener.settimeout(_WELCOME_SECONDS)
    try:
        connected, _ = listener.accept()
        connected.settimeout(_CONNECT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kind == "batch":
            _welcome_batch(connected)
        else:
            _welcome_btp(connected)
    except OSError as error:
        port = listener.getsockname()[1]
        raise GreetingError(f"no {kind} peer came to port {port}: {error}") from None
    connected.setblocking(False)
    return connected


def _take(connected: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        more = connected.recv(size - len(taken))
        if not more:
            raise GreetingError("the peer closed the connection instead of greeting")
        taken += more
    return taken


def _take_value(connected: socket.socket) -> Any:
    """One MessagePack value, byte by byte: it ends where it ends, and packets may follow."""
    unpacker = msgpack.Unpacker()
    while True:
        unpacker.feed(_take(connected, 1))
        try:
            return unpacker.unpack()
        except msgpack.OutOfData:
            continue
        except (ValueError, msgpack.UnpackException) as error:
            raise GreetingError(f"the peer does not speak the batch protocol: {error!r}") from None


def _greet_batch(connected: socket.socket, peer: Peer) -> None:
    hello = {"ilp": 1, "account": peer.username, "token": peer.token}
    connected.sendall(msgpack.packb(hello))
    answer = _take_value(connected)
    if not isinstance(answer, dict) or answer.get("ilp") != 1:
        raise GreetingError(f"the peer refused {peer.username}: {answer!r}")


def _welcome_batch(connected: socket.socket) -> None:
    hello = _take_value(connected)
    if not isinstance(hello, dict) or hello.get("ilp") != 1:
        raise GreetingError(f"the peer does not speak the batch protocol: {hello!r}")
    connected.sendall(msgpack.packb({"ilp": 1, "in_flight_max": IN_FLIGHT_MAX}))


def _upgrade(connected: socket.socket, peer: Peer) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    connected.sendall(
        f"GET {peer.path} HTTP/1.1\r\nHost: {peer.host}:{peer.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode("ascii")
    )
    head = _take_head(connected)
    if not head.startswith(b"HTTP/1.1 101"):
        line = head.partition(b"\r\n")[0].decode("latin-1")
        raise GreetingError(f"{peer.path} is no WebSocket: {line}")


def _take_head(connected: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _take(connected, 1)
        if len(head) > _HEAD_SIZE_MAX:
            raise GreetingError("the peer's HTTP head does not end")
    return head


def _welcome_btp(connected: socket.socket) -> None:
    key = re.search(rb"(?i)\r\nsec-websocket-key: *([^\r]+)", _take_head(connected))
    if key is None:
        raise GreetingError("the peer asked for no WebSocket")
    digest = hashlib.sha1(key[1].strip() + _WEBSOCKET_GUID).digest()
    connected.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
    try:
        hello = codec_btp.decode(_take_frame(connected))
    except DecodeError as error:
        raise GreetingError(f"the peer's auth is not BTP: {error}") from None
    _send_frame(connected, codec_btp.encode(_BTP_RESPONSE, hello.request_id, []), masked=False)


def _greet_btp(connected: socket.socket, peer: Peer) -> None:
    entries = [Entry("auth", 0, b"")]
    # ilp-plugin-btp wants the name entry even when it is empty.
    entries.append(Entry("auth_username", 1, peer.username.encode()))
    entries.append(Entry("auth_token", 1, peer.token.encode()))
    _send_frame(connected, codec_btp.encode(_BTP_MESSAGE, _AUTH_ID, entries))
    try:
        answer = codec_btp.decode(_take_frame(connected))
    except DecodeError as error:
        raise GreetingError(f"the peer's answer to auth is not BTP: {error}") from None
    if answer.type == _BTP_ERROR:
        raise GreetingError(f"the peer refused the token: {answer.name}")


def _send_frame(connected: socket.socket, payload: bytes, masked: bool = True) -> None:
    mask = os.urandom(4)
    size = len(payload)
    bit = 0x80 if masked else 0
    length = bytes([bit | size]) if size < 126 else bytes([bit | 126]) + size.to_bytes(2, "big")
    if masked:
        payload = mask + _masked(payload, mask)
    connected.sendall(bytes([0x80 | _BINARY]) + length + payload)


def _masked(payload: bytes, mask: bytes) -> bytes:
    key = mask * (len(payload) // 4 + 1)
    return bytes(a ^ b for a, b in zip(payload, key, strict=False))


def _take_frame(connected: socket.socket) -> bytes:
    """The payload of the next binary frame; control frames before it are skipped."""
    while True:
        head = _take(connected, 2)
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(_take(connected, 2), "big")
        mask = _take(connected, 4) if head[1] & 0x80 else bytes(4)
        payload = _take(connected, size)
        if head[0] & 0x0F == _BINARY:
            return _masked(payload, mask)
