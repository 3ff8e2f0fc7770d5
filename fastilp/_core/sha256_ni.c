/* SHA-256 of messages of 32 bytes with the SHA extensions of x86-64 (Intel from Goldmont and Ice
   Lake on, AMD from Zen on). On other architectures it is never available. */

#include "sha256.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))

int sha256_ni_available(void) {
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

/* Words 4i..4i+3 of the message schedule from the sixteen before them. */
#define EXPAND(w0, w1, w2, w3)                                                                  \
    w0 = _mm_sha256msg2_epu32(                                                                  \
        _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3)

/* Four rounds: the instruction does two, with the constants and words in the low half. */
#define FOUR_ROUNDS(w, i)                                                                       \
    do {                                                                                        \
        __m128i k = _mm_add_epi32(w, _mm_loadu_si128((const __m128i *)(sha256_constants + (i)))); \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);                                            \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0E));                   \
    } while (0)

#define SIXTEEN_ROUNDS(i)        \
    FOUR_ROUNDS(w0, (i));        \
    FOUR_ROUNDS(w1, (i) + 4);    \
    FOUR_ROUNDS(w2, (i) + 8);    \
    FOUR_ROUNDS(w3, (i) + 12)

#define EXPAND_ALL()             \
    EXPAND(w0, w1, w2, w3);      \
    EXPAND(w1, w2, w3, w0);      \
    EXPAND(w2, w3, w0, w1);      \
    EXPAND(w3, w0, w1, w2)

TARGET static void hash(const uint8_t *message, uint8_t *digest) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    /* The instructions want the state as ABEF and CDGH, A and C in the highest word. */
    const __m128i abef_initial = _mm_setr_epi32(
        (int)sha256_initial[5], (int)sha256_initial[4], (int)sha256_initial[1],
        (int)sha256_initial[0]);
    const __m128i cdgh_initial = _mm_setr_epi32(
        (int)sha256_initial[7], (int)sha256_initial[6], (int)sha256_initial[3],
        (int)sha256_initial[2]);
    __m128i abef = abef_initial, cdgh = cdgh_initial, feba, dchg;
    __m128i w0 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)message), swap);
    __m128i w1 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(message + 16)), swap);
    __m128i w2 = _mm_setr_epi32((int)0x80000000, 0, 0, 0);
    __m128i w3 = _mm_setr_epi32(0, 0, 0, 256);
    SIXTEEN_ROUNDS(0);
    EXPAND_ALL();
    SIXTEEN_ROUNDS(16);
    EXPAND_ALL();
    SIXTEEN_ROUNDS(32);
    EXPAND_ALL();
    SIXTEEN_ROUNDS(48);
    feba = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_initial), 0x1B);
    dchg = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_initial), 0xB1);
    _mm_storeu_si128(
        (__m128i *)digest, _mm_shuffle_epi8(_mm_blend_epi16(feba, dchg, 0xF0), swap));
    _mm_storeu_si128(
        (__m128i *)(digest + 16), _mm_shuffle_epi8(_mm_alignr_epi8(dchg, feba, 8), swap));
}

TARGET void sha256_ni(const uint8_t *const *messages, uint8_t *digests, size_t count) {
    for (size_t i = 0; i < count; i++)
        hash(messages[i], digests + 32 * i);
}

#else

int sha256_ni_available(void) {
    return 0;
}

void sha256_ni(const uint8_t *const *messages, uint8_t *digests, size_t count) {
    sha256_portable(messages, digests, count);
}

#endif
