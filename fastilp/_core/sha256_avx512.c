/* SHA-256 of sixteen messages of 32 bytes at a time in the lanes of AVX-512 (Intel from Skylake-SP
   on, AMD from Zen 4 on). On other architectures it is never available. */

#include "sha256.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <cpuid.h>
#include <immintrin.h>

enum { LANES = 16 };

#define VECTOR __m512i
#define TARGET __attribute__((target("avx512f,avx512bw")))
#define ADD(x, y) _mm512_add_epi32(x, y)
#define SET(word) _mm512_set1_epi32((int)(word))
#define SHIFT(x, n) _mm512_srli_epi32(x, n)
#define ROTATE(x, n) _mm512_ror_epi32(x, n)
/* Any function of three bits is one instruction, told by its truth table. */
#define XOR3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define CHOOSE(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xCA)
#define MAJORITY(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xE8)

#include "sha256_lanes.h"

int sha256_avx512_available(void) {
    /* The compiler's own look at CPUID, with XGETBV for whether the system saves the vectors. */
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

int sha256_avx512_halved(void) {
    /* Family 19h of AMD: Zen 4 is the one that has AVX-512. Measured there: 20 ns a row, and 18 by
       the SHA extensions. */
    unsigned int a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (a >> 8 & 0xF) + (a >> 20 & 0xFF) == 0x19;
}

/* Two strings in one vector, their bytes in the order of words. */
TARGET static inline VECTOR load(const uint8_t *low, const uint8_t *high) {
    const VECTOR swap = _mm512_broadcast_i32x4(
        _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
    VECTOR both = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)low));
    both = _mm512_inserti64x4(both, _mm256_loadu_si256((const __m256i *)high), 1);
    return _mm512_shuffle_epi8(both, swap);
}

/* quads[i], 128 bits at a time: word i of strings 0 to 3, word i + 4 of the same, then both of
   strings 4 to 7. */
TARGET static inline void gather_eight(const uint8_t *const *strings, VECTOR *quads) {
    VECTOR a = load(strings[0], strings[4]), b = load(strings[1], strings[5]);
    VECTOR c = load(strings[2], strings[6]), d = load(strings[3], strings[7]);
    VECTOR ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
    VECTOR cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
    quads[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
    quads[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
    quads[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
    quads[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

TARGET static inline void lanes_gather(const uint8_t *const *strings, VECTOR *words) {
    VECTOR low[4], high[4];
    gather_eight(strings, low);
    gather_eight(strings + 8, high);
    for (int i = 0; i < 4; i++) {
        words[i] = _mm512_shuffle_i32x4(low[i], high[i], 0x88);
        words[i + 4] = _mm512_shuffle_i32x4(low[i], high[i], 0xDD);
    }
}

TARGET static inline unsigned lanes_equal(const VECTOR *words, const VECTOR *others) {
    VECTOR difference = _mm512_setzero_si512();
    for (int i = 0; i < 8; i++)
        difference = _mm512_or_si512(difference, _mm512_xor_si512(words[i], others[i]));
    return _mm512_testn_epi32_mask(difference, difference);
}

TARGET void sha256_avx512(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    lanes_check_column(messages, conditions, matches, count);
}

#else

int sha256_avx512_available(void) {
    return 0;
}

int sha256_avx512_halved(void) {
    return 0;
}

void sha256_avx512(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    sha256_portable(messages, conditions, matches, count);
}

#endif
