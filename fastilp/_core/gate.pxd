# Fulfills that wait for their commit: a queue in order of ticket.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastilp._core.arena cimport Arena


cdef struct Waiting:
    uint64_t ticket
    int64_t leave_by_ms             # later the sender could not use it any more
    uint64_t amount
    size_t offset
    uint32_t size
    uint32_t link
    uint32_t request_id
    uint32_t account
    uint8_t left


cdef class Gate:
    cdef Waiting* entries
    cdef size_t head                # first entry that has not left
    cdef size_t count
    cdef size_t _capacity
    cdef Arena packets
    cdef int64_t earliest_ms        # no entry's leave_by_ms is before this
    # where a look for entries whose time has come goes on, within one moment
    cdef size_t _scan
    cdef int64_t _scan_ms
    cdef int64_t _scan_earliest_ms

    # 0, or -1 when memory is exhausted.
    cdef int append(self, const Waiting* entry, const uint8_t* packet) noexcept nogil
    # The next entry that may leave, or NULL: its ticket is committed, or its time has come.
    cdef Waiting* next(self, uint64_t committed, int64_t now_ms) noexcept nogil
    cdef bint waiting(self) noexcept nogil
    cdef void _compact(self) noexcept nogil
