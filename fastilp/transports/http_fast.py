"""An accepted connection as long as it sends requests in exactly the shape of ILP peers: the core
parses and answers them (_core.http_in), this shell begins, ends, and measures time.

Whatever else comes is given to HttpConnection with all its bytes, once the answers to what came
before are out, and the connection stays there. Imports _core and transports only.
"""

import asyncio
from typing import Protocol, cast

from fastilp._core.http_in import HttpAccess
from fastilp._core.http_in import HttpConnection as CoreConnection
from fastilp.transports import http_connection
from fastilp.transports.adopt import adopt
from fastilp.transports.http_connection import HttpConnection
from fastilp.transports.pump import Pump


class Listener(http_connection.Listener, Protocol):
    """What a connection asks of the listener that accepted it."""

    access: HttpAccess
    pump: Pump

    def is_full(self) -> bool: ...


class FastConnection(CoreConnection, asyncio.BufferedProtocol):
    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.access)
        self._listener = listener
        self._transport: asyncio.Transport
        self._late = False
        self._finishing = False
        self._writing_paused = False
        self._stalled_since = 0.0
        self._closing_since: float | None = None

    # --- The socket -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.attach(self._transport, self._listener.pump.poller)
        if self._listener.is_full():
            # The full parser knows how to refuse.
            self.leave()
        else:
            self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost()
        self._listener.lost(self)

    def eof_received(self) -> bool:
        """The client has said all it will; it may still read (half-close)."""
        self.finish()
        return self.waiting > 0

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._stalled_since = self._listener.now
        self.regulate()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.regulate()

    # --- What the core says ---------------------------------------------------------------------

    def regulate(self) -> None:
        """Reading waits while the client does not read, or has asked too much at once, or the rest
        is for somebody else. (Nothing that we wait for ourselves comes in on this socket.)"""
        if self.closed:
            return
        pause = self._writing_paused or self.busy or self.leaving
        if pause and not self.reading_paused:
            self.pause()
        elif self.reading_paused and not pause:
            self.resume()

    def hand_over(self, received: bytes) -> None:
        self._listener.lost(self)
        self.detach()
        if self._transport.is_closing():
            return
        connection = HttpConnection(self._listener)
        adopt(self._transport, connection, received)
        if self._late:
            connection.refuse_late()
        if self._finishing:
            connection.finish()

    def finished(self) -> None:
        self._closing_since = self._listener.now
        self._transport.close()

    # --- What the listener says -----------------------------------------------------------------

    def finish(self) -> None:
        self._finishing = True
        self.end()

    def abort(self) -> None:
        self._transport.abort()

    def sweep(self, now: float) -> None:
        limits = self._listener.limits
        if self._closing_since is not None:
            if now - self._closing_since > http_connection.LINGER_SECONDS:
                self._transport.abort()
        elif self._writing_paused:
            if now - self._stalled_since > limits.stall_seconds:
                self._transport.abort()
        elif self.reading_since:
            if now - self.reading_since > limits.request_seconds:
                self._late = True
                self.leave()
        elif self.waiting == 0 and now - self.idle_since > limits.idle_seconds:
            self.end()
