/* Zeroed memory for tables that are read at random, in blocks that huge pages can hold: a table of
 * many megabytes otherwise costs a walk of the page tables beside each cache miss. Linux. */
#ifndef FASTILP_PAGES_H
#define FASTILP_PAGES_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGES_HUGE_SIZE = 2 * 1024 * 1024 };

/* `size` is a multiple of PAGES_HUGE_SIZE, and so is the address. NULL when memory is exhausted. */
static inline void *pages_map(size_t size)
{
    uint8_t *at = mmap(
        NULL, size + PAGES_HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;
    if (at == MAP_FAILED)
        return NULL;
    before = -(uintptr_t)at & (PAGES_HUGE_SIZE - 1);
    if (before)
        munmap(at, before);
    munmap(at + before + size, PAGES_HUGE_SIZE - before);
    return at + before;
}

/* The same for any size; a small block comes from the heap. */
static inline void *pages_get(size_t size)
{
    return size < PAGES_HUGE_SIZE ? calloc(1, size) : pages_map(size);
}

static inline void pages_free(void *at, size_t size)
{
    if (size < PAGES_HUGE_SIZE)
        free(at);
    else if (at)
        munmap(at, size);
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
