# Rewrite and scatter: from rows to the egress of links.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastilp._core.arena cimport Arena
from fastilp._core.link cimport LinkState, link_send
from fastilp._core.row cimport Row
from fastilp._core.status cimport STATUS_COUNT, STATUS_UNDELIVERABLE
from fastilp._core.noted cimport Noted


cdef class Output(Noted):
    cdef uint64_t[STATUS_COUNT] _counts
    cdef Arena _scratch             # one packet that is being built
    cdef dict _refused_by           # index of the next hop -> who said T04 last

    # The row's packet as we may send it: itself, or re-encoded in the scratch buffer. NULL: no
    # memory.
    cdef inline const uint8_t* canonical(self, Row* row, size_t* size) noexcept nogil:
        if row.canonical:
            size[0] = row.size
            return self.batch.packets.bytes + row.offset
        return self._rewritten(row, size)

    cdef const uint8_t* _rewritten(self, Row* row, size_t* size) noexcept nogil
    cdef size_t _rewrite_prepare(self, Row* row, const uint8_t* packet) noexcept nogil
    cdef size_t _rewrite_fulfill(self, Row* row, const uint8_t* packet) noexcept nogil
    cdef size_t _rewrite_reject(self, Row* row, const uint8_t* packet) noexcept nogil
    # Our own Reject for a status; the two amounts are the data of an F08.
    cdef void send_reject(
        self, uint32_t link, uint32_t request_id, uint8_t status, uint64_t received,
        uint64_t maximum,
    ) noexcept nogil
    # Count a Reject that came from a next hop if it says that a link or a balance is in trouble.
    cdef void tally_reject(
        self, uint32_t account_out, const uint8_t* packet, size_t size
    ) noexcept nogil
    # A refused Prepare: whose limit was it?
    cdef void note_limit(self, const Row* row) noexcept nogil
    # False: nobody is there to take it; an answer then counts as undeliverable.
    cdef inline bint send(
        self, uint32_t link, uint32_t request_id, const uint8_t* packet, size_t size, bint answer
    ) noexcept nogil:
        cdef LinkState* state = self.link_states[link]
        if not link_send(state, &self.batch.egress, request_id, packet, size, answer):
            self._counts[STATUS_UNDELIVERABLE] += answer
            return False
        if not state.dirty:
            state.dirty = 1
            self.dirty_indexes[self.dirty_count] = link
            self.dirty_count += 1
        return True
