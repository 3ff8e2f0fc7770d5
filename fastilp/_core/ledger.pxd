# Tickets and the way of the books to the store and back (docs/ledger.md).

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastilp._core.books cimport Account, AccountState, Books
from fastilp._core.store cimport Store

cdef class Ledger(Books):
    cdef readonly Store store
    cdef bint _manual
    cdef uint64_t _released         # committed, of a memory ledger
    cdef list _crash_report
    # commits in progress, for the stall rule
    cdef int64_t _waiting_since_ms
    cdef uint64_t _progress
    cdef uint64_t _blocked_until
    # When accounts with DIRTY_LISTED are to be recorded, -1 = no time is set.
    cdef int64_t _later_ms

    # The ticket that the changes of the present batch will get.
    cdef uint64_t next_ticket(self) noexcept nogil
    # End of a batch: what changed goes to the store. Returns the newest ticket.
    cdef uint64_t commit(self, int64_t now_ms) noexcept nogil
    cdef bint _is_later(self, int64_t now_ms) noexcept nogil
    # When commit must be called again even if nothing changes, -1 if there is no such time.
    cdef int64_t later_ms(self) noexcept nogil
    # False while commits fail or stall: no new money then.
    cdef bint accepts(self, int64_t now_ms) noexcept nogil
    cdef void block_until(self, uint64_t ticket) noexcept nogil
    cdef int _load_row(self, uint32_t index, bytes row) except -1
    cdef Account _add_unrecorded(self, str name, bytes account_id, str code, int scale)
    cdef uint64_t _next_unrecorded(self) noexcept nogil
    cdef Account add(self, str name, bytes account_id, str code, int scale)
    cdef int set_limits(self, Account account, dict settings) except -1
