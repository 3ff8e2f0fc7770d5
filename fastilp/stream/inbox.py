"""Data of one stream as it comes in: pieces in any order, read in the right one. Imports nothing.

Bounded: octets beyond the limit are not kept, nor more pieces than PIECES_MAX that wait for one
before them. What is dropped so was not acknowledged by us alone: the sender broke its limits.
"""

WINDOW_SIZE = 65_536
PIECES_MAX = 1_024


class Inbox:
    def __init__(self) -> None:
        self.taken = 0
        """Octets that were read."""
        self._ready = bytearray()
        self._pieces: dict[int, bytes] = {}

    @property
    def limit(self) -> int:
        """The sender may send up to this offset."""
        return self.taken + WINDOW_SIZE

    def put(self, offset: int, data: bytes) -> bool:
        """Whether there is something new to read."""
        if not data or offset + len(data) > self.limit or len(self._pieces) >= PIECES_MAX:
            return False
        if len(data) > len(self._pieces.get(offset, b"")):
            self._pieces[offset] = data
        before = len(self._ready)
        self._put_in_order()
        return len(self._ready) > before

    def take(self) -> bytes:
        data = bytes(self._ready)
        self._ready.clear()
        self.taken += len(data)
        return data

    def _put_in_order(self) -> None:
        """Pieces may overlap, and be there already."""
        for offset in sorted(self._pieces):
            end = self.taken + len(self._ready)
            if offset > end:
                return
            self._ready += self._pieces.pop(offset)[end - offset :]
