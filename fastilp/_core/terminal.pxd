# Prepares that may end at this node: they go to a link of its own instead of the next hop's.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastilp._core.admission cimport Admission
from fastilp._core.inflight cimport InFlight, InFlightTable
from fastilp._core.link cimport Link, LinkState
from fastilp._core.row cimport Row
from fastilp._core.tables cimport Way


cdef class Terminal(Admission):
    cdef readonly Link terminal
    cdef uint64_t[2] _token_key
    cdef InFlightTable _in_flight

    # The link that a Prepare for an account goes to; NULL: none.
    cdef LinkState* link_for(self, const Row* row, Way* way_out) noexcept nogil
    cdef bint _ends_here(self, const Row* row, const Way* way_out) noexcept nogil
    # A Prepare that came back from the receiver. False: there is nothing more to do with the row.
    cdef bint match_passed_on(self, Row* row) noexcept nogil
    cdef uint8_t _pass_on(self, Row* row, InFlight* entry) noexcept nogil
