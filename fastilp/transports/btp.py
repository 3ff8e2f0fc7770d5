"""BTP 2.0 (RFC 23) over WebSocket: what both sides share. Imports _core and transports only.

A `BtpPort` is the account's side of it and outlives connections: control opens a "btp" link, makes
a port of it and puts it into the token table (peers that dial us), hands it to a `BtpDialler`
(peers that we dial), or both.

    port = BtpPort(switch.open_link(alice, kind="btp", name="btp"), pump)
    btp_tokens.put("alice", "alice-password", port)

Packets go from the socket into a buffer of the core and from there into the switch, and from
`Link.take_bytes` to the socket; nothing here looks at them. This file is about everything else that
a peer may send.
"""

import asyncio
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from fastilp._core import codec_btp, codec_websocket
from fastilp._core.codec_btp import Entry, Message
from fastilp._core.codec_websocket import BINARY, CLOSE, PING, PONG
from fastilp._core.connection_btp import READ_FAULT, READ_MORE, READ_OTHER
from fastilp._core.packet import Reject
from fastilp.errors import DecodeError
from fastilp.transports.pace import PacedSession, PaceLimits
from fastilp.transports.pump import Pump
from fastilp.transports.socket_port import SocketPort

_log = logging.getLogger("fastilp.btp")

RESPONSE, ERROR, MESSAGE, TRANSFER = 1, 2, 6, 7
_CLOSE_NORMAL = 1_000
_REASON_SIZE_MAX = 123
# Frames of one connection in one turn that cost Python objects: about 1 ms of work.
_OTHERS_MAX = 256
_DONE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BtpLimits(PaceLimits):
    """Bounds of one BTP connection."""

    message_size_max: int = 65_535 + 1_024
    """The largest packet, and room for BTP's own fields and other entries, bytes."""
    ping_seconds: float = 25.0
    """Peers ping every 20 to 30 s; two of these without a sign of life end the connection."""
    auth_seconds: float = 10.0
    """For the auth Message or its Response; what every peer allows."""
    early_messages_max: int = 256
    """Messages that a peer may send before we know that it took our token."""
    early_size_max: int = 1024 * 1024
    """Bytes of them."""


class BtpPort(SocketPort):
    """Owner of one btp link."""


