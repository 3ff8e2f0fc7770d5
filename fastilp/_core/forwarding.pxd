# Longest-prefix table over whole segments of ILP addresses (RFC 15): an open hash table of
# prefixes, asked once for each depth at which any prefix exists, deepest first.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastilp._core.limits cimport PREFIX_SEGMENTS_MAX
from fastilp._core.prefix_log cimport PrefixLog

cdef enum:
    FORWARDING_NONE = 0xFFFF_FFFF


cdef struct Forward:
    uint32_t tag                # upper half of the hash
    uint32_t offset             # of the prefix in the log; 0 = the slot is empty


cdef struct Slots:
    # Places follow the upper bits of the tag, so that twice as many slots keep the order.
    Forward* at
    size_t mask                 # number of slots - 1, a power of two - 1
    uint32_t shift              # from a tag to its home


cdef class ForwardingTable:
    cdef Slots _slots
    # While the table changes its size, what is at home in the first `_moved` slots from `_start` on
    # is in `_next`.
    cdef Slots _next
    cdef size_t _start
    cdef size_t _moved
    cdef size_t _count
    cdef PrefixLog _log
    cdef uint32_t _default_target
    cdef uint32_t[PREFIX_SEGMENTS_MAX + 1] _depth_counts
    # For each depth the greatest one up to it at which a prefix exists, 0 = none.
    cdef uint8_t[PREFIX_SEGMENTS_MAX + 1] _depth_used
    cdef readonly uint64_t steps        # slots and records that were looked at to be moved

    # Target of the longest prefix, or FORWARDING_NONE.
    cdef uint32_t lookup(self, const uint8_t* address, size_t size) noexcept nogil
    # The same for a column: the table's cache misses of one address overlap with the others'.
    cdef void lookup_many(
        self, const uint8_t** addresses, const uint32_t* sizes, uint32_t* targets, size_t count
    ) noexcept nogil
    # Target of this very prefix, or FORWARDING_NONE.
    cdef uint32_t exact(self, const uint8_t* prefix, size_t size) noexcept nogil
    # Set or replace. -1 when memory is exhausted, -2 when the prefix has too many segments or
    # characters.
    cdef int insert(self, const uint8_t* prefix, size_t size, uint32_t target) noexcept nogil
    # 0, or -1 if there is no such prefix.
    cdef int delete(self, const uint8_t* prefix, size_t size) noexcept nogil

    cdef Slots* _slots_of(self, uint32_t tag) noexcept nogil
    cdef Forward* _find(self, uint32_t tag, const uint8_t* prefix, size_t size) noexcept nogil
    cdef void _count_depth(self, uint32_t depth, int change) noexcept nogil
    cdef void _close_gap(self, Slots* slots, size_t gap) noexcept nogil
    cdef void _keep_house(self) noexcept nogil
    cdef bint _has_room(self) noexcept nogil
    cdef void _begin_resizing(self, size_t capacity) noexcept nogil
    cdef void _move_some(self) noexcept nogil
    cdef void _forget_moved(self) noexcept nogil
    cdef void _end_resizing(self) noexcept nogil
    cdef void _clean_some(self) noexcept nogil
