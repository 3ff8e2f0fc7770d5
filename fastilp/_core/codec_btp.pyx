"""BTP 2.0 (RFC 23): bytes to fields and fields to bytes, with the WebSocket frame header (RFC 6455)
around what is written. Imports the package's errors only; knows no link, account or switch.

The data plane uses `btp_read` and `btp_write` without the GIL and looks at the `ilp` entry alone.
`decode` and `encode` know every message, for authentication and errors. Reading is lenient:
any position and content type of the entry, trailing bytes, leading zeros in lengths. Writing is
canonical.
"""

import re
from typing import NamedTuple

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastilp.errors import DecodeError, UsageError

cdef enum Fault:
    FAULT_NONE = 0
    FAULT_TRUNCATED = 1
    FAULT_LENGTH = 2
    FAULT_TYPE = 3

cdef enum:
    HEADER_SIZE = 5              # type and request id
    ENTRY_SIZE_MIN = 3           # an empty name, the content type, empty data
    INTEGER_SIZE_MAX = 8         # bytes of a length or of a count
    # One `ilp` entry before its data: count (01 01), name (03 "ilp"), content type (00).
    PREFIX_SIZE = 7
    # WebSocket header 2 + 8 + 4, BTP header, length of the body, prefix, length of the packet.
    FRAME_OVERHEAD_MAX = 14 + HEADER_SIZE + 9 + PREFIX_SIZE + 9
    WEBSOCKET_BINARY = 0x82      # FIN and opcode 2 (RFC 6455 5.2)
    WEBSOCKET_MASKED = 0x80

_FAULT_TEXTS = ("", "message is truncated", "length is not valid", "unknown message type")
_TIMESTAMP = re.compile(r"[0-9]{14}(\.[0-9]{1,3})?Z")
_TYPES = (BTP_RESPONSE, BTP_ERROR, BTP_MESSAGE, BTP_TRANSFER)


# --- Reading: a cursor over bytes that checks before every step ----------------------------------

cdef struct Cursor:
    const uint8_t* data
    size_t at
    size_t end


cdef inline int read_integer(Cursor* cursor, size_t size, uint64_t* value) noexcept nogil:
    """`size` bytes, big-endian; 1 <= size <= 8."""
    cdef size_t i
    if cursor.end - cursor.at < size:
        return FAULT_TRUNCATED
    value[0] = 0
    for i in range(size):
        value[0] = (value[0] << 8) | cursor.data[cursor.at + i]
    cursor.at += size
    return FAULT_NONE


cdef inline int read_length(Cursor* cursor, size_t* length) noexcept nogil:
    """A length determinant (RFC 30) whose bytes are all there."""
    cdef uint8_t first
    cdef uint64_t value
    cdef int fault
    if cursor.at >= cursor.end:
        return FAULT_TRUNCATED
    first = cursor.data[cursor.at]
    cursor.at += 1
    value = first
    if first >= 0x80:
        first &= 0x7F
        if first == 0 or first > INTEGER_SIZE_MAX:
            return FAULT_LENGTH
        fault = read_integer(cursor, first, &value)
        if fault:
            return fault
        # Peers refuse the one-byte long form of a short length; longer forms may lead with zeros.
        if first == 1 and value < 0x80:
            return FAULT_LENGTH
    # The value is bounded by the buffer before any arithmetic, so it cannot wrap.
    if value > cursor.end - cursor.at:
        return FAULT_TRUNCATED
    length[0] = <size_t>value
    return FAULT_NONE


cdef inline int read_count(Cursor* cursor, uint64_t* count) noexcept nogil:
    """Count of a SEQUENCE OF: a VarUInt that the bytes left could hold."""
    cdef size_t size = 0
    cdef int fault = read_length(cursor, &size)
    if fault:
        return fault
    if size == 0 or size > INTEGER_SIZE_MAX:
        return FAULT_LENGTH
    fault = read_integer(cursor, size, count)
    if fault:
        return fault
    if count[0] > (cursor.end - cursor.at) // ENTRY_SIZE_MIN:
        return FAULT_TRUNCATED
    return FAULT_NONE


