"""Fulfills that wait for their commit (docs/ledger.md): nothing that obliges us leaves before it is
on disk, unless waiting longer would make it worthless. May import arena."""

cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from fastilp._core.arena cimport arena_append, arena_free


@cython.final
cdef class Gate:
    def __cinit__(self):
        self.earliest_ms = INT64_MAX
        self._scan_ms = INT64_MIN

    def __dealloc__(self):
        free(self.entries)
        arena_free(&self.packets)

    def __len__(self):
        return self.count - self.head

    cdef bint waiting(self) noexcept nogil:
        return self.head < self.count

    cdef int append(self, const Waiting* entry, const uint8_t* packet) noexcept nogil:
        cdef size_t capacity
        cdef Waiting* grown
        self._compact()
        if self.count == self._capacity:
            capacity = self._capacity * 2 if self._capacity else 64
            grown = <Waiting*>realloc(self.entries, capacity * sizeof(Waiting))
            if grown == NULL:
                return -1
            self.entries = grown
            self._capacity = capacity
        self.entries[self.count] = entry[0]
        self.entries[self.count].offset = self.packets.size
        if arena_append(&self.packets, packet, entry.size) < 0:
            return -1
        self.count += 1
        self.earliest_ms = min(self.earliest_ms, entry.leave_by_ms)
        return 0

    cdef Waiting* next(self, uint64_t committed, int64_t now_ms) noexcept nogil:
        cdef size_t i
        while self.head < self.count and (
            self.entries[self.head].left or self.entries[self.head].ticket <= committed
        ):
            self.head += 1
            if not self.entries[self.head - 1].left:
                self.entries[self.head - 1].left = 1
                return &self.entries[self.head - 1]
        if self.head == self.count:
            self.earliest_ms = INT64_MAX
            return NULL
        if now_ms < self.earliest_ms:
            return NULL
        if now_ms != self._scan_ms:
            self._scan, self._scan_ms = self.head, now_ms
            self._scan_earliest_ms = INT64_MAX
        for i in range(max(self._scan, self.head), self.count):
            if not self.entries[i].left:
                if self.entries[i].leave_by_ms <= now_ms:
                    self.entries[i].left = 1
                    self._scan = i + 1
                    return &self.entries[i]
                self._scan_earliest_ms = min(self._scan_earliest_ms, self.entries[i].leave_by_ms)
        self._scan = self.count
        self.earliest_ms = self._scan_earliest_ms
        return NULL

    cdef void _compact(self) noexcept nogil:
        """Forget what has left once it is half of all, so that memory follows what waits."""
        cdef size_t i, start
        if self.head == self.count:
            self.head = self.count = self.packets.size = 0
            self._scan_ms = INT64_MIN
        elif self.head > 1_024 and self.head * 2 > self.count:
            start = self.entries[self.head].offset
            memmove(self.packets.bytes, self.packets.bytes + start, self.packets.size - start)
            self.packets.size -= start
            self.count -= self.head
            memmove(self.entries, self.entries + self.head, self.count * sizeof(Waiting))
            self.head = 0
            self._scan_ms = INT64_MIN
            for i in range(self.count):
                self.entries[i].offset -= start
