"""BTP 2.0 (RFC 23): bytes to fields and fields to bytes, with the WebSocket frame header (RFC 6455)
around what is written. Imports oer, codec_websocket and the package's errors; knows no link,
account or switch.

The data plane uses `btp_read` and `btp_write` without the GIL and looks at the `ilp` entry alone.
`decode` and `encode` know every message, for authentication and errors. Reading is lenient:
any position and content type of the entry, trailing bytes, leading zeros in lengths. Writing is
canonical.
"""

import re
from typing import NamedTuple

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastilp._core.codec_websocket cimport (
    WEBSOCKET_BINARY, WEBSOCKET_HEADER_SIZE_MAX, websocket_mask, websocket_write_header,
)
from fastilp._core.oer cimport (
    OER_MALFORMED, OER_OK, OER_TRUNCATED, OerCursor, oer_init, oer_read_length, oer_read_string,
    oer_read_var_uint, oer_skip, oer_string_size, oer_write_length,
)

from fastilp.errors import DecodeError, UsageError

cdef enum Fault:
    FAULT_NONE = OER_OK
    FAULT_TRUNCATED = OER_TRUNCATED
    FAULT_LENGTH = OER_MALFORMED
    FAULT_TYPE = 3

cdef enum:
    HEADER_SIZE = 5              # type and request id
    ENTRY_SIZE_MIN = 3           # an empty name, the content type, empty data
    # One `ilp` entry before its data: count (01 01), name (03 "ilp"), content type (00).
    PREFIX_SIZE = 7
    # BTP header, length of the body, prefix, length of the packet.
    FRAME_OVERHEAD_MAX = WEBSOCKET_HEADER_SIZE_MAX + HEADER_SIZE + 9 + PREFIX_SIZE + 9

_FAULT_TEXTS = ("", "message is truncated", "length is not valid", "unknown message type")
_TIMESTAMP = re.compile(r"[0-9]{14}(\.[0-9]{1,3})?Z")
_TYPES = (BTP_RESPONSE, BTP_ERROR, BTP_MESSAGE, BTP_TRANSFER)


# --- Reading -------------------------------------------------------------------------------------

cdef inline int read_count(OerCursor* cursor, uint64_t* count) noexcept nogil:
    """Count of a SEQUENCE OF: one that the bytes left could hold."""
    cdef int fault = oer_read_var_uint(cursor, count)
    if fault:
        return fault
    return FAULT_NONE if count[0] <= cursor.left // ENTRY_SIZE_MIN else FAULT_TRUNCATED


cdef inline int read_entry(
    OerCursor* cursor, const uint8_t** name, size_t* name_size,
    uint8_t* content_type, const uint8_t** data, size_t* data_size,
) noexcept nogil:
    cdef int fault = oer_read_string(cursor, name, name_size)
    if fault:
        return fault
    content_type[0] = cursor.at[0] if cursor.left else 0
    fault = oer_skip(cursor, 1)
    if fault:
        return fault
    return oer_read_string(cursor, data, data_size)


cdef inline bint is_ilp(const uint8_t* name, size_t size) noexcept nogil:
    return size == 3 and name[0] == c"i" and name[1] == c"l" and name[2] == c"p"


cdef int read_entries(
    const uint8_t* message, OerCursor* cursor, BtpFields* fields
) noexcept nogil:
    """Protocol data to its end: a message is readable as a whole or not. The first `ilp` counts."""
    cdef uint64_t count = 0
    cdef size_t name_size = 0, data_size = 0
    cdef const uint8_t* name = NULL
    cdef const uint8_t* data = NULL
    cdef uint8_t content_type = 0
    cdef int fault = read_count(cursor, &count)
    while not fault and count > 0:
        count -= 1
        fault = read_entry(cursor, &name, &name_size, &content_type, &data, &data_size)
        if fault or fields.packet or data_size == 0:
            continue
        if is_ilp(name, name_size):
            fields.packet = <uint32_t>(data - message)
            fields.packet_size = <uint32_t>data_size
    return fault


cdef int btp_read(const uint8_t* message, size_t size, BtpFields* fields) noexcept nogil:
    cdef OerCursor cursor
    cdef size_t body_size = 0
    cdef int fault
    fields.packet = 0
    fields.packet_size = 0
    if size < HEADER_SIZE:
        return FAULT_TRUNCATED
    if <uint64_t>size >> 32:
        return FAULT_LENGTH
    fields.type = message[0]
    fields.request_id = (
        <uint32_t>message[1] << 24 | <uint32_t>message[2] << 16
        | <uint32_t>message[3] << 8 | <uint32_t>message[4]
    )
    if fields.type not in (BTP_RESPONSE, BTP_ERROR, BTP_MESSAGE, BTP_TRANSFER):
        return FAULT_TYPE
    oer_init(&cursor, message + HEADER_SIZE, size - HEADER_SIZE)
    fault = oer_read_length(&cursor, &body_size)
    if fault:
        return fault
    # What follows the body is ignored (RFC 30, extensibility).
    cursor.left = body_size
    if fields.type == BTP_RESPONSE or fields.type == BTP_MESSAGE:
        return read_entries(message, &cursor, fields)
    return FAULT_NONE


# --- Writing -------------------------------------------------------------------------------------

cdef size_t btp_frame_size_max(size_t packet_size) noexcept nogil:
    return packet_size + FRAME_OVERHEAD_MAX


cdef size_t btp_write(
    uint8_t* out, uint8_t type, uint32_t request_id, const uint8_t* packet, size_t packet_size,
    bint masked, uint32_t mask,
) noexcept nogil:
    cdef size_t body_size = PREFIX_SIZE + oer_string_size(packet_size)
    cdef size_t payload_size = HEADER_SIZE + oer_string_size(body_size)
    cdef size_t payload = websocket_write_header(out, WEBSOCKET_BINARY, payload_size, masked)
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
    at += oer_write_length(out + at, body_size)
    memcpy(out + at, <const uint8_t*>b"\x01\x01\x03ilp\x00", PREFIX_SIZE)
    at += PREFIX_SIZE
    at += oer_write_length(out + at, packet_size)
    if packet_size:
        memcpy(out + at, packet, packet_size)
    if masked:
        websocket_mask(out + payload, payload_size, mask)
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


cdef bytes take(OerCursor* cursor, size_t size):
    cdef const uint8_t* taken = cursor.at
    check(oer_skip(cursor, size))
    return taken[:size]


cdef bytes take_string(OerCursor* cursor):
    cdef const uint8_t* taken = NULL
    cdef size_t size = 0
    check(oer_read_string(cursor, &taken, &size))
    return taken[:size]


cdef str take_ascii(OerCursor* cursor, str what):
    cdef bytes raw = take_string(cursor)
    if not raw.isascii():
        raise DecodeError(f"BTP: {what} is not ASCII")
    return raw.decode("ascii")


cdef list take_entries(OerCursor* cursor):
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
    cdef OerCursor cursor
    cdef size_t body_size = 0
    cdef uint64_t amount = 0
    code, name, triggered_at, error_data = "", "", "", b""
    check(btp_read(data, len(whole), &fields))
    oer_init(&cursor, data + HEADER_SIZE, len(whole) - HEADER_SIZE)
    check(oer_read_length(&cursor, &body_size))
    cursor.left = body_size
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
        amount = int.from_bytes(take(&cursor, 8), "big")
    return Message(
        fields.type, fields.request_id, take_entries(&cursor),
        code, name, triggered_at, error_data, amount,
    )


cdef bytes length_bytes(size_t length):
    cdef uint8_t[9] out
    cdef size_t size = oer_write_length(out, length)
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
