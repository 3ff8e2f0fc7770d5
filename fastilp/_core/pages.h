/* Zeroed memory for tables that are read at random, in blocks that huge pages can hold: a table of
 * many megabytes otherwise costs a walk of the page tables beside each cache miss. Linux. */
#ifndef FASTILP_PAGES_H
#define FASTILP_PAGES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGES_HUGE_SIZE = 2 * 1024 * 1024, PAGES_LINE_SIZE = 64 };

/* Large blocks end where a huge page does. */
static inline size_t pages_round(size_t size)
{
    return (size + PAGES_HUGE_SIZE - 1) & ~(size_t)(PAGES_HUGE_SIZE - 1);
}

/* The address is a multiple of PAGES_HUGE_SIZE. NULL when memory is exhausted. */
static inline void *pages_map(size_t size)
{
    size_t whole = pages_round(size), before;
    uint8_t *at = mmap(
        NULL, whole + PAGES_HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    before = -(uintptr_t)at & (PAGES_HUGE_SIZE - 1);
    if (before)
        munmap(at, before);
    munmap(at + before + whole, PAGES_HUGE_SIZE - before);
    return at + before;
}

/* Zeros at the start of a cache line, from the heap if it is a small block. NULL when memory is
 * exhausted. */
static inline void *pages_get(size_t size)
{
    size_t lines = (size + PAGES_LINE_SIZE - 1) & ~(size_t)(PAGES_LINE_SIZE - 1);
    void *at;
    if (size >= PAGES_HUGE_SIZE)
        return pages_map(size);
    at = aligned_alloc(PAGES_LINE_SIZE, lines);
    if (at)
        memset(at, 0, lines);
    return at;
}

static inline void pages_free(void *at, size_t size)
{
    if (size < PAGES_HUGE_SIZE)
        free(at);
    else if (at)
        munmap(at, pages_round(size));
}

/* A larger block with the same content and zeros behind it, for a table that need not stay where
 * it is: pages are moved, not copied, where the system can. NULL when memory is exhausted; the old
 * block is then as it was. */
static inline void *pages_grow(void *at, size_t size, size_t wanted)
{
    void *grown = pages_get(wanted);
    if (grown == NULL)
        return NULL;
    if (wanted >= PAGES_HUGE_SIZE)
        madvise(grown, wanted, MADV_HUGEPAGE);
    if (size >= PAGES_HUGE_SIZE) {
        int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        size_t whole = pages_round(size);
        if (mremap(at, whole, whole, flags, grown) == grown)
            return grown;
        /* Linux before 6.17 moves one area at a time, and what has grown before is two of them; it
         * says so only after it has unmapped the place. */
        if (mmap(grown, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                0) != grown) {
            munmap(grown, pages_round(wanted));
            return NULL;
        }
    }
    if (size)
        memcpy(grown, at, size);
    pages_free(at, size);
    return grown;
}

/* A block that has been filled: the system may put it into huge pages when it has time. Had it been
 * asked before, the first write to each would have waited for two megabytes to be zeroed. */
static inline void pages_settle(void *at, size_t size)
{
    if (size >= PAGES_HUGE_SIZE)
        madvise(at, size, MADV_HUGEPAGE);
}

/* PAGES_HUGE_SIZE bytes that nobody needs any more: they take no memory, and read as zeros. */
static inline void pages_forget(void *at)
{
    madvise(at, PAGES_HUGE_SIZE, MADV_DONTNEED);
}

#endif
