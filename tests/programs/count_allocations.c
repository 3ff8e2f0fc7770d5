/* LD_PRELOAD: counts the calls that ask for memory; `allocations()` says how many the calling
 * thread has made. */

#define _GNU_SOURCE

#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

/* Of one thread: the ledger's writer commits at its own pace. */
static __thread unsigned long count __attribute__((tls_model("initial-exec")));

unsigned long allocations(void)
{
    return count;
}

void *malloc(size_t size)
{
    count++;
    return __libc_malloc(size);
}

void *calloc(size_t items, size_t size)
{
    count++;
    return __libc_calloc(items, size);
}

void *realloc(void *old, size_t size)
{
    count++;
    return __libc_realloc(old, size);
}
