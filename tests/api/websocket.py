"""A WebSocket client over a raw socket, for the tests of incoming payments."""

import os
import socket
from types import TracebackType

_TEXT, _CLOSE, _PING = 1, 8, 9


class Incoming:
    """`messages` are read one by one; `head` is the answer to the upgrade."""

    def __init__(self, http: str, path: str, token: str | None) -> None:
        host, port = http.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        authorization = f"Authorization: Bearer {token}\r\n" if token is not None else ""
        # Nothing but what a client must send, as `ilp-cli`.
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {http}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{authorization}\r\n".encode()
        )
        self._received = b""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        self.head = head.decode()

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def message(self) -> str:
        """The next text; a ping in between is left alone. Empty: it was closed."""
        while True:
            opcode, payload = self._frame()
            if opcode == _TEXT:
                return payload.decode()
            if opcode == _CLOSE:
                return ""

    def send(self, opcode: int, payload: bytes) -> None:
        """Masked, as a client's frames are."""
        mask = os.urandom(4)
        masked = bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))
        self._socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def pong(self) -> bytes:
        self.send(_PING, b"still there?")
        return self._frame()[1]

    def _frame(self) -> tuple[int, bytes]:
        first, size = self._take(2)
        if size == 126:
            size = int.from_bytes(self._take(2), "big")
        elif size == 127:
            size = int.from_bytes(self._take(8), "big")
        return first & 0x0F, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _receive(self) -> None:
        more = self._socket.recv(65_536)
        assert more, "the node closed the connection"
        self._received += more
