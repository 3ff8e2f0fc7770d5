# What the switch tells control beside packets: events, and, where somebody has asked for it, counts
# by kind of account and a record of each packet that was fulfilled. Without that a batch pays two
# comparisons.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastilp._core.inflight cimport InFlight
from fastilp._core.row cimport Row
from fastilp._core.tables cimport Tables

cdef enum:
    # Kinds of accounts (asset and relation) that are counted apart; 0 is all others. Bounds what a
    # scrape of the counters can be.
    CLASSES_MAX = 24
    # Records that wait for take_records.
    RECORDS_MAX = 65_536

cdef enum:
    KIND_PREPARE = 0
    KIND_FULFILL = 1
    KIND_REJECT = 2
    KIND_COUNT = 3


cdef struct Counts:
    uint64_t[KIND_COUNT] packets
    uint64_t answered               # with a known duration
    uint64_t duration_ms            # of these, together


cdef class Noted(Tables):
    cdef list _events
    cdef dict _settlements          # account index -> amount that is due
    cdef bint _observed
    cdef bint _recorded
    cdef uint8_t* _classes          # by account index; 0 beyond its end
    cdef uint32_t _class_capacity
    cdef Counts* _incoming          # [class of the sender]
    cdef Counts* _outgoing          # [class of the sender][class of the next hop]
    cdef int64_t* _sent_ms          # by slot of the in-flight table
    cdef uint32_t _slot_capacity
    cdef dict _destinations         # slot -> bytes, while records are wanted
    cdef list _records
    cdef uint64_t _records_dropped

    cdef int _note(self, tuple event) except -1
    cdef void settle_events(self) noexcept
    cdef inline uint32_t _class_of(self, uint32_t account) noexcept nogil:
        return self._classes[account] if account < self._class_capacity else 0
    cdef void observe_answers(
        self, const uint32_t* answers, size_t count, const InFlight* entries
    ) noexcept
    cdef void observe_expired(self, uint32_t slot, const InFlight* entry) noexcept
    cdef void observe_prepares(self, const uint32_t* prepares, size_t count) noexcept
    cdef void _answered(self, uint32_t slot, const InFlight* entry, int kind) noexcept
    cdef int _record(
        self, uint32_t slot, const InFlight* entry, const uint8_t* fulfillment
    ) except -1
