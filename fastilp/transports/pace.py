"""Pace of one socket that carries a link: what a session of BTP and of the batch protocol share.
Imports _core only.

Reading pauses only while what we want to write is over its bound, because answers come in on the
same socket, or for as long as the session itself holds it. A peer that keeps us waiting for too
long is hung up on.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from fastilp._core.link import Link

_log = logging.getLogger("fastilp.pace")


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Bounds of what waits on one socket."""

    egress_size_max: int = 4 * 1024 * 1024
    """Bytes that wait to be written; above it reading pauses."""
    write_buffer_size: int = 256 * 1024
    """Bytes handed to the socket; the rest waits on the link, where the switch sees it."""
    stall_seconds: float = 30.0
    """A peer that makes us pause reading for this long, or takes nothing of what its socket's
    buffer holds, is hung up on."""


class PacedSession:
    """Named timers and the pace of `socket`, which a subclass hands to `start_pace`."""

    def __init__(self, limits: PaceLimits) -> None:
        self.writing_paused = False
        self.reading_paused = False
        self.link: Link | None = None
        """What the session carries, once it knows."""
        self.socket: asyncio.Transport
        self._pace = limits
        self._over = False
        self._held = False
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start_pace(self, socket: asyncio.Transport) -> None:
        self.socket = socket
        socket.set_write_buffer_limits(high=self._pace.write_buffer_size)

    # --- What the loop says -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        self.writing_paused = True
        # The switch keeps what waits for it below the bound of `regulate`: that one alone would let
        # a peer that takes nothing at all stay.
        self.later("deaf", self._pace.stall_seconds, self._stalled)
        self.regulate()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.cancel("deaf")
        self.flush()
        self.regulate()

    def flush(self) -> None:
        """Write what waits on the link, if there is one."""

    # --- Pace -------------------------------------------------------------------------------------

    def may_write(self) -> bool:
        """Whether what waits on the link should be written now."""
        return not self.writing_paused and not self.socket.is_closing()

    def write(self, data: bytes) -> None:
        """Whole frames."""
        if not self.socket.is_closing():
            self.socket.write(data)

    def regulate(self) -> None:
        """Pause reading or go on, by what waits to be written."""
        waiting = self.socket.get_write_buffer_size()
        if self.link is not None:
            waiting += self.link.egress_size
        over = waiting > self._pace.egress_size_max
        if over == self._over:
            return
        self._over = over
        if over:
            self.later("stall", self._pace.stall_seconds, self._stalled)
        else:
            self.cancel("stall")
        self._read_or_not()

    def hold(self) -> None:
        """Read no more until `go_on`."""
        self._held = True
        self._read_or_not()

    def go_on(self) -> None:
        self._held = False
        self._read_or_not()

    def read_to_the_end(self) -> None:
        """No pause any more, whatever waits to be written."""
        self._held = self._over = False
        self._read_or_not()

    def _read_or_not(self) -> None:
        paused = self._over or self._held
        if paused == self.reading_paused or self.socket.is_closing():
            return
        self.reading_paused = paused
        if paused:
            self.socket.pause_reading()
        else:
            self.socket.resume_reading()

    def _stalled(self) -> None:
        _log.warning("peer does not read; connection closed", extra={"link": self.link_name()})
        self.abort()

    def abort(self) -> None:
        self.socket.abort()

    def link_name(self) -> str | None:
        return None if self.link is None else self.link.name

    # --- Timers -----------------------------------------------------------------------------------

    def later(self, name: str, delay: float, callback: Callable[[], None]) -> None:
        self.cancel(name)
        self._timers[name] = self._loop.call_later(delay, callback)

    def cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
