"""Application data of stream 1 on its way: pieces, sent again until the receiver has answered.

Imports _core. A piece counts as received when a packet that carried it got an authentic answer. The
receiver's limits (RFC 29, section 5.3) are kept; before it names one, RFC 29 leaves the first 64 KB
to the sender.
"""

from collections import deque

from fastilp._core.stream_frames import (
    ConnectionMaxData,
    Frame,
    StreamData,
    StreamDataBlocked,
    StreamMaxData,
)

STREAM_ID = 1
_PIECE_SIZE = 16_384
_LIMIT_DEFAULT = 65_536


class Outbox:
    """`add` octets, `next` frames for a packet, then `arrived` or `lost`."""

    def __init__(self, offset: int) -> None:
        self.size = offset
        """Octets that were given to us."""
        self.acknowledged = offset
        """Octets that the receiver has, in pieces that need not be adjacent."""
        self._waiting: deque[StreamData] = deque()
        self._connection_limit = _LIMIT_DEFAULT
        self._stream_limit = _LIMIT_DEFAULT

    @property
    def is_empty(self) -> bool:
        return self.acknowledged == self.size

    def add(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE_SIZE):
            piece = data[start : start + _PIECE_SIZE]
            self._waiting.append(StreamData(STREAM_ID, self.size, piece))
            self.size += len(piece)

    @property
    def waits(self) -> bool:
        """There is a piece that no packet carries."""
        return bool(self._waiting)

    @property
    def is_blocked(self) -> bool:
        """The next piece is beyond what the receiver takes."""
        if not self._waiting:
            return False
        piece = self._waiting[0]
        limit = min(self._connection_limit, self._stream_limit)
        return piece.offset + len(piece.data) > limit

    def next(self) -> tuple[Frame, ...]:
        """At most one piece, so that a packet never becomes too large."""
        if not self._waiting:
            return ()
        if self.is_blocked:
            return (StreamDataBlocked(STREAM_ID, self.size),)
        return (self._waiting.popleft(),)

    def carried(self, frames: tuple[Frame, ...]) -> bool:
        return any(isinstance(frame, StreamData) for frame in frames)

    def arrived(self, frames: tuple[Frame, ...]) -> None:
        self.acknowledged += sum(
            len(frame.data) for frame in frames if isinstance(frame, StreamData)
        )

    def lost(self, frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            if isinstance(frame, StreamData):
                self._waiting.appendleft(frame)

    def heed(self, frame: Frame) -> None:
        """What the receiver says about its limits, which only grow but for the first."""
        if isinstance(frame, ConnectionMaxData):
            self._connection_limit = self._limit(self._connection_limit, frame.offset_max)
        elif isinstance(frame, StreamMaxData) and frame.stream_id == STREAM_ID:
            self._stream_limit = self._limit(self._stream_limit, frame.offset_max)

    def _limit(self, known: int, named: int) -> int:
        return named if known == _LIMIT_DEFAULT else max(known, named)
