# Forwarded Prepares that await an answer: a table of fixed capacity, the request ids that we send,
# and the expiry wheel. Nothing here allocates after construction.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastilp._core.limits cimport REQUEST_ID_QUIET_MS, WHEEL_BUCKETS, WHEEL_TICK_MS

cdef enum:
    SLOT_NONE = 0xFFFF_FFFF

cdef enum InFlightFlag:
    # Where a row has the flag too it has the same bit: those are copied as they are.
    IN_FLIGHT_ANSWERED = 4          # an answer in the present batch has claimed it
    IN_FLIGHT_AMOUNT_TAKEN = 8      # give the amount back to the sender's bucket unless fulfilled
    IN_FLIGHT_PUNT = 16             # waits for control, reserved nothing
    IN_FLIGHT_AMOUNT_OUT_TAKEN = 32     # likewise to the next hop's bucket
    IN_FLIGHT_MARKED = 64           # a punt because its account or prefix is marked so
    IN_FLIGHT_CLAIMED = 128         # the terminal has it, in time: its answer counts
    IN_FLIGHT_OF_ROW = 8 | 16 | 32 | 64


cdef struct InFlight:
    uint8_t[32] condition
    uint64_t amount_in
    uint64_t amount_out
    uint64_t prepaid_share          # of amount_in: goes back to where it came from
    int64_t expires_in_ms           # the sender's: later a Fulfill is worth nothing to it
    int64_t expires_out_ms          # what we told the next hop
    int64_t quiet_until_ms          # of the slot: no id of this cycle is used again before
    uint32_t account_in
    uint32_t account_out
    uint32_t link_in
    uint32_t link_out
    uint32_t request_id_in
    uint32_t generation
    uint32_t wheel_next
    uint32_t wheel_previous
    uint8_t used
    uint8_t flags


cdef struct Ring:
    uint32_t* slots                 # longest in it first
    uint32_t head
    uint32_t count


cdef inline void ring_push(Ring* ring, uint32_t capacity, uint32_t slot) noexcept nogil:
    ring.slots[(ring.head + ring.count) & (capacity - 1)] = slot
    ring.count += 1


cdef inline uint32_t ring_pop(Ring* ring, uint32_t capacity) noexcept nogil:
    cdef uint32_t slot = ring.slots[ring.head]
    ring.head = (ring.head + 1) & (capacity - 1)
    ring.count -= 1
    return slot


cdef inline uint32_t _bucket(InFlight* entry) noexcept nogil:
    return <uint32_t>(entry.expires_out_ms // WHEEL_TICK_MS) & (WHEEL_BUCKETS - 1)


cdef class InFlightTable:
    cdef InFlight* entries
    cdef uint32_t capacity          # power of two
    cdef uint32_t count
    cdef uint32_t _slot_bits
    cdef uint32_t _generation_last  # after it the ids of a slot begin anew
    cdef Ring _free                 # slots that were used and have ids left
    cdef Ring _resting              # slots whose ids are used up until quiet_until_ms
    cdef uint32_t _fresh            # slots from here on were never used
    cdef uint32_t* _bucket_first
    cdef uint32_t* _bucket_last
    cdef uint64_t* _bucket_used     # one bit per bucket
    cdef int64_t _wheel_tick        # the tick that expire() looked at last

    cdef inline uint32_t request_id(self, uint32_t slot) noexcept nogil:
        return <uint32_t>(<uint64_t>self.entries[slot].generation << self._slot_bits) | slot

    cdef inline const InFlight* entry_of(self, uint32_t request_id) noexcept nogil:
        return &self.entries[request_id & (self.capacity - 1)]

    # The slot that an answer with this id on this link belongs to, or SLOT_NONE.
    cdef inline uint32_t match(self, uint32_t link_out, uint32_t request_id) noexcept nogil:
        cdef uint32_t slot = request_id & (self.capacity - 1)
        cdef InFlight* entry = &self.entries[slot]
        if entry.used and entry.link_out == link_out and self.request_id(slot) == request_id:
            return slot
        return SLOT_NONE

    cdef inline uint32_t _next_slot(self, int64_t now_ms) noexcept nogil:
        """Slots that never were in use come last: a quiet switch stays in a few cache lines."""
        cdef uint32_t slot
        if self._free.count:
            return ring_pop(&self._free, self.capacity)
        if self._resting.count:
            slot = self._resting.slots[self._resting.head]
            if now_ms >= self.entries[slot].quiet_until_ms:
                self.entries[slot].quiet_until_ms = 0
                return ring_pop(&self._resting, self.capacity)
        if self._fresh < self.capacity:
            self._fresh += 1
            return self._fresh - 1
        return SLOT_NONE

    # A free slot whose next id has rested long enough, or SLOT_NONE. The caller fills the entry,
    # flags too, then calls insert.
    cdef inline uint32_t acquire(self, int64_t now_ms) noexcept nogil:
        cdef uint32_t slot = self._next_slot(now_ms)
        cdef InFlight* entry
        if slot == SLOT_NONE:
            return SLOT_NONE
        entry = &self.entries[slot]
        self.count += 1
        entry.generation = (entry.generation + 1) & self._generation_last
        entry.used = 1
        return slot

    cdef inline void insert(self, uint32_t slot) noexcept nogil:
        cdef InFlight* entry = &self.entries[slot]
        cdef uint32_t bucket = _bucket(entry)
        cdef uint32_t last = self._bucket_last[bucket]
        entry.quiet_until_ms = max(entry.quiet_until_ms, entry.expires_out_ms + REQUEST_ID_QUIET_MS)
        entry.wheel_next = SLOT_NONE
        entry.wheel_previous = last
        if last == SLOT_NONE:
            self._bucket_first[bucket] = slot
            self._bucket_used[bucket >> 6] |= <uint64_t>1 << (bucket & 63)
        else:
            self.entries[last].wheel_next = slot
        self._bucket_last[bucket] = slot

    cdef inline void release(self, uint32_t slot) noexcept nogil:
        cdef InFlight* entry = &self.entries[slot]
        cdef uint32_t bucket
        if entry.wheel_previous == SLOT_NONE or entry.wheel_next == SLOT_NONE:
            bucket = _bucket(entry)
            if entry.wheel_previous == SLOT_NONE:
                self._bucket_first[bucket] = entry.wheel_next
            if entry.wheel_next == SLOT_NONE:
                self._bucket_last[bucket] = entry.wheel_previous
            if self._bucket_first[bucket] == SLOT_NONE:
                self._bucket_used[bucket >> 6] &= ~(<uint64_t>1 << (bucket & 63))
        if entry.wheel_previous != SLOT_NONE:
            self.entries[entry.wheel_previous].wheel_next = entry.wheel_next
        if entry.wheel_next != SLOT_NONE:
            self.entries[entry.wheel_next].wheel_previous = entry.wheel_previous
        entry.used = 0
        # Its ids are all used up for now: it rests.
        ring_push(
            &self._resting if entry.generation == self._generation_last else &self._free,
            self.capacity, slot,
        )
        self.count -= 1

    # Next entry with expires_out_ms <= now_ms in order of tick and sending, or SLOT_NONE; the
    # caller releases it.
    cdef uint32_t expired(self, int64_t now_ms) noexcept nogil
    # When the wheel must turn next: not before the first expiry, at most one tick after it. -1:
    # nothing in flight.
    cdef int64_t next_deadline_ms(self) noexcept nogil
