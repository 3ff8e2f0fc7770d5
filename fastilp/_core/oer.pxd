# OER primitives (RFC 30) over a cursor: a pointer and what is left behind it. Imports nothing of
# ours. Each read checks the length first, so that no caller can run past the end; a read that
# fails leaves the cursor unusable and the caller stops. Reading is lenient where RFC 30 allows
# it, and then clears `canonical`; writing is canonical.

from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    # Results of a read.
    OER_OK = 0
    OER_TRUNCATED = 1           # the buffer ends first
    OER_MALFORMED = 2           # no length or integer has this form
    # RFC 30 lets a decoder stop here; a longer length fits no buffer.
    OER_LENGTH_OCTETS_MAX = 8


cdef struct OerCursor:
    const uint8_t* at
    size_t left
    bint canonical              # stays 1 while everything read had its only canonical form


cdef inline void oer_init(OerCursor* cursor, const uint8_t* at, size_t size) noexcept nogil:
    cursor.at = at
    cursor.left = size
    cursor.canonical = 1


# gcc and clang turn the load and the store into one instruction and a byte swap.
cdef inline uint64_t oer_load_u64(const uint8_t* at) noexcept nogil:
    return (
        <uint64_t>at[0] << 56 | <uint64_t>at[1] << 48 | <uint64_t>at[2] << 40
        | <uint64_t>at[3] << 32 | <uint64_t>at[4] << 24 | <uint64_t>at[5] << 16
        | <uint64_t>at[6] << 8 | <uint64_t>at[7]
    )


cdef inline void oer_store_u64(uint8_t* out, uint64_t value) noexcept nogil:
    out[0] = <uint8_t>(value >> 56)
    out[1] = <uint8_t>(value >> 48)
    out[2] = <uint8_t>(value >> 40)
    out[3] = <uint8_t>(value >> 32)
    out[4] = <uint8_t>(value >> 24)
    out[5] = <uint8_t>(value >> 16)
    out[6] = <uint8_t>(value >> 8)
    out[7] = <uint8_t>value


cdef inline int oer_skip(OerCursor* cursor, size_t size) noexcept nogil:
    if cursor.left < size:
        return OER_TRUNCATED
    cursor.at += size
    cursor.left -= size
    return OER_OK


cdef inline uint64_t _oer_big_endian(const uint8_t* at, size_t count) noexcept nogil:
    cdef uint64_t value = 0
    cdef size_t i
    for i in range(count):
        value = value << 8 | at[i]
    return value


# The long form of a length: 0x80 | count, then so many octets. No encoder writes `80` (indefinite)
# or `81 00` to `81 7f`; leading zeros in more octets are forgiven, as Interledger.rs does.
cdef inline int _oer_read_long_length(OerCursor* cursor, size_t* length) noexcept nogil:
    cdef size_t count = cursor.at[0] & 0x7f
    cdef uint64_t value
    if count == 0 or count > OER_LENGTH_OCTETS_MAX:
        return OER_MALFORMED
    if cursor.left - 1 < count:
        return OER_TRUNCATED
    value = _oer_big_endian(cursor.at + 1, count)
    if count == 1 and value < 0x80:
        return OER_MALFORMED
    if cursor.at[1] == 0:
        cursor.canonical = 0
    oer_skip(cursor, 1 + count)
    # Before anybody calculates with it: a length that the buffer does not hold is no length.
    if value > cursor.left:
        return OER_TRUNCATED
    length[0] = <size_t>value
    return OER_OK


# A length determinant; OER_OK means that so many bytes do follow.
cdef inline int oer_read_length(OerCursor* cursor, size_t* length) noexcept nogil:
    if cursor.left < 1:
        return OER_TRUNCATED
    if cursor.at[0] >= 0x80:
        return _oer_read_long_length(cursor, length)
    length[0] = cursor.at[0]
    oer_skip(cursor, 1)
    return OER_OK if length[0] <= cursor.left else OER_TRUNCATED


# A variable-length octet string: `value` points into the buffer.
cdef inline int oer_read_string(
    OerCursor* cursor, const uint8_t** value, size_t* size
) noexcept nogil:
    cdef int result = oer_read_length(cursor, size)
    if result == OER_OK:
        value[0] = cursor.at
        oer_skip(cursor, size[0])
    return result


# A variable-length unsigned integer of at most 64 bits; zero octets are no integer.
cdef inline int oer_read_var_uint(OerCursor* cursor, uint64_t* value) noexcept nogil:
    cdef const uint8_t* at = NULL
    cdef size_t size = 0
    cdef int result = oer_read_string(cursor, &at, &size)
    if result != OER_OK:
        return result
    if size == 0 or size > 8:
        return OER_MALFORMED
    if size > 1 and at[0] == 0:
        cursor.canonical = 0
    value[0] = _oer_big_endian(at, size)
    return OER_OK


# Octets that the canonical determinant of this length takes.
cdef inline size_t oer_length_size(size_t length) noexcept nogil:
    cdef size_t size = 1
    if length < 0x80:
        return 1
    while length != 0:
        size += 1
        length >>= 8
    return size


cdef inline size_t oer_string_size(size_t size) noexcept nogil:
    return oer_length_size(size) + size


cdef inline size_t oer_write_length(uint8_t* out, size_t length) noexcept nogil:
    cdef size_t count, i
    if length < 0x80:
        out[0] = <uint8_t>length
        return 1
    count = oer_length_size(length) - 1
    out[0] = <uint8_t>(0x80 | count)
    for i in range(count):
        out[1 + i] = <uint8_t>(length >> (8 * (count - 1 - i)))
    return 1 + count
