"""The forwarding table: which account is next for a destination.

A prefix matches whole segments only (`g.a` does not match `g.ab`, RFC 15). Prefixes live in one
open-addressing hash table; a lookup finds the dots of the destination and asks for the deepest
prefix first, at the depths where prefixes exist. The table grows, shrinks and forgets deleted
prefixes a few steps at a time: no insert or delete waits for all of it. May import limits and
prefix_log."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastilp._core.limits cimport ADDRESS_SIZE_MAX, PREFIX_SEGMENTS_MAX
from fastilp._core.prefetch cimport prefetch
from fastilp._core.prefix_log cimport (
    LOG_HEAD_SIZE, PAGES_HUGE_SIZE, log_append, log_at, log_delete, log_drop_oldest, log_free,
    log_is_dirty, log_oldest_record, log_prefix_size, log_set_target, log_target, pages_forget,
    pages_free, pages_get, pages_settle,
)

cdef extern from "hash.h" nogil:
    ctypedef struct hash_path_t:
        pass
    void hash_start(hash_path_t* path)
    uint64_t hash_prefix(hash_path_t* path, const uint8_t* at, size_t size)

cdef extern from "address_scan.h" nogil:
    enum:
        ADDRESS_BLOCK_SIZE
    uint64_t address_dots(const uint8_t* at, size_t size)
    bint address_same(const uint8_t* a, const uint8_t* b, size_t size)

cdef extern from *:
    int __builtin_ctzll(uint64_t bits) noexcept nogil

cdef enum:
    CAPACITY_MIN = 64
    # Addresses whose memory is asked for at a time: a core has no more misses outstanding.
    LOOKUP_GROUP = 16
    # Slots that one insert or delete moves while the table changes its size, and a few more to the
    # end of a run. Less than one would do for the move to end before the next one is due.
    MOVES_PER_CHANGE = 32
    # Bytes of deleted prefixes and of live ones that it looks at while the log is cleaned.
    CLEANS_PER_CHANGE = 2_048


cdef inline bint _open_slots(Slots* slots, size_t capacity) noexcept nogil:
    slots.at = <Forward*>pages_get(capacity * sizeof(Forward))
    slots.mask = capacity - 1
    slots.shift = 32 - __builtin_ctzll(capacity)
    return slots.at != NULL


cdef inline void _close_slots(Slots* slots) noexcept nogil:
    pages_free(slots.at, (slots.mask + 1) * sizeof(Forward))
    slots.at = NULL


cdef inline Forward* _empty_slot(Slots* slots, uint32_t tag) noexcept nogil:
    cdef size_t i = tag >> slots.shift
    while slots.at[i].offset:
        i = (i + 1) & slots.mask
    return &slots.at[i]


cdef inline uint32_t _tag_of(const uint8_t* prefix, size_t size) noexcept nogil:
    cdef hash_path_t hashes
    hash_start(&hashes)
    return <uint32_t>(hash_prefix(&hashes, prefix, size) >> 32)


cdef inline uint64_t _dots_of(const uint8_t* address, size_t size, size_t start) noexcept nogil:
    """Of the block from `start` on. A dot at the very start has nothing before it."""
    cdef size_t left = min(size - start, <size_t>ADDRESS_BLOCK_SIZE)
    cdef uint64_t dots = address_dots(address + start, left)
    return dots if start else dots & ~<uint64_t>1


cdef uint32_t _depth_of(const uint8_t* prefix, size_t size) noexcept nogil:
    """Number of segments."""
    cdef uint64_t dots
    cdef uint32_t depth = 1
    cdef size_t start = 0
    while start < size:
        dots = _dots_of(prefix, size, start)
        while dots:
            depth += 1
            dots &= dots - 1
        start += ADDRESS_BLOCK_SIZE
    return depth


cdef struct Path:
    # of an address on its way through the table
    uint32_t depth              # segments of the prefix that is looked for
    uint16_t[PREFIX_SEGMENTS_MAX] ends
    hash_path_t hashes


cdef inline uint32_t _path_size(const Path* path) noexcept nogil:
    return path.ends[path.depth - 1]


cdef inline uint32_t _path_tag(Path* path, const uint8_t* address) noexcept nogil:
    return <uint32_t>(hash_prefix(&path.hashes, address, _path_size(path)) >> 32)


# The bytes of a prefix as they lie in the log, against those of an address.
cdef inline bint _same(const uint8_t* prefix, const uint8_t* address, size_t size) noexcept nogil:
    return log_prefix_size(prefix) == size and address_same(prefix, address, size)


@cython.final
cdef class ForwardingTable:
    def __cinit__(self):
        self._default_target = FORWARDING_NONE
        if not _open_slots(&self._slots, CAPACITY_MIN):
            raise MemoryError()

    def __dealloc__(self):
        _close_slots(&self._slots)
        _close_slots(&self._next)
        log_free(&self._log)

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

    @property
    def memory_size(self):
        """Bytes of slots and prefixes."""
        slots = self._slots.mask + 1
        if self._next.at != NULL:
            slots += self._next.mask + 1
        return slots * sizeof(Forward) + self._log.chunk_count * PAGES_HUGE_SIZE

    def items(self):
        """Every (prefix, target), in no order."""
        found = []
        if self._default_target != FORWARDING_NONE:
            found.append((b"", self._default_target))
        for slots in (0, 1):
            self._add_items(found, slots)
        return found

    def _add_items(self, found, which):
        cdef Slots* slots = &self._next if which else &self._slots
        cdef size_t i
        if slots.at == NULL:
            return
        for i in range(slots.mask + 1):
            if slots.at[i].offset:
                prefix = log_at(&self._log, slots.at[i].offset)
                found.append((prefix[:log_prefix_size(prefix)], log_target(prefix)))

    # --- lookups ----------------------------------------------------------------------------------

    cdef uint32_t lookup(self, const uint8_t* address, size_t size) noexcept nogil:
        cdef Path path
        cdef Forward* slot
        _enter(self, &path, address, size)
        while path.depth:
            slot = self._find(_path_tag(&path, address), address, _path_size(&path))
            if slot.offset:
                return log_target(log_at(&self._log, slot.offset))
            path.depth = self._depth_used[path.depth - 1]
        return self._default_target

    cdef uint32_t exact(self, const uint8_t* prefix, size_t size) noexcept nogil:
        cdef Forward* slot
        if size == 0:
            return self._default_target
        if size > ADDRESS_SIZE_MAX:
            return FORWARDING_NONE
        slot = self._find(_tag_of(prefix, size), prefix, size)
        return log_target(log_at(&self._log, slot.offset)) if slot.offset else FORWARDING_NONE

    cdef void lookup_many(
        self, const uint8_t** addresses, const uint32_t* sizes, uint32_t* targets, size_t count
    ) noexcept nogil:
        cdef size_t start = 0
        while start < count:
            _lookup_group(
                self, addresses + start, sizes + start, targets + start,
                min(count - start, <size_t>LOOKUP_GROUP),
            )
            start += LOOKUP_GROUP

    cdef Slots* _slots_of(self, uint32_t tag) noexcept nogil:
        """Where a prefix is, or would be."""
        cdef size_t distance = ((tag >> self._slots.shift) - self._start) & self._slots.mask
        return &self._next if distance < self._moved else &self._slots

    cdef Forward* _find(self, uint32_t tag, const uint8_t* prefix, size_t size) noexcept nogil:
        """The slot that holds the prefix, or the empty one where it would go."""
        cdef Slots* slots = self._slots_of(tag)
        cdef size_t i = tag >> slots.shift
        while slots.at[i].offset:
            if slots.at[i].tag == tag and _same(
                log_at(&self._log, slots.at[i].offset), prefix, size
            ):
                break
            i = (i + 1) & slots.mask
        return &slots.at[i]

    # --- changes ----------------------------------------------------------------------------------

    cdef int insert(self, const uint8_t* prefix, size_t size, uint32_t target) noexcept nogil:
        cdef Forward* slot
        cdef uint32_t depth, tag
        if size == 0:
            self._default_target = target
            return 0
        depth = _depth_of(prefix, size)
        if depth > PREFIX_SEGMENTS_MAX or size > ADDRESS_SIZE_MAX:
            return -2
        self._keep_house()
        if not self._has_room():
            return -1
        tag = _tag_of(prefix, size)
        slot = self._find(tag, prefix, size)
        if slot.offset:
            log_set_target(log_at(&self._log, slot.offset), target)
            return 0
        if log_append(&self._log, prefix, <uint16_t>size, target, &slot.offset) < 0:
            return -1
        slot.tag = tag
        self._count += 1
        self._count_depth(depth, 1)
        return 0

    cdef int delete(self, const uint8_t* prefix, size_t size) noexcept nogil:
        cdef Slots* slots
        cdef Forward* slot
        cdef uint32_t tag
        if size == 0:
            if self._default_target == FORWARDING_NONE:
                return -1
            self._default_target = FORWARDING_NONE
            return 0
        if size > ADDRESS_SIZE_MAX:
            return -1
        self._keep_house()
        tag = _tag_of(prefix, size)
        slot = self._find(tag, prefix, size)
        if slot.offset == 0:
            return -1
        log_delete(&self._log, <uint32_t>size)
        self._count -= 1
        self._count_depth(_depth_of(prefix, size), -1)
        slots = self._slots_of(tag)
        self._close_gap(slots, slot - slots.at)
        return 0

    cdef void _count_depth(self, uint32_t depth, int change) noexcept nogil:
        cdef uint32_t i
        self._depth_counts[depth] += change
        if self._depth_counts[depth] > 1:
            return
        for i in range(1, PREFIX_SEGMENTS_MAX + 1):
            self._depth_used[i] = (
                <uint8_t>i if self._depth_counts[i] else self._depth_used[i - 1]
            )

    cdef void _close_gap(self, Slots* slots, size_t gap) noexcept nogil:
        """Move later entries of the run back, so that lookups never need tombstones."""
        cdef size_t i = gap, home
        while True:
            i = (i + 1) & slots.mask
            if slots.at[i].offset == 0:
                break
            home = slots.at[i].tag >> slots.shift
            # An entry may fill the gap if its home is not in (gap, i], cyclically.
            if ((i - home) & slots.mask) >= ((i - gap) & slots.mask):
                slots.at[gap] = slots.at[i]
                gap = i
        memset(&slots.at[gap], 0, sizeof(Forward))

    # --- housekeeping -----------------------------------------------------------------------------

    cdef void _keep_house(self) noexcept nogil:
        """A bounded part of what is due: each insert and delete does its share."""
        cdef size_t capacity = self._slots.mask + 1
        if self._next.at == NULL:
            # From 5/8 full on runs become long. Half as many slots are then a quarter full. Places
            # are bits of a tag, so there are at most 2**31.
            if self._count * 8 >= capacity * 5 and self._slots.shift > 1:
                self._begin_resizing(capacity * 2)
            elif self._count * 8 < capacity and capacity > CAPACITY_MIN:
                self._begin_resizing(capacity // 2)
        if self._next.at != NULL:
            self._move_some()
        if log_is_dirty(&self._log):
            self._clean_some()

    cdef bint _has_room(self) noexcept nogil:
        """Without memory to grow the table fills up; one slot must stay empty to end every run."""
        return self._next.at != NULL or self._count < self._slots.mask

    cdef void _begin_resizing(self, size_t capacity) noexcept nogil:
        """Nothing happens when memory is exhausted: the next change tries again."""
        if not _open_slots(&self._next, capacity):
            return
        # Runs are moved whole, so moving starts behind the end of one.
        self._start = 0
        while self._slots.at[self._start].offset:
            self._start += 1
        self._moved = 0

    cdef void _move_some(self) noexcept nogil:
        """Move slots in order, up to the end of a run: what has its home behind it has its place
        there too."""
        cdef size_t last = self._moved + MOVES_PER_CHANGE
        cdef Forward* slot
        cdef bint occupied = True
        while occupied or self._moved < last:
            slot = &self._slots.at[(self._start + self._moved) & self._slots.mask]
            occupied = slot.offset != 0
            if occupied:
                _empty_slot(&self._next, slot.tag)[0] = slot[0]
                memset(slot, 0, sizeof(Forward))
            self._moved += 1
            self.steps += 1
            self._forget_moved()
            # A run may go on at the start.
            if self._moved > self._slots.mask and not occupied:
                self._end_resizing()
                return

    cdef void _forget_moved(self) noexcept nogil:
        """Give pages back as they become empty, for all at once would take long. Not the first
        one: a run may come round to it."""
        cdef size_t page_slots = PAGES_HUGE_SIZE // sizeof(Forward)
        cdef size_t place = self._start + self._moved
        if place & (page_slots - 1) == 0 and page_slots < place <= self._slots.mask:
            pages_forget(self._slots.at + place - page_slots)

    cdef void _end_resizing(self) noexcept nogil:
        _close_slots(&self._slots)
        pages_settle(self._next.at, (self._next.mask + 1) * sizeof(Forward))
        self._slots = self._next
        self._next.at = NULL
        self._moved = 0

    cdef void _clean_some(self) noexcept nogil:
        """Copy what is alive out of the oldest chunk of the log, and drop it at its end."""
        cdef uint32_t size, offset, done = 0
        cdef uint8_t* prefix
        cdef Forward* slot
        while done < CLEANS_PER_CHANGE:
            self.steps += 1
            size = log_oldest_record(&self._log, &offset)
            if size == 0:
                log_drop_oldest(&self._log)
                return
            prefix = log_at(&self._log, offset)
            slot = self._find(_tag_of(prefix, size), prefix, size)
            if slot.offset == offset:
                if log_append(
                    &self._log, prefix, <uint16_t>size, log_target(prefix), &slot.offset
                ) < 0:
                    return
                log_delete(&self._log, size)
            self._log.cleaned += LOG_HEAD_SIZE + size
            done += LOG_HEAD_SIZE + size


# --- lookups of a group ---------------------------------------------------------------------------

cdef inline void _enter(
    ForwardingTable table, Path* path, const uint8_t* address, size_t size
) noexcept nogil:
    """Find the ends of the address' segments, as many as any prefix has."""
    cdef uint32_t most = table._depth_used[PREFIX_SEGMENTS_MAX], count = 0
    cdef uint64_t dots
    cdef size_t start = 0
    hash_start(&path.hashes)
    size = min(size, <size_t>ADDRESS_SIZE_MAX)
    while start < size and count < most:
        dots = _dots_of(address, size, start)
        while dots and count < most:
            path.ends[count] = <uint16_t>(start + __builtin_ctzll(dots))
            count += 1
            dots &= dots - 1
        start += ADDRESS_BLOCK_SIZE
    if count < most and size:
        path.ends[count] = <uint16_t>size
        count += 1
    path.depth = table._depth_used[count]


