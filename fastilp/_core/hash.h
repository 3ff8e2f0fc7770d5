/* A 64-bit multiply-and-shift hash of words, for tables whose keys a peer may choose: the seed is
 * drawn once per process, so that nobody can prepare colliding prefixes. */
#ifndef FASTILP_HASH_H
#define FASTILP_HASH_H

#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static uint64_t hash_seed;

__attribute__((constructor)) static void hash_seed_draw(void)
{
    if (getrandom(&hash_seed, sizeof hash_seed, GRND_NONBLOCK) != (ssize_t)sizeof hash_seed)
        hash_seed = (uint64_t)(uintptr_t)&hash_seed;
}

/* Up to 8 bytes as a number, without reading past them. */
static inline uint64_t hash_load(const uint8_t *bytes, size_t size)
{
    uint64_t word = 0;
    uint32_t first, last;
    if (size == 8) {
        memcpy(&word, bytes, 8);
    } else if (size >= 4) {
        memcpy(&first, bytes, 4);
        memcpy(&last, bytes + size - 4, 4);
        word = (uint64_t)first << 32 | last;
    } else if (size) {
        word = (uint64_t)bytes[0] << 16 | (uint64_t)bytes[size >> 1] << 8 | bytes[size - 1];
    }
    return word;
}

/* Multiply, fold, multiply, fold: every bit of the word reaches every bit of the table's index. */
static inline uint64_t hash_word(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word ^ hash_seed) * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93ull;
    return hash ^ (hash >> 32);
}

#endif
