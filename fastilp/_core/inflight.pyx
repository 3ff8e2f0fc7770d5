"""Forwarded Prepares that await an answer.

A slot and its generation make the 32-bit request id that the next hop sees. Free slots wait in a
ring, so that each rests as long as possible, and a slot whose generation comes round again stays
out until REQUEST_ID_QUIET_MS after the last expiry of the round. The expiry wheel has one bucket
per WHEEL_TICK_MS; a bucket is a list in order of sending. May import limits."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastilp._core.limits cimport (
    IN_FLIGHT_SLOT_BITS_MAX, REQUEST_ID_QUIET_MS, WHEEL_BUCKETS, WHEEL_TICK_MS,
)

cdef extern from *:
    int __builtin_ctzll(unsigned long long word) noexcept nogil

cdef enum:
    # Slots looked at before we say that all ids are resting.
    ACQUIRE_TRIES_MAX = 8


cdef inline uint32_t _bucket(InFlight* entry) noexcept nogil:
    return <uint32_t>(entry.expires_out_ms // WHEEL_TICK_MS) & (WHEEL_BUCKETS - 1)


@cython.final
cdef class InFlightTable:
    def __cinit__(self, int capacity, uint32_t first_generation=0):
        cdef uint32_t i
        if not 1 <= capacity <= 1 << IN_FLIGHT_SLOT_BITS_MAX or capacity & (capacity - 1):
            raise ValueError(
                f"in_flight_max must be a power of two up to {1 << IN_FLIGHT_SLOT_BITS_MAX}"
            )
        self.capacity = capacity
        self._slot_bits = capacity.bit_length() - 1
        self.entries = <InFlight*>calloc(capacity, sizeof(InFlight))
        self._free = <uint32_t*>malloc(capacity * sizeof(uint32_t))
        self._bucket_first = <uint32_t*>malloc(WHEEL_BUCKETS * sizeof(uint32_t))
        self._bucket_last = <uint32_t*>malloc(WHEEL_BUCKETS * sizeof(uint32_t))
        self._bucket_used = <uint64_t*>calloc(WHEEL_BUCKETS // 64, sizeof(uint64_t))
        if (
            self.entries == NULL or self._free == NULL or self._bucket_first == NULL
            or self._bucket_last == NULL or self._bucket_used == NULL
        ):
            raise MemoryError()
        memset(self._bucket_first, 0xFF, WHEEL_BUCKETS * sizeof(uint32_t))
        memset(self._bucket_last, 0xFF, WHEEL_BUCKETS * sizeof(uint32_t))
        for i in range(self.capacity):
            self._free[i] = i
            self.entries[i].generation = first_generation & self._last_generation()

    def __dealloc__(self):
        free(self.entries)
        free(self._free)
        free(self._bucket_first)
        free(self._bucket_last)
        free(self._bucket_used)

    def __len__(self):
        return self.count

    cdef uint32_t _last_generation(self) noexcept nogil:
        return <uint32_t>((<uint64_t>1 << (32 - self._slot_bits)) - 1)

    cdef uint32_t acquire(self, int64_t now_ms) noexcept nogil:
        cdef uint32_t free_count = self.capacity - self.count
        cdef uint32_t _try, slot
        cdef uint32_t wrap = self._last_generation()
        cdef InFlight* entry
        for _try in range(min(free_count, <uint32_t>ACQUIRE_TRIES_MAX)):
            slot = self._free[self._free_head]
            entry = &self.entries[slot]
            if entry.generation != wrap or now_ms >= entry.quiet_until_ms:
                break
            # Its ids are all used up for now: to the end of the ring.
            self._free[(self._free_head + free_count) & (self.capacity - 1)] = slot
            self._free_head = (self._free_head + 1) & (self.capacity - 1)
        else:
            return SLOT_NONE
        self._free_head = (self._free_head + 1) & (self.capacity - 1)
        self.count += 1
        if entry.generation == wrap:
            entry.quiet_until_ms = 0
        entry.generation = (entry.generation + 1) & wrap
        entry.used = 1
        entry.flags = 0
        return slot

    cdef void insert(self, uint32_t slot) noexcept nogil:
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

    cdef void release(self, uint32_t slot) noexcept nogil:
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
        self._free[(self._free_head + self.capacity - self.count) & (self.capacity - 1)] = slot
        self.count -= 1

    cdef uint32_t request_id(self, uint32_t slot) noexcept nogil:
        return <uint32_t>(<uint64_t>self.entries[slot].generation << self._slot_bits) | slot

    cdef uint32_t match(self, uint32_t link_out, uint32_t request_id) noexcept nogil:
        cdef uint32_t slot = request_id & (self.capacity - 1)
        cdef InFlight* entry = &self.entries[slot]
        if entry.used and entry.link_out == link_out and self.request_id(slot) == request_id:
            return slot
        return SLOT_NONE

    cdef uint32_t expired(self, int64_t now_ms) noexcept nogil:
        cdef int64_t tick_now = now_ms // WHEEL_TICK_MS
        cdef uint32_t slot
        if self.count == 0:
            self._wheel_tick = tick_now
            return SLOT_NONE
        # Nothing is held longer than the wheel is round: even after a long sleep this ends within
        # one turn, because then nothing is left. It starts where it stopped, so that the order of
        # ticks holds.
        while self._wheel_tick < tick_now:
            slot = self._bucket_first[self._wheel_tick & (WHEEL_BUCKETS - 1)]
            if slot != SLOT_NONE:
                return slot
            self._wheel_tick += 1
        return SLOT_NONE

    cdef int64_t next_deadline_ms(self) noexcept nogil:
        cdef uint32_t start = self._wheel_tick & (WHEEL_BUCKETS - 1)
        cdef uint32_t step, word_index, words = WHEEL_BUCKETS // 64
        cdef uint32_t bucket
        cdef uint64_t word
        if self.count == 0:
            return -1
        # The first word is looked at twice: its bits from `start` on now, those before `start`
        # last.
        for step in range(words + 1):
            word_index = ((start >> 6) + step) & (words - 1)
            word = self._bucket_used[word_index]
            if step == 0:
                word &= ~<uint64_t>0 << (start & 63)
            if word:
                bucket = (word_index << 6) | <uint32_t>__builtin_ctzll(word)
                return (
                    self._wheel_tick + ((bucket - start) & (WHEEL_BUCKETS - 1)) + 1
                ) * WHEEL_TICK_MS
        return -1
