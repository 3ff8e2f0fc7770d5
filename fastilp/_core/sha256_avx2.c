/* SHA-256 of eight messages of 32 bytes at a time in the lanes of AVX2 (Intel from Haswell on, AMD
   from Excavator on). On other architectures it is never available. */

#include "sha256.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

enum { LANES = 8 };

#define VECTOR __m256i
#define TARGET __attribute__((target("avx2")))
#define ADD(x, y) _mm256_add_epi32(x, y)
#define SET(word) _mm256_set1_epi32((int)(word))
#define SHIFT(x, n) _mm256_srli_epi32(x, n)
#define ROTATE(x, n) _mm256_or_si256(_mm256_srli_epi32(x, n), _mm256_slli_epi32(x, 32 - (n)))
#define XOR(x, y) _mm256_xor_si256(x, y)
#define XOR3(x, y, z) XOR(XOR(x, y), z)
#define CHOOSE(x, y, z) XOR(z, _mm256_and_si256(x, XOR(y, z)))
#define MAJORITY(x, y, z) XOR(y, _mm256_and_si256(XOR(x, y), XOR(y, z)))

#include "sha256_lanes.h"

int sha256_avx2_available(void) {
    /* The compiler's own look at CPUID, with XGETBV for whether the system saves the vectors. */
    return __builtin_cpu_supports("avx2") != 0;
}

TARGET static inline void lanes_gather(const uint8_t *const *strings, VECTOR *words) {
    const VECTOR swap = _mm256_broadcastsi128_si256(
        _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
    VECTOR s[LANES], pairs[LANES], quads[LANES];
    for (int i = 0; i < LANES; i++)
        s[i] = _mm256_shuffle_epi8(_mm256_loadu_si256((const VECTOR *)strings[i]), swap);
    for (int i = 0; i < LANES; i += 2) {
        pairs[i] = _mm256_unpacklo_epi32(s[i], s[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(s[i], s[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4) {
        quads[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
        quads[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
        quads[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        quads[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        words[i] = _mm256_permute2x128_si256(quads[i], quads[i + 4], 0x20);
        words[i + 4] = _mm256_permute2x128_si256(quads[i], quads[i + 4], 0x31);
    }
}

TARGET static inline unsigned lanes_equal(const VECTOR *words, const VECTOR *others) {
    VECTOR difference = _mm256_setzero_si256();
    for (int i = 0; i < 8; i++)
        difference = _mm256_or_si256(difference, XOR(words[i], others[i]));
    difference = _mm256_cmpeq_epi32(difference, _mm256_setzero_si256());
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(difference));
}

TARGET void sha256_avx2(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    lanes_check_column(messages, conditions, matches, count);
}

#else

int sha256_avx2_available(void) {
    return 0;
}

void sha256_avx2(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    sha256_portable(messages, conditions, matches, count);
}

#endif
