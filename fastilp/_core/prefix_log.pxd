# The prefixes of the forwarding table and their targets, one behind the other in chunks of 2 MiB
# that never move. A deleted one stays where it lies; the table copies what is alive out of the
# oldest chunk, a few records at a time, and the chunk goes. Offsets are 32 bits: chunk and place; 0
# is none. Imports nothing.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef extern from "pages.h" nogil:
    enum:
        PAGES_HUGE_SIZE
    void* pages_get(size_t size)
    void pages_free(void* at, size_t size)
    void pages_settle(void* at, size_t size)
    void pages_forget(void* at)

cdef enum:
    LOG_CHUNK_BITS = 21
    LOG_CHUNK_SIZE = 1 << LOG_CHUNK_BITS
    LOG_CHUNKS_MAX = 1 << (32 - LOG_CHUNK_BITS)
    # Before each prefix, its target and its size; the size is 0 where the chunk ends.
    LOG_HEAD_SIZE = 6


cdef struct PrefixLog:
    uint8_t** chunks                # NULL = the number is free
    uint16_t* following             # number of the chunk that was begun after this one
    uint32_t chunk_capacity
    uint32_t chunk_count
    uint32_t newest                 # chunk that is written to
    uint32_t newest_size
    uint32_t oldest                 # chunk that is cleaned
    uint32_t cleaned                # place in it that cleaning has come to
    uint64_t size                   # bytes written in all chunks
    uint64_t live_size              # of these, the ones that the table points to


cdef inline uint8_t* log_at(const PrefixLog* log, uint32_t offset) noexcept nogil:
    return log.chunks[offset >> LOG_CHUNK_BITS] + (offset & (LOG_CHUNK_SIZE - 1))


cdef inline uint32_t log_prefix_size(const uint8_t* prefix) noexcept nogil:
    cdef uint16_t size
    memcpy(&size, prefix - 2, 2)
    return size


cdef inline uint32_t log_target(const uint8_t* prefix) noexcept nogil:
    cdef uint32_t target
    memcpy(&target, prefix - LOG_HEAD_SIZE, 4)
    return target


cdef inline void log_set_target(uint8_t* prefix, uint32_t target) noexcept nogil:
    memcpy(prefix - LOG_HEAD_SIZE, &target, 4)


cdef inline int log_reserve_numbers(PrefixLog* log) noexcept nogil:
    cdef uint32_t capacity = log.chunk_capacity * 2 if log.chunk_capacity else 8
    cdef uint32_t i
    cdef void* grown
    if capacity > LOG_CHUNKS_MAX:
        return -1
    grown = realloc(log.chunks, capacity * sizeof(void*))
    if grown == NULL:
        return -1
    log.chunks = <uint8_t**>grown
    grown = realloc(log.following, capacity * sizeof(uint16_t))
    if grown == NULL:
        return -1
    log.following = <uint16_t*>grown
    for i in range(log.chunk_capacity, capacity):
        log.chunks[i] = NULL
    log.chunk_capacity = capacity
    return 0


cdef inline int log_begin_chunk(PrefixLog* log) noexcept nogil:
    """The next chunk to write to. -1 when memory or numbers are exhausted."""
    cdef uint32_t number = 0
    cdef void* chunk
    if log.chunk_count == log.chunk_capacity and log_reserve_numbers(log) < 0:
        return -1
    chunk = pages_get(LOG_CHUNK_SIZE)
    if chunk == NULL:
        return -1
    while log.chunks[number] != NULL:
        number += 1
    log.chunks[number] = <uint8_t*>chunk
    if log.chunk_count:
        log.following[log.newest] = <uint16_t>number
        pages_settle(log.chunks[log.newest], LOG_CHUNK_SIZE)
    else:
        log.oldest = number
        log.cleaned = 0
    log.newest = number
    log.newest_size = 0
    log.chunk_count += 1
    return 0


cdef inline int log_append(
    PrefixLog* log, const uint8_t* prefix, uint16_t size, uint32_t target, uint32_t* offset
) noexcept nogil:
    """Where the copy lies. -1 when memory is exhausted."""
    cdef uint32_t whole = LOG_HEAD_SIZE + size
    cdef uint8_t* at
    if log.chunk_count == 0 or log.newest_size + whole > LOG_CHUNK_SIZE:
        if log_begin_chunk(log) < 0:
            return -1
    at = log.chunks[log.newest] + log.newest_size
    memcpy(at, &target, 4)
    memcpy(at + 4, &size, 2)
    memcpy(at + LOG_HEAD_SIZE, prefix, size)
    offset[0] = (log.newest << LOG_CHUNK_BITS) | (log.newest_size + LOG_HEAD_SIZE)
    log.newest_size += whole
    log.size += whole
    log.live_size += whole
    return 0


cdef inline void log_delete(PrefixLog* log, uint32_t size) noexcept nogil:
    log.live_size -= LOG_HEAD_SIZE + size


# Cleaning pays once more than half of what is written is dead. What is being written to is never
# cleaned.
cdef inline bint log_is_dirty(const PrefixLog* log) noexcept nogil:
    return log.size > 2 * log.live_size + 2 * LOG_CHUNK_SIZE and log.oldest != log.newest


cdef inline uint32_t log_oldest_record(const PrefixLog* log, uint32_t* offset) noexcept nogil:
    """Size and offset of the record that cleaning has come to, 0 at the end of the chunk."""
    if log.cleaned + LOG_HEAD_SIZE >= LOG_CHUNK_SIZE:
        return 0
    offset[0] = (log.oldest << LOG_CHUNK_BITS) | (log.cleaned + LOG_HEAD_SIZE)
    return log_prefix_size(log_at(log, offset[0]))


cdef inline void log_drop_oldest(PrefixLog* log) noexcept nogil:
    """Nothing in it is alive."""
    log.size -= log.cleaned
    pages_free(log.chunks[log.oldest], LOG_CHUNK_SIZE)
    log.chunks[log.oldest] = NULL
    log.oldest = log.following[log.oldest]
    log.cleaned = 0
    log.chunk_count -= 1


cdef inline void log_free(PrefixLog* log) noexcept nogil:
    cdef uint32_t i
    for i in range(log.chunk_capacity):
        pages_free(log.chunks[i], LOG_CHUNK_SIZE)
    free(log.chunks)
    free(log.following)
