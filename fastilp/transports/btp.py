"""BTP 2.0 (RFC 23) over WebSocket: what both sides share. Imports _core and transports only.

A `BtpPort` is the account's side of it and outlives connections: control opens a "btp" link, makes
a port of it and puts it into the token table (peers that dial us), hands it to a `BtpDialler`
(peers that we dial), or both.

    port = BtpPort(switch.open_link(alice, kind="btp", name="btp"), pump)
    btp_tokens.put("alice", "alice-password", port)

Packets pass through `BtpConnection.feed` and `Link.take_bytes` and are never looked at here; this
file is about everything else that a peer may send, and about sockets that do not keep up.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from fastilp._core import codec_btp
from fastilp._core.codec_btp import Entry, Message
from fastilp._core.link import BtpConnection
from fastilp._core.packet import Reject
from fastilp.errors import DecodeError
from fastilp.transports.pace import PacedSession, PaceLimits
from fastilp.transports.pump import Pump
from fastilp.transports.socket_port import SocketPort

_log = logging.getLogger("fastilp.btp")

RESPONSE, ERROR, MESSAGE, TRANSFER = 1, 2, 6, 7
_BINARY = WSMsgType.BINARY
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


class BtpSession(PacedSession, WSListener):
    """One WebSocket connection. Subclasses do the hello and then call `bind`."""

    def __init__(self, pump: Pump, limits: BtpLimits, masked: bool) -> None:
        super().__init__(limits)
        self.masked = masked
        self.port: BtpPort | None = None
        self.opened = False
        self.closed = False
        self._pump = pump
        self._limits = limits
        self._transport: WSTransport
        self._connection: BtpConnection | None = None
        self._closing = False
        self._parts: bytearray | None = None
        self._parts_size = 0
        self._parts_are_binary = False
        self._heard = True

    # --- For subclasses -------------------------------------------------------------------------

    def hello_opened(self) -> None:
        """The WebSocket is open."""

    def hello_message(self, payload: bytes) -> None:
        """A message before `bind`."""

    def hello_again(self, message: Message) -> None:
        """A Message with a token after `bind`."""

    def bind(self, port: BtpPort) -> None:
        self.cancel("hello")
        self.port = port
        self.link = port.link
        connection = self._pump.switch.accept("btp")
        connection.bind(port.link, masked=self.masked)
        self._connection = connection
        port.attach(self)
        self.flush()

    # --- picows ---------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.opened = True
        self._transport = transport
        self.start_pace(transport.underlying_transport)
        self.later("ping", self._limits.ping_seconds, self._ping)
        self.later("hello", self._limits.auth_seconds, self._hello_timed_out)
        self.hello_opened()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._heard = True
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            # No extension was agreed on (RFC 6455 5.2).
            self._fail(WSCloseCode.PROTOCOL_ERROR, "reserved bits are set")
        elif frame.msg_type == _BINARY and frame.fin and self._parts is None:
            self._receive(frame.get_payload_as_bytes())
        else:
            self._other_frame(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.closed = True
        self.cancel_all()
        if self._connection is not None:
            self._connection.close()
        if self.port is not None:
            self.port.detach(self)

    def flush(self) -> None:
        if self.port is not None and self._connection is not None:
            self.port.flush(self.port.link)

    # --- Frames ---------------------------------------------------------------------------------

    def _other_frame(self, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.PING:
            self._transport.send_pong(frame.get_payload_as_bytes())
            self.regulate()
        elif kind == WSMsgType.CLOSE:
            self._transport.send_close(WSCloseCode.OK)
            self._done()
        elif kind in (WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._fragment(frame)

    def _fragment(self, frame: WSFrame) -> None:
        """Messages in parts (RFC 6455 5.4), and text, which BTP does not use: it is skipped."""
        starts = frame.msg_type != WSMsgType.CONTINUATION
        if starts == (self._parts is not None):
            self._fail(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if starts:
            # One buffer, as any number of empty parts may come.
            self._parts = bytearray()
            self._parts_size = 0
            self._parts_are_binary = frame.msg_type == _BINARY
        assert self._parts is not None
        self._parts_size += frame.payload_size
        if self._parts_size > self._limits.message_size_max:
            self._fail(WSCloseCode.MESSAGE_TOO_BIG, "message is too large")
            return
        if self._parts_are_binary:
            self._parts += frame.get_payload_as_bytes()
        if frame.fin:
            message, self._parts = bytes(self._parts), None
            if self._parts_are_binary:
                self._receive(message)

    def _receive(self, payload: bytes) -> None:
        if self._closing:
            return
        if self._connection is None:
            self.hello_message(payload)
            return
        rest = self._connection.feed(payload)
        if rest is None:
            self._pump.wake()
        else:
            self._receive_other(*rest)

    # --- What is not a packet -------------------------------------------------------------------

    def _receive_other(self, type_: int, request_id: int, payload: bytes) -> None:
        try:
            message = codec_btp.decode(payload)
        except DecodeError:
            # RFC 23: nothing is sent for what cannot be read. A request of ours that this was meant
            # to answer runs into its expiry.
            return
        if type_ == TRANSFER:
            self.send_error(request_id, "F00", "NotAcceptedError", "transfers are not supported")
        elif type_ == ERROR:
            self._answer_error(message)
        elif type_ == RESPONSE:
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
        self._transport.send(_BINARY, codec_btp.encode(type_, request_id, entries))
        self.regulate()

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
        self._transport.send(_BINARY, error)
        self.regulate()

    # --- Signs of life ----------------------------------------------------------------------------

    def _ping(self) -> None:
        if not self._heard and not self.reading_paused:
            _log.warning("no sign of life from peer; connection closed")
            self.abort()
            return
        self._heard = False
        self._transport.send_ping(b"")
        self.later("ping", self._limits.ping_seconds, self._ping)

    def _hello_timed_out(self) -> None:
        self.close("no authentication in time")

    # --- The end --------------------------------------------------------------------------------

    def close(self, reason: str) -> None:
        self._fail(WSCloseCode.OK, reason)

    def _fail(self, code: WSCloseCode, reason: str) -> None:
        if not self._closing and not self.closed:
            self._transport.send_close(code, reason.encode())
            self._done()

    def _done(self) -> None:
        """What was written may still leave; nothing more comes in."""
        self._closing = True
        self.cancel("stall")
        self._transport.disconnect()
        self.later("done", _DONE_SECONDS, self.abort)
