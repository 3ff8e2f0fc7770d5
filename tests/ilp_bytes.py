"""ILPv4 packets and BTP frames as the tests' own peers write and read them.

Written from RFC 27, RFC 30 and RFC 23, with nothing of fastilp, so that a mistake in the product's
codecs cannot hide here. Slow and obvious on purpose. Imports the standard library only.
"""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

PREPARE, FULFILL, REJECT = 12, 13, 14
BTP_RESPONSE, BTP_ERROR, BTP_MESSAGE = 1, 2, 6


class Packet(NamedTuple):
    """Any of the three packets; fields of the other types keep their defaults."""

    type: int
    amount: int = 0
    expires_at_ms: int = 0
    condition: bytes = b""
    destination: str = ""
    fulfillment: bytes = b""
    code: str = ""
    triggered_by: str = ""
    message: str = ""
    data: bytes = b""


class Frame(NamedTuple):
    """A BTP frame: sub-protocol name -> data, in order of arrival."""

    type: int
    request_id: int
    entries: dict[str, bytes]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def condition_of(fulfillment: bytes) -> bytes:
    return hashlib.sha256(fulfillment).digest()


def variable(data: bytes) -> bytes:
    """An OER variable-length octet string (RFC 30, length determinant)."""
    if len(data) < 0x80:
        return bytes([len(data)]) + data
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(length)]) + length + data


def timestamp(unix_ms: int) -> bytes:
    """17 digits, milliseconds since 1970 in, UTC out (RFC 30, ILP timestamp)."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=unix_ms)
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03}".encode()


def prepare(
    amount: int, destination: str, condition: bytes, expires_at_ms: int, data: bytes = b""
) -> bytes:
    content = amount.to_bytes(8, "big") + timestamp(expires_at_ms) + condition
    return _envelope(PREPARE, content + variable(destination.encode()) + variable(data))


def fulfill(fulfillment: bytes, data: bytes = b"") -> bytes:
    return _envelope(FULFILL, fulfillment + variable(data))


def reject(code: str, triggered_by: str, message: str = "", data: bytes = b"") -> bytes:
    content = code.encode() + variable(triggered_by.encode()) + variable(message.encode())
    return _envelope(REJECT, content + variable(data))


def _envelope(packet_type: int, content: bytes) -> bytes:
    return bytes([packet_type]) + variable(content)


class _Reader:
    """A cursor that raises ValueError at the end of its bytes."""

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        self.offset = 0

    def take(self, size: int) -> bytes:
        if self.offset + size > len(self.buffer):
            raise ValueError("bytes end too early")
        self.offset += size
        return self.buffer[self.offset - size : self.offset]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def variable(self) -> bytes:
        length = self.number(1)
        return self.take(length if length < 0x80 else self.number(length & 0x7F))

    def moment(self) -> int:
        digits = self.take(17).decode()
        moment = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1000 + int(digits[14:])


def decode(buffer: bytes) -> Packet:
    envelope = _Reader(buffer)
    packet_type = envelope.number(1)
    content = _Reader(envelope.variable())
    if packet_type == PREPARE:
        return Packet(
            PREPARE,
            amount=content.number(8),
            expires_at_ms=content.moment(),
            condition=content.take(32),
            destination=content.variable().decode(),
            data=content.variable(),
        )
    if packet_type == FULFILL:
        return Packet(FULFILL, fulfillment=content.take(32), data=content.variable())
    if packet_type == REJECT:
        return Packet(
            REJECT,
            code=content.take(3).decode(),
            triggered_by=content.variable().decode(),
            message=content.variable().decode(),
            data=content.variable(),
        )
    raise ValueError(f"no ILP packet has type {packet_type}")


def btp_frame(frame_type: int, request_id: int, entries: list[tuple[str, int, bytes]]) -> bytes:
    body = variable(bytes([len(entries)]))
    for name, content_type, data in entries:
        body += variable(name.encode()) + bytes([content_type]) + variable(data)
    return bytes([frame_type]) + request_id.to_bytes(4, "big") + variable(body)


def btp_ilp(frame_type: int, request_id: int, packet: bytes) -> bytes:
    return btp_frame(frame_type, request_id, [("ilp", 0, packet)])


def btp_decode(buffer: bytes) -> Frame:
    reader = _Reader(buffer)
    frame_type, request_id = reader.number(1), reader.number(4)
    body = _Reader(reader.variable())
    entries: dict[str, bytes] = {}
    if frame_type == BTP_ERROR:
        entries["code"] = body.take(3)
        for name in ("name", "triggered_at", "data"):
            entries[name] = body.variable()
    for _ in range(int.from_bytes(body.variable(), "big")):
        name = body.variable().decode()
        body.take(1)
        entries[name] = body.variable()
    return Frame(frame_type, request_id, entries)