class BtpSession(PacedSession, asyncio.BufferedProtocol):
    """One WebSocket connection, after the handshake. Subclasses do the hello and then call
    `bind`."""

    def __init__(self, pump: Pump, limits: BtpLimits, masked: bool) -> None:
        super().__init__(limits)
        self.masked = masked
        self.port: BtpPort | None = None
        self.opened = False
        self.closed = False
        self._pump = pump
        self._limits = limits
        self._connection = pump.switch.accept("btp")
        self._connection.open(masked=masked, message_size_max=limits.message_size_max)
        self._closing = False
        self._heard = True
        # The loop asks the core itself: one call of Python less per read.
        self.get_buffer = self._connection.get_buffer  # type: ignore[method-assign]

    # --- For subclasses ---------------------------------------------------------------------------

    def hello_opened(self) -> None:
        """The WebSocket is open."""

    def hello_message(self, payload: bytes) -> None:
        """A message before `bind`."""

    def hello_again(self, message: Message) -> None:
        """A Message with a token after `bind`."""

    @property
    def is_closing(self) -> bool:
        """Nothing is sent or read any more."""
        return self._closing

    def bind(self, port: BtpPort) -> None:
        self.cancel("hello")
        self.port = port
        self.link = port.link
        self._connection.bind(port.link, masked=self.masked)
        port.attach(self)
        self.flush()

    def feed(self, payload: bytes) -> None:
        """A message that came before `bind`."""
        if self._connection.feed(payload) is None:
            self._pump.wake()
        else:
            self._receive(payload)

    # --- What the loop says -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.opened = True
        # uvloop's transports do not derive from asyncio's.
        self.start_pace(cast(asyncio.Transport, transport))
        self.later("ping", self._limits.ping_seconds, self._ping)
        self.later("hello", self._limits.auth_seconds, self._hello_timed_out)
        self.hello_opened()

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = True
        if not self._closing:
            self._read(self._connection.buffer_updated(nbytes))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._part()

    def _part(self) -> None:
        """From link and timers."""
        self.cancel_all()
        self._connection.close()
        if self.port is not None:
            self.port.detach(self)

    def flush(self) -> None:
        if self.port is not None and not self.closed:
            self.port.flush(self.port.link)

    # --- Frames -----------------------------------------------------------------------------------

    def _read(self, reading: int) -> None:
        """`reading`: what the core says of the bytes that came."""
        others = 0
        while reading == READ_OTHER and others < _OTHERS_MAX:
            others += 1
            other = self._connection.other()
            assert other is not None
            self._take(*other)
            if self._closing:
                return
            reading = self._connection.read()
        if self.port is not None:
            self._pump.wake()
        if reading == READ_FAULT:
            self._fail(*self._connection.fault())
        elif reading != READ_MORE:
            # It had its share: the others get their turn first.
            self.hold()
            self._pump.hold(self._read_on)

    def _read_on(self) -> None:
        if self._closing or self.closed:
            return
        self.go_on()
        self._read(self._connection.read())

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.send_frame(PONG, payload)
        elif opcode == CLOSE:
            # Its own code, or none (RFC 6455 5.5.1).
            self.send_frame(CLOSE, payload[:2])
            self._done(linger=False)
        elif self.port is None:
            self.hello_message(payload)
        else:
            self._receive(payload)

    def send_frame(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4) if self.masked else None
        self.write(codec_websocket.frame(opcode, payload, mask))
        self.regulate()

    # --- What is not a packet ---------------------------------------------------------------------

    def _receive(self, payload: bytes) -> None:
        try:
            message = codec_btp.decode(payload)
        except DecodeError:
            # RFC 23: nothing is sent for what cannot be read. A request of ours that this was meant
            # to answer runs into its expiry.
            return
        request_id = message.request_id
        if message.type == TRANSFER:
            self.send_error(request_id, "F00", "NotAcceptedError", "transfers are not supported")
        elif message.type == ERROR:
            self._answer_error(message)
        elif message.type == RESPONSE:
            self._answer(request_id, "T01", "peer's answer is too large")
        elif any(entry.name == "auth_token" for entry in message.entries):
            self.hello_again(message)
        elif any(entry.name == "ilp" and entry.data for entry in message.entries):
            reject = Reject(
                code="F01",
                triggered_by=self._pump.switch.address,
                message="packet is too large",
            )
            self.send(RESPONSE, request_id, [Entry("ilp", 0, bytes(reject))])
        else:
            self.send(RESPONSE, request_id, [])

    def _answer_error(self, error: Message) -> None:
        """RFC 23: the peer could not process our Message. The sender need not wait for the
        expiry."""
        text = error.data.decode("utf-8", "replace")
        # F: must not be sent again, T: may be.
        code = "F00" if error.code.startswith("F") else "T00"
        self._answer(error.request_id, code, f"peer: {error.code} {error.name} {text}")

    def _answer(self, request_id: int, code: str, message: str) -> None:
        """Answer our own request in the peer's place. The switch drops it if there is no such
        request."""
        assert self.port is not None
        address = self._pump.switch.address
        reject = Reject(code=code, triggered_by=address, message=message[:200])
        self.port.link.receive(((request_id, bytes(reject)),))
        self._pump.wake()

    def send(self, type_: int, request_id: int, entries: list[Entry]) -> None:
        self.send_frame(BINARY, codec_btp.encode(type_, request_id, entries))

    def send_error(self, request_id: int, code: str, name: str, text: str) -> None:
        now = datetime.fromtimestamp(self._pump.now_ms() / 1_000, UTC)
        error = codec_btp.encode(
            ERROR,
            request_id,
            [],
            code=code,
            name=name,
            triggered_at=now.strftime("%Y%m%d%H%M%S.%f")[:-3] + "Z",
            data=text.encode(),
        )
        self.send_frame(BINARY, error)

    # --- Signs of life ----------------------------------------------------------------------------

    def _ping(self) -> None:
        if not self._heard and not self.reading_paused:
            _log.warning("no sign of life from peer; connection closed")
            self.abort()
            return
        self._heard = False
        self.send_frame(PING, b"")
        self.later("ping", self._limits.ping_seconds, self._ping)

    def _hello_timed_out(self) -> None:
        self.close("no authentication in time")

    # --- The end ----------------------------------------------------------------------------------

    def close(self, reason: str) -> None:
        self._fail(_CLOSE_NORMAL, reason)

    def _fail(self, code: int, reason: str) -> None:
        if not self._closing and not self.closed:
            text = reason.encode()[:_REASON_SIZE_MAX].decode(errors="ignore")
            self.send_frame(CLOSE, code.to_bytes(2, "big") + text.encode())
            self._done()

    def _done(self, linger: bool = True) -> None:
        """What was written may still leave; what comes in is dropped. A socket that is closed with
        bytes unread is reset, and takes with it what the peer has not read: so the peer may close
        first."""
        self._closing = True
        self._part()
        self.read_to_the_end()
        if linger and self.socket.can_write_eof():
            self.socket.write_eof()
        else:
            self.socket.close()
        self.later("done", _DONE_SECONDS, self.abort)
