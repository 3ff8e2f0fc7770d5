# Longest-prefix table over whole segments of ILP addresses (RFC 15): an open hash table of
# prefixes, asked once for each depth at which any prefix exists, deepest first.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastilp._core.arena cimport Arena
from fastilp._core.limits cimport PREFIX_SEGMENTS_MAX

cdef enum:
    FORWARDING_NONE = 0xFFFF_FFFF


cdef struct Forward:
    uint64_t hash
    uint32_t size               # of the prefix; 0 = the slot is empty
    uint32_t target
    size_t offset               # of the prefix in `prefixes`


cdef struct Boundaries:
    # size and hash of the first 1, 2, ... segments of an address
    uint32_t count
    uint32_t[PREFIX_SEGMENTS_MAX] sizes
    uint64_t[PREFIX_SEGMENTS_MAX] hashes


cdef class ForwardingTable:
    cdef Forward* _slots
    cdef size_t _capacity       # power of two
    cdef size_t _count
    cdef Arena _prefixes
    cdef size_t _dead_size      # bytes of deleted prefixes
    cdef uint32_t _default_target
    cdef uint32_t[PREFIX_SEGMENTS_MAX + 1] _depth_counts

    # Target of the longest prefix, or FORWARDING_NONE.
    cdef uint32_t lookup(self, const uint8_t* address, size_t size) noexcept nogil
    # The same for a column: the table's cache misses of one address overlap with the others'.
    cdef void lookup_many(
        self, const uint8_t** addresses, const uint32_t* sizes, uint32_t* targets, size_t count
    ) noexcept nogil
    # Set or replace. -1 when memory is exhausted, -2 when the prefix has too many segments.
    cdef int insert(self, const uint8_t* prefix, size_t size, uint32_t target) noexcept nogil
    # 0, or -1 if there is no such prefix.
    cdef int delete(self, const uint8_t* prefix, size_t size) noexcept nogil

    cdef uint32_t _deepest(self, const Boundaries* found) noexcept nogil
    cdef uint32_t _longest(
        self, const uint8_t* address, const Boundaries* found, uint32_t depth
    ) noexcept nogil
    cdef void _lookup_group(
        self, const uint8_t** addresses, const uint32_t* sizes, uint32_t* targets, size_t count
    ) noexcept nogil
    cdef Forward* _candidate(self, uint64_t hash, size_t size) noexcept nogil
    cdef Forward* _find(self, uint64_t hash, const uint8_t* prefix, size_t size) noexcept nogil
    cdef int _grow(self, size_t capacity) noexcept nogil
    cdef int _compact(self) noexcept nogil
    cdef void _close_gap(self, size_t gap) noexcept nogil
