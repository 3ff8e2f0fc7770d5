"""The batch protocol (docs/batch-protocol.md): what both sides share. Imports _core and transports
only.

A `BatchPort` is the account's side of it and outlives connections: control opens a "batch" link,
makes a port of it and puts it into the token table (peers that dial us), hands it to a
`BatchDialler` (peers that we dial), or both.

    port = BatchPort(switch.open_link(alice, kind="batch", name="batch"), pump)
    tokens.put("alice", "alice-password", port)

Packets go from the socket into a buffer of the core and from there into the switch, and from
`Link.take_bytes` to the socket; nothing here looks at them. This file is about the hello, signs of
life and the end.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, cast

import msgpack

from fastilp.transports.pace import PacedSession, PaceLimits
from fastilp.transports.pump import Pump
from fastilp.transports.socket_port import SocketPort

_log = logging.getLogger("fastilp.batch")

VERSION = 1
DEFAULT_PORT = 7767
_NIL = b"\xc0"
_DONE_SECONDS = 1.0
_TEXT_SIZE_MAX = 200
# A hello has three fields; there is room for what later versions may say.
_HELLO_SIZE_MAX = 4_096
_HELLO_FIELDS_MAX = 16


@dataclass(frozen=True, slots=True)
class BatchLimits(PaceLimits):
    """Bounds of one batch connection."""

    hello_seconds: float = 10.0
    """For the hello, and for its answer."""
    keep_alive_seconds: float = 20.0
    """A side that has written nothing for so long writes nil."""
    idle_seconds: float = 60.0
    """A peer that was not heard of for so long is hung up on: three keep-alives."""
    connections_max: int = 1_024
    """Of one listener, those that have not said hello included."""


class HelloError(Exception):
    """What came first is no hello; the text is for the peer and the log."""


def read_map(received: bytes) -> tuple[dict[Any, Any], int] | None:
    """The map at the start and its size; None while it has not come as a whole. Raises
    HelloError."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=_HELLO_SIZE_MAX,
        max_map_len=_HELLO_FIELDS_MAX,
        max_array_len=_HELLO_FIELDS_MAX,
    )
    unpacker.feed(received[:_HELLO_SIZE_MAX])
    try:
        value = unpacker.unpack()
    except msgpack.OutOfData:
        return None
    except (ValueError, msgpack.UnpackException) as error:
        raise HelloError("the hello is not MessagePack") from error
    if not isinstance(value, dict):
        raise HelloError("the hello is not a map")
    return value, unpacker.tell()


class BatchPort(SocketPort):
    """Owner of one batch link."""


class BatchSession(PacedSession, asyncio.BufferedProtocol):
    """One connection. Subclasses do the hello and then call `bind`."""

    def __init__(self, pump: Pump, limits: BatchLimits) -> None:
        super().__init__(limits)
        self.port: BatchPort | None = None
        self.opened = False
        self.closed = False
        self.ended = asyncio.Event()
        self.reason = ""
        """Why it ended, where one of the two said so."""
        self._pump = pump
        self._limits = limits
        self._connection = pump.switch.accept("batch")
        self._closing = False
        self._heard_at = self._loop.time()
        self._heard = self._wrote = True
        # The loop asks the core itself: one call of Python less per read.
        self.get_buffer = self._connection.get_buffer  # type: ignore[method-assign]

    # --- For subclasses ---------------------------------------------------------------------------

    def hello_opened(self) -> None:
        """The socket is open."""

    def hello(self, fields: dict[Any, Any], size: int) -> None:
        """The peer's first value, which took `size` bytes. Raises HelloError."""

    def hello_failed(self) -> None:
        """It ends before it began; `reason` says why."""

    def bind(self, port: BatchPort, hello_size: int) -> None:
        """The hello is done: the connection carries the port's link."""
        self.cancel("hello")
        self.port = port
        self.link = port.link
        may_read = self._connection.bind(port.link, hello_size)
        port.attach(self)
        self.flush()
        self._after_read(may_read)

    # --- What the loop says -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.opened = True
        # uvloop's transports do not derive from asyncio's.
        self.start_pace(cast(asyncio.Transport, transport))
        self.later("hello", self._limits.hello_seconds, self._hello_timed_out)
        self.later("life", self._limits.keep_alive_seconds, self._look_for_life)
        self.hello_opened()

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = True
        may_read = self._connection.buffer_updated(nbytes)
        if self.port is not None:
            self._after_read(may_read)
        elif not self._closing:
            self._read_hello(is_full=not may_read)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self.cancel_all()
        self._connection.close()
        if self.port is not None:
            self.port.detach(self)
        self.ended.set()

    # --- Reading ----------------------------------------------------------------------------------

    def _read_hello(self, is_full: bool) -> None:
        try:
            found = read_map(self._connection.received())
            if found is None and is_full:
                raise HelloError("the hello is too long")
            if found is not None:
                self.hello(*found)
        except HelloError as error:
            self.fail(str(error))

    def _after_read(self, may_read: bool) -> None:
        self._pump.wake()
        if may_read or self._closing:
            return
        if self._connection.fault:
            self._refuse_stream(self._connection.fault)
        else:
            # It had its share: the others get their turn first.
            self.hold()
            self._pump.hold(self._read_on)

    def _read_on(self) -> None:
        if not self._closing and not self.closed:
            self.go_on()
            self._after_read(self._connection.read())

    def _refuse_stream(self, fault: str) -> None:
        """The peer broke the protocol, or says in its last value why it hangs up."""
        try:
            found = read_map(self._connection.received())
        except HelloError:
            found = None
        text = found[0].get("error") if found is not None else None
        if isinstance(text, str):
            self.end(f"peer: {text[:_TEXT_SIZE_MAX]}")
        else:
            self.fail(fault)

    # --- Writing ----------------------------------------------------------------------------------

    def flush(self) -> None:
        if self.port is not None and not self.closed:
            self.port.flush(self.port.link)

    def write(self, data: bytes) -> None:
        self._wrote = True
        super().write(data)

    def write_map(self, **fields: object) -> None:
        self.write(msgpack.packb(fields))

    # --- Signs of life ----------------------------------------------------------------------------

    def _look_for_life(self) -> None:
        limits = self._limits
        now = self._loop.time()
        if self._heard or self.reading_paused:
            self._heard_at = now
        elif now - self._heard_at >= limits.idle_seconds:
            self.reason = "no sign of life from peer"
            self._log_end()
            self.abort()
            return
        if not self._wrote and self.port is not None:
            super().write(_NIL)
            self.regulate()
        self._heard = self._wrote = False
        self.later("life", limits.keep_alive_seconds, self._look_for_life)

    def _hello_timed_out(self) -> None:
        self.fail("no hello in time")

    # --- The end ----------------------------------------------------------------------------------

    def fail(self, reason: str) -> None:
        """The peer did something wrong: tell it and the log."""
        if not self._closing and not self.closed:
            self.reason = reason
            if self.port is None:
                self.hello_failed()
            else:
                self._log_end()
            self.close(reason)

    def close(self, reason: str) -> None:
        """Tell the peer why, and hang up."""
        if not self._closing and not self.closed:
            if self.opened:
                self.write_map(error=reason)
            self.end(reason)

    def end(self, reason: str) -> None:
        """Hang up: what was written may still leave, nothing more comes in."""
        if self._closing or self.closed:
            return
        self._closing = True
        self.reason = self.reason or reason
        self.cancel("stall")
        self.socket.close()
        self.later("done", _DONE_SECONDS, self.abort)

    def _log_end(self) -> None:
        _log.warning("connection closed: %s", self.reason, extra={"link": self.link_name()})
