# ILP addresses (RFC 15): scheme, then `.segment` after `.segment`, at most 1,023 characters, in
# one pass of address_scan.h, many characters at a time. Imports limits. Addresses come off the
# wire as bytes and stay bytes.

from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from fastilp._core.limits cimport ADDRESS_SIZE_MAX

cdef extern from "address_scan.h" nogil:
    bint address_segments_hold(const uint8_t* at, size_t size)


# How many bytes of the address look like an allocation scheme, or 0; the caller looks at the next
# one.
cdef inline size_t address_scheme_size(const uint8_t* at, size_t size) noexcept nogil:
    if size >= 2 and at[0] == b"g" and at[1] == b".":
        return 1
    if size >= 4 and memcmp(at, b"test", 4) == 0:
        return 5 if size >= 5 and b"1" <= at[4] <= b"3" else 4
    if size >= 4 and (memcmp(at, b"peer", 4) == 0 or memcmp(at, b"self", 4) == 0):
        return 4
    if size >= 5 and memcmp(at, b"local", 5) == 0:
        return 5
    if size >= 7 and (memcmp(at, b"example", 7) == 0 or memcmp(at, b"private", 7) == 0):
        return 7
    return 1 if size == 1 and at[0] == b"g" else 0


# A scheme and any number of segments: a bare scheme is a legal prefix, but no address.
cdef inline bint address_segments_valid(
    const uint8_t* at, size_t size, size_t scheme_size
) noexcept nogil:
    if size > ADDRESS_SIZE_MAX or scheme_size == 0:
        return 0
    if size == scheme_size:
        return 1
    return at[scheme_size] == b"." and address_segments_hold(at, size)


cdef inline bint address_read_valid(const uint8_t* at, size_t size) noexcept nogil:
    cdef size_t scheme_size = address_scheme_size(at, size)
    return scheme_size != size and address_segments_valid(at, size, scheme_size)


cdef inline bint address_prefix_read_valid(const uint8_t* at, size_t size) noexcept nogil:
    return size == 0 or address_segments_valid(at, size, address_scheme_size(at, size))