cdef inline int read_entry(
    Cursor* cursor, size_t* name, size_t* name_size,
    uint8_t* content_type, size_t* data, size_t* data_size,
) noexcept nogil:
    cdef int fault = read_length(cursor, name_size)
    if fault:
        return fault
    name[0] = cursor.at
    cursor.at += name_size[0]
    if cursor.at >= cursor.end:
        return FAULT_TRUNCATED
    content_type[0] = cursor.data[cursor.at]
    cursor.at += 1
    fault = read_length(cursor, data_size)
    if fault:
        return fault
    data[0] = cursor.at
    cursor.at += data_size[0]
    return FAULT_NONE


cdef inline bint is_ilp(const uint8_t* name, size_t size) noexcept nogil:
    return size == 3 and name[0] == c"i" and name[1] == c"l" and name[2] == c"p"


cdef int read_entries(Cursor* cursor, BtpFields* fields) noexcept nogil:
    """Protocol data to its end: a message is readable as a whole or not. The first `ilp` counts."""
    cdef uint64_t count = 0
    cdef size_t name = 0, name_size = 0, data = 0, data_size = 0
    cdef uint8_t content_type = 0
    cdef int fault = read_count(cursor, &count)
    while not fault and count > 0:
        count -= 1
        fault = read_entry(cursor, &name, &name_size, &content_type, &data, &data_size)
        if fault or fields.packet or data_size == 0:
            continue
        if is_ilp(cursor.data + name, name_size):
            fields.packet = <uint32_t>data
            fields.packet_size = <uint32_t>data_size
    return fault


cdef int btp_read(const uint8_t* message, size_t size, BtpFields* fields) noexcept nogil:
    cdef Cursor cursor
    cdef uint64_t request_id = 0
    cdef size_t body_size = 0
    cdef int fault
    fields.packet = 0
    fields.packet_size = 0
    if size < HEADER_SIZE:
        return FAULT_TRUNCATED
    if <uint64_t>size >> 32:
        return FAULT_LENGTH
    fields.type = message[0]
    cursor.data = message
    cursor.at = 1
    cursor.end = size
    read_integer(&cursor, 4, &request_id)
    fields.request_id = <uint32_t>request_id
    if fields.type not in (BTP_RESPONSE, BTP_ERROR, BTP_MESSAGE, BTP_TRANSFER):
        return FAULT_TYPE
    fault = read_length(&cursor, &body_size)
    if fault:
        return fault
    # What follows the body is ignored (RFC 30, extensibility).
    cursor.end = cursor.at + body_size
    if fields.type == BTP_RESPONSE or fields.type == BTP_MESSAGE:
        return read_entries(&cursor, fields)
    return FAULT_NONE


# --- Writing -------------------------------------------------------------------------------------

cdef inline size_t length_size(size_t length) noexcept nogil:
    cdef size_t size = 2
    if length < 0x80:
        return 1
    while length > 0xFF:
        length >>= 8
        size += 1
    return size


cdef inline size_t write_length(uint8_t* out, size_t length) noexcept nogil:
    """Canonical length determinant; returns its size."""
    cdef size_t size = length_size(length)
    cdef size_t i
    if size == 1:
        out[0] = <uint8_t>length
        return 1
    out[0] = <uint8_t>(0x80 | (size - 1))
    for i in range(size - 1, 0, -1):
        out[i] = <uint8_t>(length & 0xFF)
        length >>= 8
    return size


cdef inline size_t write_frame_header(
    uint8_t* out, size_t payload_size, uint8_t mask_bit
) noexcept nogil:
    """Final binary frame, shortest form of the length (RFC 6455 5.2)."""
    cdef size_t i, size
    out[0] = WEBSOCKET_BINARY
    if payload_size < 126:
        out[1] = mask_bit | <uint8_t>payload_size
        return 2
    out[1] = mask_bit | (126 if payload_size <= 0xFFFF else 127)
    size = 2 if payload_size <= 0xFFFF else 8
    for i in range(size + 1, 1, -1):
        out[i] = <uint8_t>(payload_size & 0xFF)
        payload_size >>= 8
    return 2 + size


