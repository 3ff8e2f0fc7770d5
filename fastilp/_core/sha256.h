/* Kernels of condition.pyx: SHA-256 of messages of exactly 32 bytes against the digests they should
   have, one small file for each instruction set. matches[i] becomes 1 where SHA-256(messages[i]) is
   conditions[i] and 0 elsewhere, for i < count. A kernel takes columns of any height, and knows
   whether this processor and this system can run it. */
#ifndef FASTILP_SHA256_H
#define FASTILP_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef void (*sha256_kernel)(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count);

void sha256_portable(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count);

int sha256_ni_available(void);
void sha256_ni(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count);

int sha256_avx2_available(void);
void sha256_avx2(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count);

int sha256_avx512_available(void);
/* Whether this processor computes 512 bits in two halves, so that the SHA extensions are faster. */
int sha256_avx512_halved(void);
void sha256_avx512(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count);

/* Initial state and round constants (FIPS 180-4, 5.3.3 and 4.2.2): here, and not in one of the
   kernels, so that each is compiled with their values. */
static const uint32_t sha256_initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Behind a message of 32 bytes its block holds a one bit, zeros and the length in bits (5.1.1).
   These are the words that are not zero. */
#define SHA256_WORD_8 0x80000000u
#define SHA256_WORD_15 256u

#endif
