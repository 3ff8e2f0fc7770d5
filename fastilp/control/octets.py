"""OER (RFC 30) as the peer protocols of control use it: a reader that checks each length before it
reads, and writers that are canonical. Imports errors.

Peers write lengths in more bytes than they need; those are read all the same. Every value has a
maximum that its caller names, so that a length of a peer's never becomes an allocation of ours.
"""

from fastilp.errors import DecodeError

U32_MAX = 2**32 - 1
_SIZE_WIDTH_MAX = 8


class Reader:
    """Takes values off the front of `data`. Every method raises DecodeError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def octets(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise DecodeError(f"it ends {end - len(self._data)} bytes early")
        found = self._data[self._at : end]
        self._at = end
        return found

    def uint(self, width: int) -> int:
        return int.from_bytes(self.octets(width))

    def size(self) -> int:
        """The length of what follows."""
        first = self.uint(1)
        if first < 0x80:
            return first
        width = first & 0x7F
        if not 1 <= width <= _SIZE_WIDTH_MAX:
            raise DecodeError(f"a length of {width} bytes")
        return self.uint(width)

    def var_octets(self, size_max: int = U32_MAX) -> bytes:
        data, start = self._data, self._at + 1
        if start <= len(data) and data[start - 1] < 0x80:
            # Nearly all of them: one call, not four.
            size = data[start - 1]
            end = start + size
            if end <= len(data) and size <= size_max:
                self._at = end
                return data[start:end]
        size = self.size()
        if size > size_max:
            raise DecodeError(f"{size} bytes, where at most {size_max} are right")
        return self.octets(size)

    def var_uint(self) -> int:
        return int.from_bytes(self.var_octets(_SIZE_WIDTH_MAX))

    def text(self, size_max: int = U32_MAX) -> str:
        try:
            return self.var_octets(size_max).decode()
        except UnicodeDecodeError:
            raise DecodeError("a text that is not UTF-8") from None

    def left(self) -> int:
        """Bytes that nobody has taken."""
        return len(self._data) - self._at


def var_octets(content: bytes) -> bytes:
    """A variable-length octet string, canonical."""
    size = len(content)
    if size < 0x80:
        return bytes([size]) + content
    width = (size.bit_length() + 7) // 8
    return bytes([0x80 | width]) + size.to_bytes(width) + content


def var_uint(number: int) -> bytes:
    """A variable-length unsigned integer, in as few bytes as it needs."""
    width = max(1, (number.bit_length() + 7) // 8)
    return bytes([width]) + number.to_bytes(width)