cdef inline void apply_mask(uint8_t* payload, size_t size, uint32_t mask) noexcept nogil:
    """XOR with the four bytes of `mask` as they lie in memory (RFC 6455 5.3), eight at a time."""
    cdef uint64_t wide = (<uint64_t>mask << 32) | mask
    cdef uint64_t word
    cdef size_t at = 0
    while at + 8 <= size:
        memcpy(&word, payload + at, 8)
        word ^= wide
        memcpy(payload + at, &word, 8)
        at += 8
    while at < size:
        payload[at] ^= (<uint8_t*>&wide)[at & 7]
        at += 1


cdef size_t btp_frame_size_max(size_t packet_size) noexcept nogil:
    return packet_size + FRAME_OVERHEAD_MAX


cdef size_t btp_write(
    uint8_t* out, uint8_t type, uint32_t request_id, const uint8_t* packet, size_t packet_size,
    bint masked, uint32_t mask,
) noexcept nogil:
    cdef size_t body_size = PREFIX_SIZE + length_size(packet_size) + packet_size
    cdef size_t payload_size = HEADER_SIZE + length_size(body_size) + body_size
    cdef size_t payload = write_frame_header(out, payload_size, WEBSOCKET_MASKED if masked else 0)
    cdef size_t at
    if masked:
        memcpy(out + payload, &mask, 4)
        payload += 4
    out[payload] = type
    out[payload + 1] = <uint8_t>(request_id >> 24)
    out[payload + 2] = <uint8_t>(request_id >> 16)
    out[payload + 3] = <uint8_t>(request_id >> 8)
    out[payload + 4] = <uint8_t>request_id
    at = payload + HEADER_SIZE
    at += write_length(out + at, body_size)
    memcpy(out + at, <const uint8_t*>b"\x01\x01\x03ilp\x00", PREFIX_SIZE)
    at += PREFIX_SIZE
    at += write_length(out + at, packet_size)
    if packet_size:
        memcpy(out + at, packet, packet_size)
    if masked:
        apply_mask(out + payload, payload_size, mask)
    return payload + payload_size


# --- The Python face -----------------------------------------------------------------------------

class Entry(NamedTuple):
    name: str
    content_type: int
    data: bytes


class Message(NamedTuple):
    type: int
    request_id: int
    entries: list
    code: str
    name: str
    triggered_at: str
    data: bytes
    amount: int


cdef check(int fault):
    if fault:
        raise DecodeError("BTP: " + _FAULT_TEXTS[fault])


cdef bytes take(Cursor* cursor, size_t size):
    if cursor.end - cursor.at < size:
        check(FAULT_TRUNCATED)
    cursor.at += size
    return cursor.data[cursor.at - size:cursor.at]


cdef bytes take_string(Cursor* cursor):
    cdef size_t size = 0
    check(read_length(cursor, &size))
    return take(cursor, size)


cdef str take_ascii(Cursor* cursor, str what):
    cdef bytes raw = take_string(cursor)
    if not raw.isascii():
        raise DecodeError(f"BTP: {what} is not ASCII")
    return raw.decode("ascii")


cdef list take_entries(Cursor* cursor):
    cdef uint64_t count = 0
    cdef uint8_t content_type
    cdef list entries = []
    check(read_count(cursor, &count))
    while count > 0:
        name = take_ascii(cursor, "name of an entry")
        content_type = take(cursor, 1)[0]
        entries.append(Entry(name, content_type, take_string(cursor)))
        count -= 1
    return entries


