"""Connected sockets, with everything that comes before the first packet already said.

Imports _core's BTP codec, errors, and the tasks. Blocking, one after the other: a run begins when
all are there. What a peer sent after its greeting must not be lost, so answers are read to the
byte.
"""

import base64
import os
import socket

import msgpack

from fastilp._core import codec_btp
from fastilp._core.codec_btp import Entry
from fastilp.errors import DecodeError, FastILPError
from fastilp.loadtest.task import Peer

_CONNECT_SECONDS = 10.0
_BINARY = 2
_BTP_MESSAGE, _BTP_ERROR = 6, 2
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
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    return listener


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _take(connected: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        more = connected.recv(size - len(taken))
        if not more:
            raise GreetingError("the peer closed the connection instead of greeting")
        taken += more
    return taken


def _greet_batch(connected: socket.socket, peer: Peer) -> None:
    hello = {"ilp": 1, "account": peer.username, "token": peer.token}
    connected.sendall(msgpack.packb(hello))
    unpacker = msgpack.Unpacker()
    while True:
        # Byte by byte: the value ends where it ends, and packets may follow.
        unpacker.feed(_take(connected, 1))
        try:
            answer = unpacker.unpack()
        except msgpack.OutOfData:
            continue
        if not isinstance(answer, dict) or answer.get("ilp") != 1:
            raise GreetingError(f"the peer refused {peer.username}: {answer!r}")
        return


def _upgrade(connected: socket.socket, peer: Peer) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    connected.sendall(
        f"GET {peer.path} HTTP/1.1\r\nHost: {peer.host}:{peer.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode("ascii")
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _take(connected, 1)
    if not head.startswith(b"HTTP/1.1 101"):
        line = head.partition(b"\r\n")[0].decode("latin-1")
        raise GreetingError(f"{peer.path} is no WebSocket: {line}")


def _greet_btp(connected: socket.socket, peer: Peer) -> None:
    entries = [Entry("auth", 0, b"")]
    # ilp-plugin-btp wants the name entry even when it is empty.
    entries.append(Entry("auth_username", 1, peer.username.encode()))
    entries.append(Entry("auth_token", 1, peer.token.encode()))
    payload = bytes(codec_btp.encode(_BTP_MESSAGE, _AUTH_ID, entries))
    _send_frame(connected, payload)
    try:
        answer = codec_btp.decode(_take_frame(connected))
    except DecodeError as error:
        raise GreetingError(f"the peer's answer to auth is not BTP: {error}") from None
    if answer.type == _BTP_ERROR:
        raise GreetingError(f"the peer refused the token: {answer.name}")


def _send_frame(connected: socket.socket, payload: bytes) -> None:
    mask = os.urandom(4)
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    key = (mask * (size // 4 + 1))[:size]
    masked = bytes(a ^ b for a, b in zip(payload, key, strict=True))
    connected.sendall(bytes([0x80 | _BINARY]) + length + mask + masked)


def _take_frame(connected: socket.socket) -> bytes:
    """The payload of the next binary frame; control frames before it are skipped."""
    while True:
        head = _take(connected, 2)
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(_take(connected, 2), "big")
        payload = _take(connected, size)
        if head[0] & 0x0F == _BINARY:
            return payload
