"""Prepares that may end at this node.

Connections that end here have a token (`token`) as the last segment of their address. What goes to
one of them, and whatever goes to an account that has no link, is put on the terminal link if that
is up, reserved and held like any other packet. The receiver there answers it, or hands the Prepare
back: not mine. Then it goes on to the account's own link. May import admission, inflight and
token."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from fastilp._core.admission cimport Admission
from fastilp._core.inflight cimport IN_FLIGHT_ANSWERED, IN_FLIGHT_CLAIMED, SLOT_NONE, InFlight
from fastilp._core.link cimport LinkState
from fastilp._core.row cimport ROW_ANSWER, ROW_EGRESS_GIVEN, ROW_NONE, Row
from fastilp._core.status cimport (
    STATUS_INVALID_ANSWER, STATUS_LINK_DOWN, STATUS_NOT_OURS, STATUS_OK, STATUS_PEER_BUSY,
    STATUS_TIMED_OUT, STATUS_UNMATCHED,
)
from fastilp._core.tables cimport WAY_SUSPENDED, Way, way_is_full
from fastilp._core.token cimport token_found

from fastilp.errors import UsageError


@cython.no_gc_clear
cdef class Terminal(Admission):
    def __cinit__(self, *arguments, **limits):
        self.terminal = self._open(None, "message", "terminal", True)
        self.terminal.up = False

    def set_token_key(self, bytes key not None):
        """The key of the tokens that lead here: 16 bytes. Raises UsageError."""
        if len(key) != 16:
            raise UsageError(f"a token key has 16 bytes, not {len(key)}")
        memcpy(self._token_key, <const char*>key, 16)

    def take_terminal(self, int64_t now_ms):
        """What waits on the terminal link, with sender and receiver; see terminal.pyi."""
        cdef uint32_t slot
        cdef InFlight* entry
        taken = []
        for request_id, packet in self.terminal.take():
            slot = self._in_flight.match(self.terminal.state.index, request_id)
            if slot == SLOT_NONE:
                continue
            entry = &self._in_flight.entries[slot]
            if now_ms >= entry.expires_out_ms:
                # Its hold is over; the next turn rejects it.
                continue
            entry.flags |= IN_FLIGHT_CLAIMED
            taken.append(
                (request_id, packet, self._handle(entry.account_in),
                 self._handle(entry.account_out))
            )
        return taken

    cdef LinkState* link_for(self, const Row* row, Way* way_out) noexcept nogil:
        if self.terminal.state.up and self._ends_here(row, way_out):
            return &self.terminal.state
        return way_out.egress

    cdef bint _ends_here(self, const Row* row, const Way* way_out) noexcept nogil:
        if row.flags & ROW_EGRESS_GIVEN:
            return False
        if way_out.egress == NULL and not way_out.special & WAY_SUSPENDED:
            return True
        return token_found(
            self._token_key, self.batch.packets.bytes + row.offset + row.destination,
            row.destination_size,
        )

    cdef bint match_passed_on(self, Row* row) noexcept nogil:
        cdef uint32_t slot = self._in_flight.match(row.link_in, row.request_id)
        cdef InFlight* entry
        if slot == SLOT_NONE or self._in_flight.entries[slot].flags & IN_FLIGHT_ANSWERED:
            self._counts[STATUS_UNMATCHED] += 1
            return False
        entry = &self._in_flight.entries[slot]
        if self.now_ms >= entry.expires_out_ms:
            row.status = STATUS_TIMED_OUT
        elif row.status != STATUS_OK:
            row.status = STATUS_INVALID_ANSWER
        else:
            row.status = self._pass_on(row, entry)
        if row.status == STATUS_OK:
            return False
        entry.flags |= IN_FLIGHT_ANSWERED
        row.flags |= ROW_ANSWER
        row.slot = slot
        return True

    cdef uint8_t _pass_on(self, Row* row, InFlight* entry) noexcept nogil:
        """Ids are unique over all links, so the entry only changes its link."""
        cdef Way* way_out = &self.ways[entry.account_out]
        cdef Way* sender = NULL if entry.account_in == ROW_NONE else &self.ways[entry.account_in]
        cdef LinkState* link = way_out.egress
        cdef size_t size
        cdef const uint8_t* packet = self.canonical(row, &size)
        if link == NULL and not way_out.special & WAY_SUSPENDED:
            return STATUS_NOT_OURS
        if link == NULL or not link.up or link.closed:
            return STATUS_LINK_DOWN
        if packet == NULL or way_is_full(way_out, link, sender):
            return STATUS_PEER_BUSY
        self.terminal.state.in_flight -= 1
        link.in_flight += 1
        entry.link_out = link.index
        entry.flags &= <uint8_t>~IN_FLIGHT_CLAIMED
        self.send(link.index, row.request_id, packet, size, False)
        return STATUS_OK
