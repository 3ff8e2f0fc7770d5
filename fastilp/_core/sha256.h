/* Kernels of condition.pyx: SHA-256 of messages of exactly 32 bytes, one small file for each
   instruction set. A kernel hashes `count` messages into `digests`, 32 bytes each, and knows
   whether this machine can run it. */
#ifndef FASTILP_SHA256_H
#define FASTILP_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef void (*sha256_kernel)(const uint8_t *const *messages, uint8_t *digests, size_t count);

void sha256_portable(const uint8_t *const *messages, uint8_t *digests, size_t count);

int sha256_ni_available(void);
void sha256_ni(const uint8_t *const *messages, uint8_t *digests, size_t count);

/* Initial state and round constants (FIPS 180-4, 5.3.3 and 4.2.2). */
extern const uint32_t sha256_initial[8];
extern const uint32_t sha256_constants[64];

#endif
