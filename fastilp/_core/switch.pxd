# The pipeline: the only control flow across stages. Order, statuses and rules: docs/data-path.md.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastilp._core.gate cimport Gate
from fastilp._core.inflight cimport InFlight
from fastilp._core.packet cimport ExpiryMemo
from fastilp._core.timestamp cimport TimestampDay
from fastilp._core.row cimport Row
from fastilp._core.terminal cimport Terminal
from fastilp._core.tables cimport Way


cdef class Switch(Terminal):
    cdef Gate _gate
    cdef TimestampDay _expiry_day   # of Prepares that came in
    cdef ExpiryMemo _expiry_memo    # of Prepares that went out

    cdef int _note_acceptance(self) except -1
    cdef bint _sender_is_full(self, Row* row) noexcept nogil
    cdef Way* _sender(self, Row* row) noexcept nogil
    cdef bint _has_taken(self) noexcept nogil
    cdef void stage_taken(self) noexcept nogil
    cdef void send_fulfill(
        self, uint32_t link, uint32_t request_id, const uint8_t* packet, size_t size,
        uint64_t amount,
    ) noexcept nogil
    cdef void stage_release(self) noexcept nogil
    cdef void stage_parse(self) noexcept nogil
    cdef void parse_prepare(self, Row* row) noexcept nogil
    cdef void parse_answer(self, Row* row) noexcept nogil
    cdef void stage_match(self) noexcept nogil
    cdef void match_answer(self, Row* row) noexcept nogil
    cdef void match_reinjected(self, Row* row) noexcept nogil
    cdef void stage_condition(self) noexcept nogil
    cdef void stage_apply_answers(self) noexcept nogil
    cdef void apply_answer(self, Row* row) noexcept nogil
    cdef void apply_fulfill(self, Row* row, InFlight* entry) noexcept nogil
    cdef bint _wait_for_commit(
        self, const InFlight* entry, const uint8_t* packet, size_t size
    ) noexcept nogil
    cdef void stage_apply_expired(self) noexcept nogil
    cdef void stage_apply_prepares(self) noexcept nogil
    cdef uint8_t apply_prepare(self, Row* row) noexcept nogil
    cdef uint8_t apply_punt(self, Row* row) noexcept nogil
    cdef void forward(self, Row* row, uint32_t slot) noexcept nogil
    cdef void insert(
        self, Row* row, uint32_t slot, uint32_t link_out, uint64_t share
    ) noexcept nogil
    cdef void void_entry(self, uint32_t slot) noexcept nogil
    cdef void release_entry(self, uint32_t slot) noexcept nogil
    cdef void answer_fault(self, Row* row) noexcept nogil
