"""STREAM packets before encryption (RFC 29, section 5): bytes <-> the values of stream_frames.

Imports oer, limits, packet and the errors; knows nothing of keys, connections or the switch. Driven
by a table of field kinds, a row for each type of frame. Reading never looks beyond the frame it is
in, so its cost is bounded by the size of the packet; whatever is wrong raises DecodeError.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from fastilp._core.limits cimport DATA_SIZE_EMIT_MAX
from fastilp._core.oer cimport (
    OER_MALFORMED, OER_OK, OER_TRUNCATED, OerCursor, oer_init, oer_length_size, oer_read_string,
    oer_read_var_uint, oer_skip, oer_write_length,
)
from fastilp._core.packet cimport PACKET_PREPARE, PACKET_REJECT

from fastilp._core.stream_frames import (
    ConnectionAssetDetails, ConnectionClose, ConnectionDataBlocked, ConnectionMaxData,
    ConnectionMaxStreamId, ConnectionNewAddress, ConnectionStreamIdBlocked, Packet, StreamClose,
    StreamData, StreamDataBlocked, StreamMaxData, StreamMaxMoney, StreamMoney, StreamMoneyBlocked,
    StreamReceipt,
)
from fastilp.errors import DecodeError, UsageError

cdef enum:
    VERSION = 1
    # Initialisation vector and tag of AES-GCM go with every packet (RFC 29, section 4).
    ENCRYPTION_OVERHEAD = 28
    PLAIN_SIZE_MAX = DATA_SIZE_EMIT_MAX - ENCRYPTION_OVERHEAD
    FRAME_TYPES = 0x18
    FRAME_FIELDS_MAX = 3

    # Kinds of fields.
    FIELD_NONE = 0
    FIELD_VAR_UINT = 1
    # A larger integer than 64 bits reads as the largest (RFC 29, section 5.1.4).
    FIELD_SATURATING = 2
    FIELD_U8 = 3
    FIELD_TEXT = 4
    FIELD_BYTES = 5

# Field kinds by type of frame, and the class that holds them.
cdef uint8_t[FRAME_TYPES][FRAME_FIELDS_MAX] _fields
cdef list _classes = [None] * FRAME_TYPES
cdef dict _types = {}
cdef object _new = tuple.__new__


def _register(frame_type, cls, *fields):
    _classes[frame_type] = cls
    _types[cls] = frame_type
    for index, field in enumerate(fields):
        _fields[<size_t>frame_type][<size_t>index] = field


memset(_fields, FIELD_NONE, sizeof(_fields))
_register(0x01, ConnectionClose, FIELD_U8, FIELD_TEXT)
_register(0x02, ConnectionNewAddress, FIELD_TEXT)
_register(0x03, ConnectionMaxData, FIELD_VAR_UINT)
_register(0x04, ConnectionDataBlocked, FIELD_VAR_UINT)
_register(0x05, ConnectionMaxStreamId, FIELD_VAR_UINT)
_register(0x06, ConnectionStreamIdBlocked, FIELD_VAR_UINT)
_register(0x07, ConnectionAssetDetails, FIELD_TEXT, FIELD_U8)
_register(0x10, StreamClose, FIELD_VAR_UINT, FIELD_U8, FIELD_TEXT)
_register(0x11, StreamMoney, FIELD_VAR_UINT, FIELD_VAR_UINT)
_register(0x12, StreamMaxMoney, FIELD_VAR_UINT, FIELD_SATURATING, FIELD_VAR_UINT)
_register(0x13, StreamMoneyBlocked, FIELD_VAR_UINT, FIELD_SATURATING, FIELD_VAR_UINT)
_register(0x14, StreamData, FIELD_VAR_UINT, FIELD_VAR_UINT, FIELD_BYTES)
_register(0x15, StreamMaxData, FIELD_VAR_UINT, FIELD_VAR_UINT)
_register(0x16, StreamDataBlocked, FIELD_VAR_UINT, FIELD_VAR_UINT)
_register(0x17, StreamReceipt, FIELD_VAR_UINT, FIELD_BYTES)


# --- Reading ------------------------------------------------------------------------------------

cdef object _fault(int result, str what):
    how = "ends early" if result == OER_TRUNCATED else "is malformed"
    return DecodeError(f"STREAM packet: {what} {how}")


cdef inline int _read_u8(OerCursor* cursor, uint64_t* value) noexcept nogil:
    if cursor.left < 1:
        return OER_TRUNCATED
    value[0] = cursor.at[0]
    return oer_skip(cursor, 1)


cdef inline int _read_saturating(OerCursor* cursor, uint64_t* value) noexcept nogil:
    cdef const uint8_t* at = NULL
    cdef size_t size = 0, i
    cdef int result = oer_read_string(cursor, &at, &size)
    if result != OER_OK:
        return result
    if size == 0:
        return OER_MALFORMED
    while size > 8 and at[0] == 0:
        at += 1
        size -= 1
    value[0] = 0
    for i in range(min(size, <size_t>8)):
        value[0] = value[0] << 8 | at[i]
    if size > 8:
        value[0] = <uint64_t>-1
    return OER_OK


cdef object _read_field(OerCursor* cursor, uint8_t kind):
    cdef const uint8_t* at = NULL
    cdef size_t size = 0
    cdef uint64_t value = 0
    cdef int result
    if kind == FIELD_VAR_UINT:
        result = oer_read_var_uint(cursor, &value)
    elif kind == FIELD_SATURATING:
        result = _read_saturating(cursor, &value)
    elif kind == FIELD_U8:
        result = _read_u8(cursor, &value)
    else:
        result = oer_read_string(cursor, &at, &size)
    if result != OER_OK:
        raise _fault(result, "a field of a frame")
    if kind == FIELD_TEXT:
        return (<const char*>at)[:size].decode("utf-8", "replace")
    if kind == FIELD_BYTES:
        return PyBytes_FromStringAndSize(<const char*>at, <Py_ssize_t>size)
    return value


cdef object _read_frame(uint8_t frame_type, const uint8_t* at, size_t size):
    # Whatever follows the known fields belongs to a later version (RFC 30, extensibility).
    cdef OerCursor cursor
    cdef uint8_t* kinds = _fields[frame_type]
    oer_init(&cursor, at, size)
    cdef object first = _read_field(&cursor, kinds[0])
    if kinds[1] == FIELD_NONE:
        return _new(_classes[frame_type], (first,))
    cdef object second = _read_field(&cursor, kinds[1])
    if kinds[2] == FIELD_NONE:
        return _new(_classes[frame_type], (first, second))
    return _new(_classes[frame_type], (first, second, _read_field(&cursor, kinds[2])))


cdef tuple _read_frames(OerCursor* cursor, uint64_t count):
    cdef const uint8_t* at = NULL
    cdef size_t size = 0
    cdef uint64_t frame_type = 0
    cdef int result
    cdef list frames = []
    while count:
        result = _read_u8(cursor, &frame_type)
        if result == OER_OK:
            result = oer_read_string(cursor, &at, &size)
        if result != OER_OK:
            raise _fault(result, "a frame")
        if frame_type < FRAME_TYPES and _fields[frame_type][0] != FIELD_NONE:
            frames.append(_read_frame(<uint8_t>frame_type, at, size))
        count -= 1
    return tuple(frames)


def decode_packet(bytes plain not None):
    cdef OerCursor cursor
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(plain)
    cdef uint64_t sequence = 0, amount = 0, count = 0
    cdef int result
    if len(plain) < 2:
        raise _fault(OER_TRUNCATED, "the header")
    if at[0] != VERSION:
        raise DecodeError(f"STREAM packet: version {at[0]}, must be 1")
    if not PACKET_PREPARE <= at[1] <= PACKET_REJECT:
        raise DecodeError(f"STREAM packet: ILP packet type {at[1]}, must be 12, 13 or 14")
    oer_init(&cursor, at + 2, len(plain) - 2)
    result = oer_read_var_uint(&cursor, &sequence)
    if result == OER_OK:
        result = oer_read_var_uint(&cursor, &amount)
    if result == OER_OK:
        result = oer_read_var_uint(&cursor, &count)
    if result != OER_OK:
        raise _fault(result, "the header")
    frames = _read_frames(&cursor, count)
    return _new(Packet, (at[1], sequence, amount, frames))


# --- Writing ------------------------------------------------------------------------------------

cdef struct Room:
    uint8_t* at
    size_t left


cdef inline void _room_init(Room* room, uint8_t* at) noexcept nogil:
    room.at = at
    room.left = PLAIN_SIZE_MAX


# 1 if there is no room.
cdef inline int _write_bytes(Room* room, const uint8_t* at, size_t size) noexcept nogil:
    if size > room.left:
        return 1
    if size != 0:
        memcpy(room.at, at, size)
    room.at += size
    room.left -= size
    return 0


cdef inline int _write_length(Room* room, size_t length) noexcept nogil:
    cdef size_t size = oer_length_size(length)
    if size > room.left:
        return 1
    oer_write_length(room.at, length)
    room.at += size
    room.left -= size
    return 0


cdef inline int _write_u8(Room* room, uint8_t value) noexcept nogil:
    return _write_bytes(room, &value, 1)


cdef inline int _write_string(Room* room, const uint8_t* at, size_t size) noexcept nogil:
    return _write_length(room, size) or _write_bytes(room, at, size)


cdef inline size_t _var_uint_octets(uint64_t value) noexcept nogil:
    cdef size_t octets = 1
    while value > 0xff:
        octets += 1
        value >>= 8
    return octets


cdef inline int _write_var_uint(Room* room, uint64_t value) noexcept nogil:
    cdef size_t octets = _var_uint_octets(value)
    cdef uint8_t[8] digits
    cdef size_t i
    for i in range(octets):
        digits[i] = <uint8_t>(value >> (8 * (octets - 1 - i)))
    return _write_string(room, digits, octets)


cdef uint64_t _checked(object value, str what, uint64_t value_max) except? 0xFFFFFFFFFFFFFFFF:
    if not isinstance(value, int):
        raise UsageError(f"{what} must be int, not {type(value).__name__}")
    if not 0 <= value <= value_max:
        raise UsageError(f"{what} must be between 0 and {value_max}: {value}")
    return value


cdef bytes _octets(object value, uint8_t kind):
    wanted = str if kind == FIELD_TEXT else bytes
    if type(value) is not wanted:
        raise UsageError(
            f"a field of a frame must be {wanted.__name__}, not {type(value).__name__}"
        )
    return value.encode("utf-8", "replace") if kind == FIELD_TEXT else value


cdef int _write_field(Room* room, object value, uint8_t kind) except -1:
    cdef bytes octets
    if kind == FIELD_U8:
        return _write_u8(room, <uint8_t>_checked(value, "a code or scale", 0xff))
    if kind == FIELD_VAR_UINT or kind == FIELD_SATURATING:
        return _write_var_uint(room, _checked(value, "a field of a frame", <uint64_t>-1))
    octets = _octets(value, kind)
    return _write_string(room, <const uint8_t*>PyBytes_AS_STRING(octets), len(octets))


cdef int _write_frame(Room* room, object frame) except -1:
    # The length comes before the body, so the body is written elsewhere first.
    cdef uint8_t[PLAIN_SIZE_MAX] body
    cdef Room inner
    cdef uint8_t* kinds
    cdef size_t index
    frame_type = _types.get(type(frame))
    if frame_type is None:
        raise UsageError(f"no STREAM frame: {frame!r}")
    kinds = _fields[<size_t>frame_type]
    _room_init(&inner, body)
    for index in range(<size_t>len(frame)):
        if _write_field(&inner, frame[index], kinds[index]):
            return 1
    if _write_u8(room, <uint8_t>frame_type):
        return 1
    return _write_string(room, body, PLAIN_SIZE_MAX - inner.left)


cdef int _write_packet(Room* room, object sequence, object amount, tuple frames) except -1:
    cdef uint64_t number = _checked(sequence, "sequence", <uint64_t>-1)
    cdef uint64_t value = _checked(amount, "amount", <uint64_t>-1)
    cdef int full = _write_var_uint(room, number) or _write_var_uint(room, value)
    full = full or _write_var_uint(room, len(frames))
    for frame in frames:
        full = full or _write_frame(room, frame)
    return full


def encode_packet(packet_type, sequence, amount, frames, *, size=0):
    cdef uint8_t[PLAIN_SIZE_MAX] plain
    cdef Room room
    cdef size_t used, whole = _checked(size, "size", PLAIN_SIZE_MAX)
    cdef bytes padded
    if not PACKET_PREPARE <= packet_type <= PACKET_REJECT:
        raise UsageError(f"the ILP packet type must be 12, 13 or 14: {packet_type}")
    _room_init(&room, plain)
    _write_u8(&room, VERSION)
    _write_u8(&room, packet_type)
    if _write_packet(&room, sequence, amount, tuple(frames)):
        raise UsageError(f"a STREAM packet has at most {PLAIN_SIZE_MAX} bytes before encryption")
    used = PLAIN_SIZE_MAX - room.left
    whole = max(whole, used)
    padded = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>whole)
    memcpy(PyBytes_AS_STRING(padded), plain, used)
    memset(PyBytes_AS_STRING(padded) + used, 0, whole - used)
    return padded