def decode(message):
    """Decode any BTP message; raise DecodeError if it is not one."""
    cdef bytes whole = bytes(message)
    cdef const uint8_t* data = whole
    cdef BtpFields fields
    cdef Cursor cursor
    cdef size_t body_size = 0
    cdef uint64_t amount = 0
    code, name, triggered_at, error_data = "", "", "", b""
    check(btp_read(data, len(whole), &fields))
    cursor.data = data
    cursor.at = HEADER_SIZE
    cursor.end = len(whole)
    check(read_length(&cursor, &body_size))
    cursor.end = cursor.at + body_size
    if fields.type == BTP_ERROR:
        raw_code = take(&cursor, 3)
        if not raw_code.isascii():
            raise DecodeError("BTP: error code is not ASCII")
        code = raw_code.decode("ascii")
        name = take_ascii(&cursor, "error name")
        triggered_at = take_ascii(&cursor, "triggeredAt")
        if _TIMESTAMP.fullmatch(triggered_at) is None:
            raise DecodeError("BTP: triggeredAt is not YYYYMMDDHHmmSS[.fff]Z")
        error_data = take_string(&cursor)
    elif fields.type == BTP_TRANSFER:
        check(read_integer(&cursor, 8, &amount))
    return Message(
        fields.type, fields.request_id, take_entries(&cursor),
        code, name, triggered_at, error_data, amount,
    )


cdef bytes length_bytes(size_t length):
    cdef uint8_t[9] out
    cdef size_t size = write_length(out, length)
    return out[:size]


cdef bytes string_bytes(bytes value):
    return length_bytes(len(value)) + value


cdef bytes entries_bytes(entries):
    cdef int count = len(entries)
    cdef int size = (count.bit_length() + 7) // 8 or 1  # zero takes one byte: 01 00
    parts = [length_bytes(size), count.to_bytes(size, "big")]
    for name, content_type, data in entries:
        parts.append(string_bytes(name.encode("ascii")))
        parts.append(bytes((content_type,)) + string_bytes(bytes(data)))
    return b"".join(parts)


def encode(
    type, request_id, entries, *, code="", name="", triggered_at="", data=b"", amount=0
):
    """Encode a BTP message, canonical; raise UsageError for fields that the format cannot hold."""
    if type not in _TYPES:
        raise UsageError(f"BTP message type is 1, 2, 6 or 7, not {type}")
    try:
        head = bytes((type,)) + request_id.to_bytes(4, "big")
        body = entries_bytes(entries)
        if type == BTP_TRANSFER:
            body = amount.to_bytes(8, "big") + body
        elif type == BTP_ERROR:
            body = error_bytes(code, name, triggered_at, data) + body
    except (OverflowError, UnicodeEncodeError, ValueError) as error:
        raise UsageError(f"BTP message cannot be encoded: {error}") from error
    return head + string_bytes(body)


cdef bytes error_bytes(str code, str name, str triggered_at, data):
    cdef bytes raw_code = code.encode("ascii")
    if len(raw_code) != 3:
        raise ValueError("an error code has 3 characters")
    if _TIMESTAMP.fullmatch(triggered_at) is None:
        raise ValueError("triggered_at is YYYYMMDDHHmmSS[.fff]Z")
    whole, _, fraction = triggered_at.removesuffix("Z").partition(".")
    fraction = fraction.rstrip("0")
    canonical = f"{whole}.{fraction}Z" if fraction else f"{whole}Z"
    return (
        raw_code + string_bytes(name.encode("ascii")) + string_bytes(canonical.encode("ascii"))
        + string_bytes(bytes(data))
    )


def read(message):
    """`(type, request_id, packet)` as the data plane sees it; packet is None without `ilp`."""
    cdef bytes whole = bytes(message)
    cdef BtpFields fields
    check(btp_read(whole, len(whole), &fields))
    packet = whole[fields.packet:fields.packet + fields.packet_size] if fields.packet else None
    return fields.type, fields.request_id, packet


def frame(type, request_id, packet, mask=None):
    """The WebSocket frame that the data plane sends; `mask`: 4 bytes, as a client."""
    cdef bytes data = bytes(packet)
    cdef uint32_t mask_word = 0
    if mask is not None:
        if len(mask) != 4:
            raise UsageError("a mask has 4 bytes")
        memcpy(&mask_word, <const uint8_t*><bytes>mask, 4)
    cdef bytearray out = bytearray(btp_frame_size_max(len(data)))
    cdef size_t size = btp_write(
        out, type, request_id, data, len(data), mask is not None, mask_word
    )
    return bytes(out[:size])
