"""What the switch tells control beside packets: events, and, where somebody has asked for it,
counts by kind of account and a record of each packet that was fulfilled.

Nothing here decides about a packet. May import tables, inflight, row and status."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastilp._core.books cimport Account
from fastilp._core.inflight cimport InFlight
from fastilp._core.limits cimport EVENTS_MAX, IN_FLIGHT_SLOT_BITS_MAX
from fastilp._core.row cimport ROW_NONE, ROW_PUNT, ROW_REINJECTED, Row
from fastilp._core.status cimport STATUS_FULFILLED, STATUS_OK, STATUS_UNMATCHED
from fastilp._core.tables cimport Tables

from fastilp.errors import UsageError


cdef dict _shown(const Counts* counts):
    return {
        "prepare": counts.packets[KIND_PREPARE],
        "fulfill": counts.packets[KIND_FULFILL],
        "reject": counts.packets[KIND_REJECT],
        "answered": counts.answered,
        "duration_ms": counts.duration_ms,
    }


@cython.no_gc_clear
cdef class Noted(Tables):
    def __cinit__(self, *arguments, **limits):
        self._events = []
        self._settlements = {}
        self._destinations = {}
        self._records = []

    def __dealloc__(self):
        free(self._classes)
        free(self._incoming)
        free(self._outgoing)
        free(self._sent_ms)

    # --- events -----------------------------------------------------------------------------------

    cdef int _note(self, tuple event) except -1:
        """Nobody may ever call take_events: what is over the bound shows in the counters only."""
        if len(self._events) < EVENTS_MAX:
            self._events.append(event)
        return 0

    cdef void settle_events(self) noexcept:
        cdef uint32_t i
        cdef uint64_t amount
        if self.ledger.settlers == 0:
            return
        for i in range(self.ledger._dirty_count):
            amount = self.ledger.to_settle(self.ledger._dirty[i])
            if amount:
                self._settlements[self.ledger._dirty[i]] = amount

    def take_events(self):
        """What control should know of since the last call; see noted.pyi."""
        events = self._events + [
            ("settle", self._handle(index), amount) for index, amount in self._settlements.items()
        ]
        self._events, self._settlements = [], {}
        return events

    # --- what is observed -------------------------------------------------------------------------

    def observe(self, bint counts, bint records=False):
        """Count packets by class, keep records; see noted.pyi."""
        if self._sent_ms != NULL and not self._observed:
            # Those that are in flight left while nobody looked.
            memset(self._sent_ms, 0, (1 << IN_FLIGHT_SLOT_BITS_MAX) * sizeof(int64_t))
        elif self._sent_ms == NULL and (counts or records):
            self._incoming = <Counts*>calloc(CLASSES_MAX, sizeof(Counts))
            self._outgoing = <Counts*>calloc(CLASSES_MAX * CLASSES_MAX, sizeof(Counts))
            # Pages of it that no slot uses are never touched.
            self._sent_ms = <int64_t*>calloc(1 << IN_FLIGHT_SLOT_BITS_MAX, sizeof(int64_t))
            if self._sent_ms == NULL or self._incoming == NULL or self._outgoing == NULL:
                raise MemoryError()
        if not records:
            self._destinations.clear()
        self._observed = counts or records
        self._recorded = records

    def set_class(self, Account account not None, int number):
        """Which counter packets from and to an account count in. Raises UsageError."""
        cdef uint32_t capacity = max(self._class_capacity, <uint32_t>64)
        cdef uint8_t* grown
        self._check(account)
        if not 0 <= number < CLASSES_MAX:
            raise UsageError(f"a class is a number from 0 to {CLASSES_MAX - 1}, not {number}")
        while capacity <= account.index:
            capacity *= 2
        if capacity > self._class_capacity:
            grown = <uint8_t*>realloc(self._classes, capacity)
            if grown == NULL:
                raise MemoryError()
            memset(grown + self._class_capacity, 0, capacity - self._class_capacity)
            self._classes = grown
            self._class_capacity = capacity
        self._classes[account.index] = <uint8_t>number

    def observed(self):
        """Counts by class; see noted.pyi."""
        cdef uint32_t i, j
        if self._incoming == NULL:
            return {}, {}
        incoming = {
            i: _shown(&self._incoming[i])
            for i in range(<uint32_t>CLASSES_MAX) if self._incoming[i].packets[KIND_PREPARE]
        }
        outgoing = {
            (i, j): _shown(&self._outgoing[i * CLASSES_MAX + j])
            for i in range(<uint32_t>CLASSES_MAX) for j in range(<uint32_t>CLASSES_MAX)
            if self._outgoing[i * CLASSES_MAX + j].packets[KIND_PREPARE]
        }
        return incoming, outgoing

    def take_records(self):
        """Records since the last call, and how many were dropped; see noted.pyi."""
        records, dropped = self._records, self._records_dropped
        self._records, self._records_dropped = [], 0
        return records, dropped

    cdef void observe_answers(
        self, const uint32_t* answers, size_t count, const InFlight* entries
    ) noexcept:
        """Before they are applied: what they answer is still in its place."""
        cdef size_t i
        cdef Row* row
        for i in range(count):
            row = &self.batch.rows[answers[i]]
            if row.status == STATUS_UNMATCHED:
                continue
            if row.status == STATUS_FULFILLED and self._recorded:
                self._record(
                    row.slot, &entries[row.slot],
                    self.batch.packets.bytes + row.offset + row.content,
                )
            self._answered(
                row.slot, &entries[row.slot],
                KIND_FULFILL if row.status == STATUS_FULFILLED else KIND_REJECT,
            )

    cdef void observe_expired(self, uint32_t slot, const InFlight* entry) noexcept:
        self._answered(slot, entry, KIND_REJECT)

    cdef void _answered(self, uint32_t slot, const InFlight* entry, int kind) noexcept:
        cdef Counts* counts
        cdef int64_t sent_ms = self._sent_ms[slot]
        cdef uint32_t class_in
        self._sent_ms[slot] = 0
        self._destinations.pop(slot, None)
        if entry.account_in == ROW_NONE:
            return
        class_in = self._class_of(entry.account_in)
        counts = &self._incoming[class_in]
        counts.packets[kind] += 1
        if sent_ms:
            counts.answered += 1
            counts.duration_ms += <uint64_t>(self.now_ms - sent_ms)
        if entry.account_out == ROW_NONE:
            return
        counts = &self._outgoing[class_in * CLASSES_MAX + self._class_of(entry.account_out)]
        counts.packets[kind] += 1
        if sent_ms:
            counts.answered += 1
            counts.duration_ms += <uint64_t>(self.now_ms - sent_ms)

    cdef int _record(
        self, uint32_t slot, const InFlight* entry, const uint8_t* fulfillment
    ) except -1:
        destination = self._destinations.get(slot)
        if destination is None or entry.amount_in == 0:
            return 0
        if len(self._records) >= RECORDS_MAX:
            self._records_dropped += 1
            return 0
        self._records.append((
            self.now_ms, self._handle(entry.account_in), self._handle(entry.account_out),
            entry.amount_in, entry.amount_out, destination, fulfillment[:32],
        ))
        return 0

    cdef void observe_prepares(self, const uint32_t* prepares, size_t count) noexcept:
        """After they were applied: what was refused counts as a Reject."""
        cdef size_t i
        cdef Row* row
        cdef uint32_t class_in
        for i in range(count):
            row = &self.batch.rows[prepares[i]]
            if row.account_in == ROW_NONE or row.status == STATUS_UNMATCHED:
                continue
            class_in = self._class_of(row.account_in)
            # One that control sent on was counted when it came.
            if not row.flags & ROW_REINJECTED:
                self._incoming[class_in].packets[KIND_PREPARE] += 1
            if row.status != STATUS_OK:
                self._incoming[class_in].packets[KIND_REJECT] += 1
                continue
            self._sent_ms[row.slot] = self.now_ms
            if row.flags & ROW_PUNT:
                continue
            self._outgoing[
                class_in * CLASSES_MAX + self._class_of(row.account_out)
            ].packets[KIND_PREPARE] += 1
            if self._recorded and row.amount:
                self._destinations[row.slot] = (
                    self.batch.packets.bytes + row.offset + row.destination
                )[:row.destination_size]
