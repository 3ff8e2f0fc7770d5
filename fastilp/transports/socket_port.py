"""The account's side of a link that goes over one socket at a time: BTP and the batch protocol.
Imports _core and transports only.

A port outlives its connections: it owns the link, and a newer connection replaces the one before.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from fastilp._core.link import Link
from fastilp.transports.pump import Pump


class Session(Protocol):
    """A connection that carries the link."""

    def may_write(self) -> bool:
        """False: the peer does not keep up, or the socket is being closed."""

    def write(self, data: bytes) -> None: ...
    def regulate(self) -> None: ...
    def close(self, reason: str) -> None: ...


class SocketPort:
    """Owner of one link; at most one connection at a time carries it."""

    def __init__(
        self, link: Link, pump: Pump, on_change: Callable[[Any], None] | None = None
    ) -> None:
        """`on_change`: called with the port when `up` changes."""
        self.link = link
        self.pump = pump
        self.down = asyncio.Event()
        self.down.set()
        self.on_change = on_change
        self._session: Session | None = None
        link.owner = self

    @property
    def up(self) -> bool:
        return self._session is not None

    def flush(self, link: Link) -> None:
        """Called by the pump: one write for all that waits, as far as the peer keeps up."""
        session = self._session
        if session is None:
            return
        # What is left on the link is not called delivered.
        if session.may_write():
            frames = link.take_bytes()
            if frames:
                session.write(frames)
        session.regulate()

    def attach(self, session: Session) -> None:
        """This connection carries the link from now on."""
        replaced, self._session = self._session, session
        self.down.clear()
        if replaced is not None:
            replaced.close("replaced by a newer connection")
        elif self.on_change is not None:
            self.on_change(self)

    def detach(self, session: Session) -> None:
        if self._session is session:
            self._session = None
            self.down.set()
            if self.on_change is not None:
                self.on_change(self)

    def disconnect(self, reason: str = "disconnected by the operator") -> None:
        """Close the connection, if there is one; the peer may come again."""
        if self._session is not None:
            self._session.close(reason)

    def close(self) -> None:
        """Close the connection and the link, for good."""
        self.disconnect("the account is closed")
        self.link.owner = None
        self.link.close()
