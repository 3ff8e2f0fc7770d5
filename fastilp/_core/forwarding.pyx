"""The forwarding table: which account is next for a destination.

A prefix matches whole segments only (`g.a` does not match `g.ab`, RFC 15). Prefixes live in one
open-addressing hash table; a lookup hashes the destination once, keeps the hash at each segment
boundary, and asks for the deepest boundary first, at the depths where prefixes exist. Measured:
about 60 ns at 100,000 routes. May import arena and limits."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from fastilp._core.arena cimport Arena, arena_append, arena_free
from fastilp._core.limits cimport PREFIX_SEGMENTS_MAX

cdef extern from "hash.h" nogil:
    uint64_t hash_word(uint64_t hash, uint64_t word)
    uint64_t hash_load(const uint8_t* bytes, size_t size)

cdef extern from *:
    void __builtin_prefetch(const void* address) noexcept nogil

cdef enum:
    CAPACITY_MIN = 64
    # Addresses whose memory is asked for at a time: a core has no more misses outstanding.
    LOOKUP_GROUP = 16


cdef inline uint64_t _hash_segment(
    uint64_t hash, const uint8_t* segment, size_t size
) noexcept nogil:
    while size > 8:
        hash = hash_word(hash, hash_load(segment, 8))
        segment += 8
        size -= 8
    # The size of the rest keeps "ab" + "c" apart from "a" + "bc" and ends the segment.
    return hash_word(hash ^ size, hash_load(segment, size))


cdef int _boundaries(const uint8_t* address, size_t size, Boundaries* found) noexcept nogil:
    """Hash of each run of whole segments. 0, or -1 when there are more than PREFIX_SEGMENTS_MAX of
    them (the first ones are kept)."""
    cdef size_t start = 0, end = 0
    cdef uint64_t hash = 0
    found.count = 0
    while True:
        while end < size and address[end] != c".":
            end += 1
        if found.count == PREFIX_SEGMENTS_MAX:
            return -1
        hash = _hash_segment(hash, address + start, end - start)
        found.sizes[found.count] = <uint32_t>end
        found.hashes[found.count] = hash
        found.count += 1
        if end == size:
            return 0
        end += 1
        start = end


@cython.final
cdef class ForwardingTable:
    def __cinit__(self):
        self._default_target = FORWARDING_NONE
        if self._grow(CAPACITY_MIN) < 0:
            raise MemoryError()

    def __dealloc__(self):
        free(self._slots)
        arena_free(&self._prefixes)

    def __len__(self):
        return self._count + (self._default_target != FORWARDING_NONE)

    def set(self, prefix: bytes, target: int):
        """Point `prefix` (b"" = default) at a target number. ValueError for more than 32
        segments."""
        cdef int result = self.insert(prefix, len(prefix), target)
        if result == -1:
            raise MemoryError()
        if result == -2:
            raise ValueError(f"a prefix may have at most {PREFIX_SEGMENTS_MAX} segments")

    def remove(self, prefix: bytes):
        """KeyError if the prefix is not there."""
        if self.delete(prefix, len(prefix)) < 0:
            raise KeyError(prefix)

    def find(self, address: bytes):
        """Target of the longest prefix of `address`, or None."""
        cdef uint32_t target = self.lookup(address, len(address))
        return None if target == FORWARDING_NONE else target

    def find_all(self, addresses: list):
        """Sum of what `find` gives for a list, a column of 256 at a time: for measuring."""
        cdef bytes address
        cdef uint64_t total = 0
        cdef (const uint8_t*)[256] column
        cdef uint32_t[256] sizes
        cdef uint32_t[256] targets
        cdef size_t count = 0, i
        cdef Py_ssize_t start
        for start in range(0, len(addresses), 256):
            count = 0
            for address in addresses[start:start + 256]:
                column[count], sizes[count] = address, len(address)
                count += 1
            self.lookup_many(column, sizes, targets, count)
            for i in range(count):
                total += targets[i]
        return total

    def items(self):
        """Every (prefix, target), in no order."""
        cdef size_t i
        found = []
        if self._default_target != FORWARDING_NONE:
            found.append((b"", self._default_target))
        for i in range(self._capacity):
            if self._slots[i].size:
                start = self._prefixes.bytes + self._slots[i].offset
                found.append((start[:self._slots[i].size], self._slots[i].target))
        return found

    cdef uint32_t lookup(self, const uint8_t* address, size_t size) noexcept nogil:
        cdef Boundaries found
        _boundaries(address, size, &found)
        return self._longest(address, &found, self._deepest(&found))

    cdef void lookup_many(
        self, const uint8_t** addresses, const uint32_t* sizes, uint32_t* targets, size_t count
    ) noexcept nogil:
        cdef size_t start = 0
        while start < count:
            self._lookup_group(
                addresses + start, sizes + start, targets + start,
                min(count - start, <size_t>LOOKUP_GROUP),
            )
            start += LOOKUP_GROUP

    cdef void _lookup_group(
        self, const uint8_t** addresses, const uint32_t* sizes, uint32_t* targets, size_t count
    ) noexcept nogil:
        """Three passes, each asks for the memory that the next one reads: slots, then prefixes."""
        cdef Boundaries[LOOKUP_GROUP] found
        cdef uint32_t[LOOKUP_GROUP] depths
        cdef (Forward*)[LOOKUP_GROUP] candidates
        cdef Forward* slot
        cdef size_t i
        for i in range(count):
            _boundaries(addresses[i], sizes[i], &found[i])
            depths[i] = self._deepest(&found[i])
            if depths[i]:
                slot = &self._slots[found[i].hashes[depths[i] - 1] & (self._capacity - 1)]
                __builtin_prefetch(slot)
        for i in range(count):
            if depths[i]:
                slot = self._candidate(
                    found[i].hashes[depths[i] - 1], found[i].sizes[depths[i] - 1]
                )
                candidates[i] = slot
                __builtin_prefetch(self._prefixes.bytes + slot.offset)
        for i in range(count):
            if depths[i] and candidates[i].size and memcmp(
                self._prefixes.bytes + candidates[i].offset, addresses[i], candidates[i].size
            ) == 0:
                targets[i] = candidates[i].target
            else:
                targets[i] = self._longest(addresses[i], &found[i], depths[i])

    cdef uint32_t _deepest(self, const Boundaries* found) noexcept nogil:
        """The greatest depth of the address at which any prefix exists, 0 = none."""
        cdef uint32_t depth = found.count
        while depth and self._depth_counts[depth] == 0:
            depth -= 1
        return depth

    cdef uint32_t _longest(
        self, const uint8_t* address, const Boundaries* found, uint32_t depth
    ) noexcept nogil:
        cdef Forward* slot
        while depth:
            if self._depth_counts[depth]:
                slot = self._find(found.hashes[depth - 1], address, found.sizes[depth - 1])
                if slot.size:
                    return slot.target
            depth -= 1
        return self._default_target

    cdef int insert(self, const uint8_t* prefix, size_t size, uint32_t target) noexcept nogil:
        cdef Boundaries found
        cdef Forward* slot
        if size == 0:
            self._default_target = target
            return 0
        if _boundaries(prefix, size, &found) < 0:
            return -2
        if self._count * 2 >= self._capacity and self._grow(self._capacity * 2) < 0:
            return -1
        slot = self._find(found.hashes[found.count - 1], prefix, size)
        if slot.size == 0:
            slot.offset = self._prefixes.size
            if arena_append(&self._prefixes, prefix, size) < 0:
                return -1
            slot.size = <uint32_t>size
            slot.hash = found.hashes[found.count - 1]
            self._count += 1
            self._depth_counts[found.count] += 1
        slot.target = target
        return 0

    cdef int delete(self, const uint8_t* prefix, size_t size) noexcept nogil:
        cdef Boundaries found
        cdef Forward* slot
        if size == 0:
            if self._default_target == FORWARDING_NONE:
                return -1
            self._default_target = FORWARDING_NONE
            return 0
        if _boundaries(prefix, size, &found) < 0:
            return -1
        slot = self._find(found.hashes[found.count - 1], prefix, size)
        if slot.size == 0:
            return -1
        self._dead_size += slot.size
        self._count -= 1
        self._depth_counts[found.count] -= 1
        self._close_gap(slot - self._slots)
        if self._dead_size > 65_536 and self._dead_size * 2 > self._prefixes.size:
            self._compact()
        return 0

    cdef Forward* _candidate(self, uint64_t hash, size_t size) noexcept nogil:
        """The first slot that could hold the prefix, or an empty one: does not look at bytes."""
        cdef size_t mask = self._capacity - 1
        cdef size_t i = hash & mask
        while self._slots[i].size and (self._slots[i].hash != hash or self._slots[i].size != size):
            i = (i + 1) & mask
        return &self._slots[i]

    cdef Forward* _find(self, uint64_t hash, const uint8_t* prefix, size_t size) noexcept nogil:
        """The slot that holds the prefix, or the empty one where it would go."""
        cdef size_t mask = self._capacity - 1
        cdef size_t i = hash & mask
        cdef Forward* slot
        while True:
            slot = &self._slots[i]
            if slot.size == 0:
                return slot
            if slot.hash == hash and slot.size == size and (
                memcmp(self._prefixes.bytes + slot.offset, prefix, size) == 0
            ):
                return slot
            i = (i + 1) & mask

    cdef int _grow(self, size_t capacity) noexcept nogil:
        cdef Forward* old = self._slots
        cdef size_t old_capacity = self._capacity, i, j
        cdef Forward* slots = <Forward*>calloc(capacity, sizeof(Forward))
        if slots == NULL:
            return -1
        for i in range(old_capacity):
            if old[i].size:
                j = old[i].hash & (capacity - 1)
                while slots[j].size:
                    j = (j + 1) & (capacity - 1)
                slots[j] = old[i]
        self._slots = slots
        self._capacity = capacity
        free(old)
        return 0

    cdef int _compact(self) noexcept nogil:
        """Rewrite the prefixes without the deleted ones."""
        cdef Arena kept
        cdef size_t i, offset
        kept.bytes = NULL
        kept.size = kept.capacity = 0
        for i in range(self._capacity):
            if self._slots[i].size:
                offset = kept.size
                if arena_append(
                    &kept, self._prefixes.bytes + self._slots[i].offset, self._slots[i].size
                ) < 0:
                    arena_free(&kept)
                    return -1
        # Offsets change only once nothing can fail any more.
        offset = 0
        for i in range(self._capacity):
            if self._slots[i].size:
                self._slots[i].offset = offset
                offset += self._slots[i].size
        arena_free(&self._prefixes)
        memcpy(&self._prefixes, &kept, sizeof(Arena))
        self._dead_size = 0
        return 0

    cdef void _close_gap(self, size_t gap) noexcept nogil:
        """Move later entries of the probe run back, so that lookups never need tombstones."""
        cdef size_t mask = self._capacity - 1
        cdef size_t i = gap, home
        while True:
            i = (i + 1) & mask
            if self._slots[i].size == 0:
                break
            home = self._slots[i].hash & mask
            # An entry may fill the gap if its home is not in (gap, i], cyclically.
            if ((i - home) & mask) >= ((i - gap) & mask):
                self._slots[gap] = self._slots[i]
                gap = i
        self._slots[gap].size = 0
