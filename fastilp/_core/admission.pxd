# Stages 4 to 6: admit, route, convert.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastilp._core.choices cimport RouteGroup
from fastilp._core.output cimport Output
from fastilp._core.packet cimport PREPARE_CONDITION_OFFSET
from fastilp._core.row cimport ROW_PUNT, Row


cdef class Admission(Output):
    cdef int64_t _hold_max_ms
    cdef int64_t _window_min_ms
    cdef bint _accepts              # the ledger takes new money in this batch
    cdef bint _draining             # nothing new any more
    cdef bint _immediate            # a Fulfill need not wait for a commit
    # Columns of whatever stage is at work, one entry for each row that takes part.
    cdef size_t _column_capacity
    cdef size_t* _column_rows       # index of the row
    # Rows of the batch by what they are, in order.
    cdef uint32_t* _answers
    cdef size_t _answer_count
    cdef uint32_t* _prepares
    cdef size_t _prepare_count
    cdef const uint8_t** _pointers
    cdef const uint8_t** _others
    cdef uint32_t* _sizes
    cdef uint32_t* _targets
    cdef uint8_t* _matches
    cdef int _reserve_columns(self) except -1
    cdef bint _is_own(self, const uint8_t* address, size_t size) noexcept nogil
    # What the fulfillment of a Prepare has to hash to: 32 bytes.
    cdef inline const uint8_t* condition_of(self, const Row* row) noexcept nogil:
        if row.flags & ROW_PUNT:
            return self._condition_of_punt(row)
        return self.batch.packets.bytes + row.offset + row.content + PREPARE_CONDITION_OFFSET

    cdef const uint8_t* _condition_of_punt(self, const Row* row) noexcept nogil
    cdef void stage_admit(self) noexcept nogil
    cdef uint8_t admit(self, Row* row) noexcept nogil
    cdef uint8_t admit_way(self, Row* row) noexcept nogil
    cdef uint8_t admit_special(self, Row* row) noexcept nogil
    cdef uint8_t admit_reinjected(self, Row* row) noexcept nogil
    cdef bint _may_pay(self, Row* row) noexcept nogil
    cdef void stage_admit_marked(self) noexcept nogil
    cdef void stage_route(self) noexcept nogil
    cdef uint8_t route_plain(self, Row* row) noexcept nogil
    cdef uint8_t route_found(self, Row* row, uint32_t account_out) noexcept nogil
    cdef uint32_t route_choice(self, uint32_t target, const Row* row) noexcept nogil
    cdef uint32_t route_share(self, RouteGroup* group, const Row* row) noexcept nogil
    cdef uint32_t route_share_rest(
        self, RouteGroup* group, uint32_t account_in, uint64_t hashed, uint32_t gone
    ) noexcept nogil
    cdef uint8_t route_special(self, Row* row) noexcept nogil
    cdef void stage_convert(self) noexcept nogil
    cdef uint8_t convert(self, Row* row) noexcept nogil
    cdef uint8_t convert_special(self, Row* row) noexcept nogil
    cdef uint8_t convert_restricted(self, Row* row) noexcept nogil
