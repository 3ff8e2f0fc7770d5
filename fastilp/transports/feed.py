"""A feed: a WebSocket on which only we speak, in texts. Imports _core and transports only.

What the client sends is read and forgotten, up to the bounds of a BTP connection, whose frames,
pings and pace it shares. A client that does not read is hung up on by those; until then what waits
for it is the feed's business, which has its bounds.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from fastilp._core.codec_websocket import TEXT
from fastilp.transports.btp import BtpLimits, BtpSession
from fastilp.transports.pump import Pump


class Feed(Protocol):
    """What one client is told."""

    on_more: Callable[[], None] | None
    """Called when there is something to take."""
    on_end: Callable[[], None] | None
    """Called when there will be nothing any more."""

    def take(self) -> list[str]: ...
    def close(self) -> None: ...


class FeedSession(BtpSession):
    """The client's connection."""

    def __init__(
        self, pump: Pump, feed: Feed, limits: BtpLimits, sessions: set[BtpSession]
    ) -> None:
        super().__init__(pump, limits, masked=False)
        self._feed = feed
        self._sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sessions.add(self)
        self._feed.on_more = self.flush
        self._feed.on_end = self._end
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sessions.discard(self)
        self._feed.close()
        super().connection_lost(error)

    def hello_opened(self) -> None:
        """Whoever it is has shown it already, by a header."""
        self.cancel("hello")
        self.flush()

    def hello_message(self, payload: bytes) -> None:
        """Nobody asked for it."""

    def flush(self) -> None:
        if self.closed or self.is_closing or not self.may_write():
            return
        for text in self._feed.take():
            self.send_frame(TEXT, text.encode("utf-8", "replace"))

    def _end(self) -> None:
        self.close("there is nothing more to come")
