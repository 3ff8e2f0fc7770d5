# A byte buffer that grows by doubling and is reused: packets of one batch, egress of one link,
# waiting Fulfills. Others hold offsets, because it moves when it grows.
#
# A pool lends buffers to many who need one now and then: an idle link owns none, and the next one
# writes where the last one has just been, which is in the cache still.

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy


cdef struct Arena:
    uint8_t* bytes
    size_t size
    size_t capacity


# Room for `size` more bytes at the end, or NULL when memory is exhausted. The caller adds what it
# wrote to `arena.size`.
cdef inline uint8_t* arena_room(Arena* arena, size_t size) noexcept nogil:
    cdef size_t wanted = arena.size + size
    cdef size_t capacity = arena.capacity if arena.capacity else 4_096
    cdef uint8_t* grown
    # An empty arena has no address yet, and NULL means failure: no bytes need room too.
    if wanted > arena.capacity or arena.bytes == NULL:
        while capacity < wanted:
            capacity *= 2
        grown = <uint8_t*>realloc(arena.bytes, capacity)
        if grown == NULL:
            return NULL
        arena.bytes = grown
        arena.capacity = capacity
    return arena.bytes + arena.size


cdef inline int arena_append(Arena* arena, const uint8_t* source, size_t size) noexcept nogil:
    cdef uint8_t* room = arena_room(arena, size)
    if room == NULL:
        return -1
    memcpy(room, source, size)
    arena.size += size
    return 0


cdef inline void arena_free(Arena* arena) noexcept nogil:
    free(arena.bytes)
    arena.bytes = NULL
    arena.size = arena.capacity = 0


cdef enum:
    POOL_COUNT_MAX = 256
    POOL_CAPACITY_MAX = 65_536      # of one buffer; who needs more keeps it


cdef struct ArenaPool:
    Arena[POOL_COUNT_MAX] arenas    # given back last, lent first
    size_t count


# Like arena_room, for an arena that may have no buffer of its own yet.
cdef inline uint8_t* pool_room(ArenaPool* pool, Arena* arena, size_t size) noexcept nogil:
    if arena.bytes == NULL and pool.count:
        pool.count -= 1
        arena[0] = pool.arenas[pool.count]
    return arena_room(arena, size)


# The arena is empty afterwards.
cdef inline void pool_give_back(ArenaPool* pool, Arena* arena) noexcept nogil:
    arena.size = 0
    if arena.bytes == NULL or arena.capacity > POOL_CAPACITY_MAX or pool.count == POOL_COUNT_MAX:
        return
    pool.arenas[pool.count] = arena[0]
    pool.count += 1
    arena.bytes = NULL
    arena.capacity = 0


cdef inline void pool_free(ArenaPool* pool) noexcept nogil:
    while pool.count:
        pool.count -= 1
        arena_free(&pool.arenas[pool.count])
