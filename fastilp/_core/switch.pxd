# The pipeline: the only control flow across stages. Order, statuses and rules: docs/data-path.md.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastilp._core.arena cimport Arena
from fastilp._core.gate cimport Gate
from fastilp._core.inflight cimport InFlight, InFlightTable
from fastilp._core.row cimport Row
from fastilp._core.status cimport STATUS_COUNT
from fastilp._core.tables cimport Tables, Way


cdef class Switch(Tables):
    cdef InFlightTable _in_flight
    cdef Gate _gate
    cdef int64_t _hold_max_ms
    cdef int64_t _window_min_ms
    cdef bint _draining
    cdef bint _accepts              # the ledger takes new money in this batch
    cdef uint64_t[STATUS_COUNT] _counts
    cdef Arena _scratch             # one packet that is being built
    cdef list _events
    # columns of the condition check
    cdef const uint8_t** _fulfillments
    cdef const uint8_t** _conditions
    cdef uint8_t* _matches
    cdef size_t* _checked
    cdef size_t _column_capacity

    cdef int _reserve_columns(self) except -1
    cdef int _note_acceptance(self) except -1
    cdef bint _is_own(self, const uint8_t* address, size_t size) noexcept nogil
    cdef bint _sender_is_full(self, Row* row) noexcept nogil
    cdef size_t _rewrite_prepare(self, Row* row, const uint8_t* packet) noexcept nogil
    cdef size_t _rewrite_fulfill(self, Row* row, const uint8_t* packet) noexcept nogil
    cdef size_t _rewrite_reject(self, Row* row, const uint8_t* packet) noexcept nogil
    cdef void stage_release(self) noexcept nogil
    cdef void stage_parse(self) noexcept nogil
    cdef void parse_prepare(self, Row* row) noexcept nogil
    cdef void parse_answer(self, Row* row) noexcept nogil
    cdef void stage_match(self) noexcept nogil
    cdef void match_answer(self, Row* row) noexcept nogil
    cdef void match_reinjected(self, Row* row) noexcept nogil
    cdef void stage_condition(self) noexcept nogil
    cdef void stage_admit(self) noexcept nogil
    cdef uint8_t admit(self, Row* row) noexcept nogil
    cdef uint8_t admit_way(self, Row* row) noexcept nogil
    cdef void stage_route(self) noexcept nogil
    cdef uint8_t route(self, Row* row) noexcept nogil
    cdef void stage_convert(self) noexcept nogil
    cdef uint8_t convert(self, Row* row) noexcept nogil
    cdef void stage_apply_answers(self) noexcept nogil
    cdef void apply_answer(self, Row* row) noexcept nogil
    cdef void apply_fulfill(self, Row* row, InFlight* entry) noexcept nogil
    cdef void stage_apply_expired(self) noexcept nogil
    cdef void stage_apply_prepares(self) noexcept nogil
    cdef uint8_t apply_prepare(self, Row* row) noexcept nogil
    cdef uint8_t apply_punt(self, Row* row) noexcept nogil
    cdef void forward(self, Row* row, uint32_t slot) noexcept nogil
    cdef void insert(self, Row* row, uint32_t slot, uint32_t link_out, uint64_t share) noexcept nogil
    cdef void void_entry(self, uint32_t slot) noexcept nogil
    cdef void release_entry(self, uint32_t slot) noexcept nogil
    cdef void answer_fault(self, Row* row) noexcept nogil
    cdef void send_reject(
        self, uint32_t link, uint32_t request_id, uint8_t status, uint64_t received, uint64_t maximum
    ) noexcept nogil
    cdef const uint8_t* canonical(self, Row* row, size_t* size) noexcept nogil
    cdef bint send(
        self, uint32_t link, uint32_t request_id, const uint8_t* packet, size_t size, bint answer
    ) noexcept nogil
    cdef void settle_events(self) noexcept
