/* A keyed hash of prefixes of an address, for tables whose keys others may choose: the key of the
 * hash is drawn once per process, so that nobody can prepare prefixes that collide.
 *
 * 16 bytes take one multiplication of 64 by 64 bits, folded to 64 (as in wyhash). The states
 * between blocks of 16 are kept, so that each shorter prefix of the same address costs one more
 * multiplication and not its length. Reads no byte outside the prefix. */
#ifndef FASTILP_HASH_H
#define FASTILP_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "counter.h"

enum { HASH_BLOCK_SIZE = 16, HASH_BLOCKS_MAX = 64 };

static uint64_t hash_key[4];

__attribute__((constructor)) static void hash_key_draw(void)
{
    if (getrandom(hash_key, sizeof hash_key, GRND_NONBLOCK) != (ssize_t)sizeof hash_key)
        for (int i = 0; i < 4; i++)
            hash_key[i] = (uint64_t)(uintptr_t)&hash_key * (0x9E3779B97F4A7C15ull + 2 * i);
    /* A factor of zero, or an even one, would lose what it multiplies. */
    hash_key[3] |= 1;
}

/* states[i]: what the first i blocks amount to, known for i <= `known`. */
typedef struct { uint32_t known; uint64_t states[HASH_BLOCKS_MAX]; } hash_path_t;

static inline void hash_start(hash_path_t *path)
{
    path->known = 0;
    path->states[0] = hash_key[0];
}

static inline uint64_t hash_load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static inline uint64_t hash_load_half(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

/* The last 1 to 16 bytes: two words that may overlap, and the size tells how far. */
static inline uint64_t hash_end(uint64_t state, const uint8_t *at, size_t size)
{
    uint64_t first, last;
    if (size >= 16) {
        first = hash_load(at + size - 16);
        last = hash_load(at + size - 8);
    } else if (size >= 8) {
        first = hash_load(at);
        last = hash_load(at + size - 8);
    } else if (size >= 4) {
        first = hash_load_half(at);
        last = hash_load_half(at + size - 4);
    } else {
        first = at[0];
        last = (uint64_t)at[size >> 1] << 8 | at[size - 1];
    }
    return product_folded(first ^ hash_key[1] ^ size * hash_key[3], last ^ state);
}

/* Of the first `size` bytes, 1 to 1,024. */
static inline uint64_t hash_prefix(hash_path_t *path, const uint8_t *at, size_t size)
{
    size_t blocks = (size - 1) / HASH_BLOCK_SIZE, i = path->known;
    uint64_t state = path->states[i];
    for (; i < blocks; i++) {
        const uint8_t *block = at + i * HASH_BLOCK_SIZE;
        state = product_folded(hash_load(block) ^ hash_key[2], hash_load(block + 8) ^ state);
        path->states[i + 1] = state;
        path->known = (uint32_t)i + 1;
    }
    return hash_end(path->states[blocks], at, size);
}

/* Of a key of fixed size, which control chooses. */
static inline uint64_t hash_of_16(const uint8_t *at)
{
    return hash_end(hash_key[0], at, 16);
}

#endif
