"""ILPv4 packets, the slow way: a reader and a writer that share nothing with the compiled ones.

Imports the standard library only. Reading takes what RFC 30 lets a receiver take (long lengths with
leading zeros, bytes behind the envelope or behind the last field); writing is canonical, always.
"""

import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

PREPARE, FULFILL, REJECT = 12, 13, 14
DATA_SIZE_MAX = 32_768
MESSAGE_SIZE_MAX = 8_192
ADDRESS_SIZE_MAX = 1_023
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ADDRESS = re.compile(
    rb"(?=.{1,1023}\Z)(g|private|example|peer|self|test[1-3]?|local)(\.[a-zA-Z0-9_~-]+)+\Z",
    re.DOTALL,
)
SCHEME = re.compile(rb"(g|private|example|peer|self|test[1-3]?|local)\Z")


class Malformed(Exception):
    """The bytes are not the packet they were taken for."""


class Prepare(NamedTuple):
    amount: int
    expires_at_ms: int
    condition: bytes
    destination: bytes
    data: bytes = b""


class Fulfill(NamedTuple):
    fulfillment: bytes
    data: bytes = b""


class Reject(NamedTuple):
    code: bytes
    triggered_by: bytes
    message: bytes = b""
    data: bytes = b""


Packet = Prepare | Fulfill | Reject


# --- writing ------------------------------------------------------------------------------------


def length(count: int) -> bytes:
    """Length determinant of RFC 30, canonical: short form below 128, else the fewest bytes."""
    if count < 128:
        return bytes([count])
    size = (count.bit_length() + 7) // 8
    return bytes([0x80 | size]) + count.to_bytes(size, "big")


def octets(value: bytes) -> bytes:
    return length(len(value)) + value


def timestamp(unix_ms: int) -> bytes:
    """The 17 digits of RFC 30, UTC."""
    moment = EPOCH + timedelta(milliseconds=unix_ms)
    text = f"{moment.year:04}{moment:%m%d%H%M%S}{moment.microsecond // 1000:03}"
    return text.encode("ascii")


def content_of(packet: Packet) -> tuple[int, bytes]:
    if isinstance(packet, Prepare):
        head = struct.pack(">Q", packet.amount) + timestamp(packet.expires_at_ms) + packet.condition
        return PREPARE, head + octets(packet.destination) + octets(packet.data)
    if isinstance(packet, Fulfill):
        return FULFILL, packet.fulfillment + octets(packet.data)
    fields = octets(packet.triggered_by) + octets(packet.message) + octets(packet.data)
    return REJECT, packet.code + fields


def encode(packet: Packet) -> bytes:
    packet_type, content = content_of(packet)
    return bytes([packet_type]) + octets(content)


# --- reading ------------------------------------------------------------------------------------


class Reader:
    """A cursor over bytes that raises Malformed instead of reading beyond the end."""

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer

    def take(self, count: int) -> bytes:
        if count > len(self.buffer):
            raise Malformed("truncated")
        value, self.buffer = self.buffer[:count], self.buffer[count:]
        return value

    def length(self) -> int:
        first = self.take(1)[0]
        if first < 128:
            return first
        size = first & 0x7F
        if size == 0 or size > 8:
            raise Malformed("length of length")
        value = int.from_bytes(self.take(size), "big")
        if size == 1 and value < 128:
            raise Malformed("long form of a short length")
        return value

    def octets(self) -> bytes:
        return self.take(self.length())


def read_timestamp(text: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{17}", text):
        raise Malformed("timestamp")
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[8:10]), int(text[10:12]), int(text[12:14])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise Malformed("timestamp") from error
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + int(text[14:])


def read_data(reader: Reader) -> bytes:
    data = reader.octets()
    if len(data) > DATA_SIZE_MAX:
        raise Malformed("data too long")
    return data


def read_prepare(content: Reader) -> Prepare:
    amount = int.from_bytes(content.take(8), "big")
    expires_at_ms = read_timestamp(content.take(17))
    condition = content.take(32)
    destination = content.octets()
    if not ADDRESS.match(destination):
        raise Malformed("destination")
    return Prepare(amount, expires_at_ms, condition, destination, read_data(content))


def read_fulfill(content: Reader) -> Fulfill:
    return Fulfill(content.take(32), read_data(content))


def read_reject(content: Reader) -> Reject:
    code = content.take(3)
    if max(code) > 127:
        raise Malformed("code")
    triggered_by = content.octets()
    # Whatever the next hop writes here, a Reject gives money back: only its size and 7 bits count.
    if len(triggered_by) > ADDRESS_SIZE_MAX or max(triggered_by, default=0) > 127:
        raise Malformed("triggered_by")
    message = content.octets()
    if len(message) > MESSAGE_SIZE_MAX:
        raise Malformed("message too long")
    return Reject(code, triggered_by, message, read_data(content))


READERS: dict[int, Callable[[Reader], Packet]] = {
    PREPARE: read_prepare,
    FULFILL: read_fulfill,
    REJECT: read_reject,
}


def decode(buffer: bytes) -> Packet:
    """Any of the three by its type byte; raises Malformed."""
    outer = Reader(buffer)
    packet_type = outer.take(1)[0]
    if packet_type not in READERS:
        raise Malformed("type")
    return READERS[packet_type](Reader(outer.octets()))


def packet_size(buffer: bytes) -> int:
    """Bytes of the envelope; what is behind it is not part of the packet."""
    outer = Reader(buffer[1:])
    outer.octets()
    return len(buffer) - len(outer.buffer)
