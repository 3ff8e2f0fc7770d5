/* SHA-256 (FIPS 180-4) of one message of 32 bytes at a time, in plain C.
   Message, padding and length fill exactly one block, so nothing is buffered. */

#include "sha256.h"

const uint32_t sha256_initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define SIGMA_LARGE_0(x) (ROTATE(x, 2) ^ ROTATE(x, 13) ^ ROTATE(x, 22))
#define SIGMA_LARGE_1(x) (ROTATE(x, 6) ^ ROTATE(x, 11) ^ ROTATE(x, 25))
#define SIGMA_SMALL_0(x) (ROTATE(x, 7) ^ ROTATE(x, 18) ^ (x) >> 3)
#define SIGMA_SMALL_1(x) (ROTATE(x, 17) ^ ROTATE(x, 19) ^ (x) >> 10)

/* One round; instead of moving the eight variables along, the caller renames them. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                 \
    do {                                                                 \
        uint32_t t = h + SIGMA_LARGE_1(e) + (g ^ (e & (f ^ g)));         \
        t += sha256_constants[i] + w[(i) & 15];                          \
        d += t;                                                          \
        h = t + SIGMA_LARGE_0(a) + ((a & b) | (c & (a | b)));            \
    } while (0)

#define EIGHT_ROUNDS(i)                      \
    ROUND(a, b, c, d, e, f, g, h, (i));      \
    ROUND(h, a, b, c, d, e, f, g, (i) + 1);  \
    ROUND(g, h, a, b, c, d, e, f, (i) + 2);  \
    ROUND(f, g, h, a, b, c, d, e, (i) + 3);  \
    ROUND(e, f, g, h, a, b, c, d, (i) + 4);  \
    ROUND(d, e, f, g, h, a, b, c, (i) + 5);  \
    ROUND(c, d, e, f, g, h, a, b, (i) + 6);  \
    ROUND(b, c, d, e, f, g, h, a, (i) + 7)

#define EXPAND(i)                                                             \
    w[i] += SIGMA_SMALL_1(w[((i) + 14) & 15]) + w[((i) + 9) & 15] +           \
            SIGMA_SMALL_0(w[((i) + 1) & 15])

#define EXPAND_ALL()                                                          \
    EXPAND(0); EXPAND(1); EXPAND(2); EXPAND(3); EXPAND(4); EXPAND(5);         \
    EXPAND(6); EXPAND(7); EXPAND(8); EXPAND(9); EXPAND(10); EXPAND(11);       \
    EXPAND(12); EXPAND(13); EXPAND(14); EXPAND(15)

static uint32_t load(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store(uint8_t *out, uint32_t value) {
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static void hash(const uint8_t *message, uint8_t *digest) {
    uint32_t a = sha256_initial[0], b = sha256_initial[1], c = sha256_initial[2];
    uint32_t d = sha256_initial[3], e = sha256_initial[4], f = sha256_initial[5];
    uint32_t g = sha256_initial[6], h = sha256_initial[7];
    /* Behind the message: a one bit, zeros, and 256, its length in bits. */
    uint32_t w[16] = {
        load(message), load(message + 4), load(message + 8), load(message + 12),
        load(message + 16), load(message + 20), load(message + 24), load(message + 28),
        0x80000000, 0, 0, 0, 0, 0, 0, 256,
    };
    EIGHT_ROUNDS(0);
    EIGHT_ROUNDS(8);
    EXPAND_ALL();
    EIGHT_ROUNDS(16);
    EIGHT_ROUNDS(24);
    EXPAND_ALL();
    EIGHT_ROUNDS(32);
    EIGHT_ROUNDS(40);
    EXPAND_ALL();
    EIGHT_ROUNDS(48);
    EIGHT_ROUNDS(56);
    store(digest, a + sha256_initial[0]);
    store(digest + 4, b + sha256_initial[1]);
    store(digest + 8, c + sha256_initial[2]);
    store(digest + 12, d + sha256_initial[3]);
    store(digest + 16, e + sha256_initial[4]);
    store(digest + 20, f + sha256_initial[5]);
    store(digest + 24, g + sha256_initial[6]);
    store(digest + 28, h + sha256_initial[7]);
}

void sha256_portable(const uint8_t *const *messages, uint8_t *digests, size_t count) {
    for (size_t i = 0; i < count; i++)
        hash(messages[i], digests + 32 * i);
}
