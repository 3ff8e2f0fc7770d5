# A byte buffer that grows by doubling and is reused: packets of one batch, egress of one link,
# waiting Fulfills. Others hold offsets, because it moves when it grows.

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
