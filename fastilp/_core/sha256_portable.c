/* SHA-256 (FIPS 180-4) of one message of 32 bytes at a time, in plain C.
   Message, padding and length fill exactly one block, so nothing is buffered. */

#include "sha256.h"

#include <string.h>

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
        SHA256_WORD_8, 0, 0, 0, 0, 0, 0, SHA256_WORD_15,
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

void sha256_portable(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    uint8_t digest[32];
    for (size_t i = 0; i < count; i++) {
        hash(messages[i], digest);
        matches[i] = memcmp(digest, conditions[i], sizeof digest) == 0;
    }
}
