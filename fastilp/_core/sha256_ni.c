/* SHA-256 of messages of 32 bytes with the SHA extensions of x86-64 (Intel from Goldmont and Ice
   Lake on, AMD from Zen on), two at a time: each waits for its own last instruction, so two take
   hardly longer than one. On other architectures it is never available. */

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

/* Two messages, x and y. The instructions want the state as ABEF and CDGH, A and C in the highest
   word; w are sixteen words of the schedule, four to a vector. */
typedef struct {
    __m128i abef_x, cdgh_x, abef_y, cdgh_y, w_x[4], w_y[4];
} pair;

/* Four rounds: the instruction does two, with the constants and words in the low half. */
#define FOUR_ROUNDS(k_x, k_y)                                                                   \
    do {                                                                                        \
        __m128i x = (k_x), y = (k_y);                                                           \
        p.cdgh_x = _mm_sha256rnds2_epu32(p.cdgh_x, p.abef_x, x);                                \
        p.cdgh_y = _mm_sha256rnds2_epu32(p.cdgh_y, p.abef_y, y);                                \
        p.abef_x = _mm_sha256rnds2_epu32(p.abef_x, p.cdgh_x, _mm_shuffle_epi32(x, 0x0E));       \
        p.abef_y = _mm_sha256rnds2_epu32(p.abef_y, p.cdgh_y, _mm_shuffle_epi32(y, 0x0E));       \
    } while (0)

#define CONSTANTS(i) _mm_loadu_si128((const __m128i *)(sha256_constants + (i)))
#define SCHEDULED(w, i) _mm_add_epi32((w)[(i) / 4 & 3], CONSTANTS(i))
#define FOUR_SCHEDULED(i) FOUR_ROUNDS(SCHEDULED(p.w_x, i), SCHEDULED(p.w_y, i))

/* Rounds 8 to 15 add words that are the same for all messages. */
#define FOUR_FIXED(first, last, i)                                                              \
    do {                                                                                        \
        const __m128i k = _mm_setr_epi32(                                                       \
            (int)(sha256_constants[i] + (first)), (int)sha256_constants[(i) + 1],               \
            (int)sha256_constants[(i) + 2], (int)(sha256_constants[(i) + 3] + (last)));         \
        FOUR_ROUNDS(k, k);                                                                      \
    } while (0)

/* The next four words of the schedule in place of words[i], from the sixteen before them. */
#define EXPAND(words, i)                                                                        \
    words[i] = _mm_sha256msg2_epu32(                                                            \
        _mm_add_epi32(                                                                          \
            _mm_sha256msg1_epu32(words[i], words[((i) + 1) & 3]),                               \
            _mm_alignr_epi8(words[((i) + 3) & 3], words[((i) + 2) & 3], 4)),                    \
        words[((i) + 3) & 3])

#define EXPANDED_ROUNDS(i)            \
    EXPAND(p.w_x, (i) / 4 & 3);       \
    EXPAND(p.w_y, (i) / 4 & 3);       \
    FOUR_SCHEDULED(i)

#define SIXTEEN_ROUNDS(i)             \
    EXPANDED_ROUNDS(i);               \
    EXPANDED_ROUNDS((i) + 4);         \
    EXPANDED_ROUNDS((i) + 8);         \
    EXPANDED_ROUNDS((i) + 12)

#define SWAP _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL)
#define LOAD(bytes) _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(bytes)), SWAP)
#define INITIAL(i, j, k, l)                                                                     \
    _mm_setr_epi32(                                                                             \
        (int)sha256_initial[i], (int)sha256_initial[j], (int)sha256_initial[k],                 \
        (int)sha256_initial[l])

TARGET static inline uint8_t matches_state(__m128i abef, __m128i cdgh, const uint8_t *condition) {
    __m128i feba = _mm_shuffle_epi32(_mm_add_epi32(abef, INITIAL(5, 4, 1, 0)), 0x1B);
    __m128i dchg = _mm_shuffle_epi32(_mm_add_epi32(cdgh, INITIAL(7, 6, 3, 2)), 0xB1);
    __m128i low = _mm_cmpeq_epi32(_mm_blend_epi16(feba, dchg, 0xF0), LOAD(condition));
    __m128i high = _mm_cmpeq_epi32(_mm_alignr_epi8(dchg, feba, 8), LOAD(condition + 16));
    return _mm_movemask_epi8(_mm_and_si128(low, high)) == 0xFFFF;
}

TARGET static inline void check_two(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches) {
    pair p;
    p.abef_x = p.abef_y = INITIAL(5, 4, 1, 0);
    p.cdgh_x = p.cdgh_y = INITIAL(7, 6, 3, 2);
    p.w_x[0] = LOAD(messages[0]);
    p.w_y[0] = LOAD(messages[1]);
    FOUR_SCHEDULED(0);
    p.w_x[1] = LOAD(messages[0] + 16);
    p.w_y[1] = LOAD(messages[1] + 16);
    FOUR_SCHEDULED(4);
    p.w_x[2] = p.w_y[2] = _mm_setr_epi32((int)SHA256_WORD_8, 0, 0, 0);
    FOUR_FIXED(SHA256_WORD_8, 0, 8);
    p.w_x[3] = p.w_y[3] = _mm_setr_epi32(0, 0, 0, (int)SHA256_WORD_15);
    FOUR_FIXED(0, SHA256_WORD_15, 12);
    SIXTEEN_ROUNDS(16);
    SIXTEEN_ROUNDS(32);
    SIXTEEN_ROUNDS(48);
    matches[0] = matches_state(p.abef_x, p.cdgh_x, conditions[0]);
    matches[1] = matches_state(p.abef_y, p.cdgh_y, conditions[1]);
}

TARGET void sha256_ni(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    for (; count >= 2; count -= 2) {
        check_two(messages, conditions, matches);
        messages += 2;
        conditions += 2;
        matches += 2;
    }
    if (count != 0) {
        const uint8_t *two_messages[2] = {messages[0], messages[0]};
        const uint8_t *two_conditions[2] = {conditions[0], conditions[0]};
        uint8_t two_matches[2];
        check_two(two_messages, two_conditions, two_matches);
        matches[0] = two_matches[0];
    }
}

#else

int sha256_ni_available(void) {
    return 0;
}

void sha256_ni(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    sha256_portable(messages, conditions, matches, count);
}

#endif