cdef inline Forward* _candidate(Slots* slots, uint32_t tag) noexcept nogil:
    """The first slot that could hold the prefix, or an empty one: does not look at bytes."""
    cdef size_t i = tag >> slots.shift
    while slots.at[i].offset and slots.at[i].tag != tag:
        i = (i + 1) & slots.mask
    return &slots.at[i]


cdef size_t _lookup_round(
    ForwardingTable table, const uint8_t** addresses, uint32_t* targets, Path* paths,
    uint8_t* open_indexes, size_t open_count,
) noexcept nogil:
    """One depth of each address that has no target yet, in three passes: each asks for the memory
    that the next one reads, slots, then prefixes. How many are still open."""
    cdef uint32_t[LOOKUP_GROUP] tags
    cdef uint32_t[LOOKUP_GROUP] offsets
    cdef Slots* slots
    cdef const uint8_t* prefix
    cdef Path* path
    cdef uint32_t offset
    cdef size_t left = 0, i, n
    for n in range(open_count):
        i = open_indexes[n]
        tags[n] = _path_tag(&paths[i], addresses[i])
        slots = table._slots_of(tags[n])
        prefetch(&slots.at[tags[n] >> slots.shift])
    for n in range(open_count):
        offsets[n] = _candidate(table._slots_of(tags[n]), tags[n]).offset
        if offsets[n]:
            prefix = log_at(&table._log, offsets[n])
            prefetch(prefix - LOG_HEAD_SIZE)
            # It may lie in two cache lines.
            prefetch(prefix + _path_size(&paths[open_indexes[n]]) - 1)
    for n in range(open_count):
        i = open_indexes[n]
        path = &paths[i]
        offset = offsets[n]
        if offset:
            prefix = log_at(&table._log, offset)
            if not _same(prefix, addresses[i], _path_size(path)):
                offset = table._find(tags[n], addresses[i], _path_size(path)).offset
        if offset:
            targets[i] = log_target(log_at(&table._log, offset))
            continue
        path.depth = table._depth_used[path.depth - 1]
        if path.depth:
            open_indexes[left] = <uint8_t>i
            left += 1
    return left


cdef void _lookup_group(
    ForwardingTable table, const uint8_t** addresses, const uint32_t* sizes, uint32_t* targets,
    size_t count,
) noexcept nogil:
    cdef Path[LOOKUP_GROUP] paths
    cdef uint8_t[LOOKUP_GROUP] open_indexes
    cdef size_t open_count = 0, i
    for i in range(count):
        _enter(table, &paths[i], addresses[i], sizes[i])
        targets[i] = table._default_target
        if paths[i].depth:
            open_indexes[open_count] = <uint8_t>i
            open_count += 1
    while open_count:
        open_count = _lookup_round(
            table, addresses, targets, paths, open_indexes, open_count
        )
