"""Forwarded Prepares that await an answer.

A slot and its generation make the 32-bit request id that the next hop sees. A slot whose generation
comes round again rests until REQUEST_ID_QUIET_MS after the last expiry of the round. The expiry
wheel has one bucket per WHEEL_TICK_MS, a list in order of sending. May import limits."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastilp._core.limits cimport (
    IN_FLIGHT_SLOT_BITS_MAX, WHEEL_BUCKETS, WHEEL_TICK_MS,
)

cdef extern from *:
    int __builtin_ctzll(unsigned long long word) noexcept nogil

if sizeof(InFlight) != 120:
    raise ImportError("an entry has not the size that docs/data-path.md says")


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
        self._generation_last = <uint32_t>((<uint64_t>1 << (32 - self._slot_bits)) - 1)
        self.entries = <InFlight*>calloc(capacity, sizeof(InFlight))
        self._free.slots = <uint32_t*>malloc(capacity * sizeof(uint32_t))
        self._resting.slots = <uint32_t*>malloc(capacity * sizeof(uint32_t))
        self._bucket_first = <uint32_t*>malloc(WHEEL_BUCKETS * sizeof(uint32_t))
        self._bucket_last = <uint32_t*>malloc(WHEEL_BUCKETS * sizeof(uint32_t))
        self._bucket_used = <uint64_t*>calloc(WHEEL_BUCKETS // 64, sizeof(uint64_t))
        if (
            self.entries == NULL or self._free.slots == NULL or self._resting.slots == NULL
            or self._bucket_first == NULL
            or self._bucket_last == NULL or self._bucket_used == NULL
        ):
            raise MemoryError()
        memset(self._bucket_first, 0xFF, WHEEL_BUCKETS * sizeof(uint32_t))
        memset(self._bucket_last, 0xFF, WHEEL_BUCKETS * sizeof(uint32_t))
        for i in range(self.capacity):
            self.entries[i].generation = first_generation & self._generation_last

    def __dealloc__(self):
        free(self.entries)
        free(self._free.slots)
        free(self._resting.slots)
        free(self._bucket_first)
        free(self._bucket_last)
        free(self._bucket_used)

    def __len__(self):
        return self.count

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
