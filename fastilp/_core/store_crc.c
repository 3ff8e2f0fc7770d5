/* CRC-32C (Castagnoli), the checksum of the journal's file: by the processor's own instruction
 * where it has one, else by a table. FASTILP_CRC32C=portable in the environment asks for the table,
 * for tests. */

#include "store_state.h"

#include <stdlib.h>
#include <string.h>

static uint32_t table[256];
static uint32_t (*update)(uint32_t crc, const uint8_t *at, size_t size);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t update_portable(uint32_t crc, const uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        crc = table[(crc ^ at[i]) & 0xff] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static uint32_t update_sse42(uint32_t crc, const uint8_t *at, size_t size)
{
    uint64_t wide = crc, word;

    for (; size >= sizeof word; at += sizeof word, size -= sizeof word) {
        memcpy(&word, at, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size; at++, size--)
        crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}
#endif

static void choose(void)
{
    const char *wanted = getenv("FASTILP_CRC32C");

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? 0x82f63b78u ^ table[i] >> 1 : table[i] >> 1;
    }
    update = update_portable;
#if defined(__x86_64__)
    if ((wanted == NULL || strcmp(wanted, "portable") != 0) && __builtin_cpu_supports("sse4.2"))
        update = update_sse42;
#else
    (void)wanted;
#endif
}

uint32_t store_crc(const uint8_t *at, size_t size)
{
    pthread_once(&once, choose);
    return ~update(~0u, at, size);
}
