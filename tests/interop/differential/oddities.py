"""What about a packet can make two honest decoders differ. Reads with every leniency that any known
decoder has, and knows nothing of fastilp's codec. Imports the standard library only."""

import re
from collections.abc import Iterator
from datetime import datetime

ADDRESS = re.compile(
    rb"(g|private|example|peer|self|test[1-3]?|local)(\.[A-Za-z0-9_~-]+)+", re.DOTALL
)
SIZE_MAX = {"data": 32_768, "message": 8_192, "packet": 65_535}


class End(Exception):
    """The bytes end before the packet does: both decoders refuse."""


class Reader:
    def __init__(self, octets: bytes, found: set[str]) -> None:
        self.octets = octets
        self.at = 0
        self.found = found

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.octets):
            raise End
        self.at += size
        return self.octets[self.at - size : self.at]

    def string(self) -> bytes:
        [size] = self.take(1)
        if size >= 0x80:
            count = size & 0x7F
            size = int.from_bytes(self.take(count), "big")
            if count > 1 and size < 1 << 8 * (count - 1):
                self.found.add("leading_zeros")
        return self.take(size)


def oddities(packet: bytes) -> set[str]:
    found: set[str] = set()
    try:
        outer = Reader(packet, found)
        [packet_type] = outer.take(1)
        content = Reader(outer.string(), found)
        if outer.at > SIZE_MAX["packet"]:
            found.add("packet_size")
        read = {12: prepare, 13: fulfill, 14: reject}.get(packet_type)
        if read is not None:
            found.update(read(content))
    except End:
        pass
    return found


def prepare(content: Reader) -> Iterator[str]:
    content.take(8)
    yield from timestamp(content.take(17))
    content.take(32)
    yield from ascii_only(content.string())
    yield from size(content.string(), "data")


def fulfill(content: Reader) -> Iterator[str]:
    content.take(32)
    yield from size(content.string(), "data")


def reject(content: Reader) -> Iterator[str]:
    yield from ascii_only(content.take(3))
    triggered_by = content.string()
    yield from ascii_only(triggered_by)
    if not triggered_by:
        yield "triggered_by_empty"
    elif ADDRESS.fullmatch(triggered_by) is None:
        yield "triggered_by_no_address"
    message = content.string()
    yield from size(message, "message")
    if message.decode(errors="replace").encode() != message:
        yield "message_no_utf8"
    yield from size(content.string(), "data")


def timestamp(octets: bytes) -> Iterator[str]:
    yield from ascii_only(octets)
    if not octets.isdigit():
        yield "timestamp_no_digits"
        return
    text = octets.decode()
    if text == "19700101000000000":
        yield "epoch"
    if text < "1000":
        yield "year_below_1000"
    try:
        datetime.strptime(text[:14], "%Y%m%d%H%M%S")
    except ValueError:
        yield "no_such_time"
    else:
        # Python's strptime lets seconds 60 and 61 through for the sake of other platforms.
        if text[12:14] > "59":
            yield "no_such_time"


def ascii_only(octets: bytes) -> Iterator[str]:
    if not octets.isascii():
        yield "high_bit"


def size(octets: bytes, field: str) -> Iterator[str]:
    if len(octets) > SIZE_MAX[field]:
        yield f"{field}_size"
