/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of short messages, 64 bits. */
#ifndef FASTILP_SIPHASH_H
#define FASTILP_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct { uint64_t v0, v1, v2, v3; } siphash_t;

static inline uint64_t siphash_turned(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void siphash_rounds(siphash_t *s, int count)
{
    while (count--) {
        s->v0 += s->v1;
        s->v1 = siphash_turned(s->v1, 13) ^ s->v0;
        s->v0 = siphash_turned(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = siphash_turned(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = siphash_turned(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = siphash_turned(s->v1, 17) ^ s->v2;
        s->v2 = siphash_turned(s->v2, 32);
    }
}

static inline uint64_t siphash_word(const uint8_t *at, size_t size)
{
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)at[i] << 8 * i;
    return word;
}

static inline void siphash_take(siphash_t *s, uint64_t word)
{
    s->v3 ^= word;
    siphash_rounds(s, 2);
    s->v0 ^= word;
}

static inline uint64_t siphash(const uint64_t key[2], const uint8_t *at, size_t size)
{
    siphash_t s = {
        key[0] ^ 0x736F6D6570736575ull, key[1] ^ 0x646F72616E646F6Dull,
        key[0] ^ 0x6C7967656E657261ull, key[1] ^ 0x7465646279746573ull,
    };
    size_t left = size;
    for (; left >= 8; left -= 8, at += 8)
        siphash_take(&s, siphash_word(at, 8));
    siphash_take(&s, siphash_word(at, left) | (uint64_t)size << 56);
    s.v2 ^= 0xFF;
    siphash_rounds(&s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
