/* SHA-256 of as many messages of 32 bytes as a vector has lanes of 32 bits: word i of every message
   is in vector i. Included by the kernels that have such vectors, after they defined VECTOR,
   TARGET, LANES and, for vectors, ADD(x, y), SET(word), SHIFT(x, n) and ROTATE(x, n) to the right,
   XOR3(x, y, z), CHOOSE(x, y, z) and MAJORITY(x, y, z) (FIPS 180-4, 4.1.2). They define the two
   functions that are declared here.

   The second half of the block is the same for all messages: rounds 8 to 15 add no word, only a
   constant, and the first expansion of the schedule leaves out what is zero. */

/* words[i] = word i of each of the strings, most significant byte first */
TARGET static inline void lanes_gather(const uint8_t *const *strings, VECTOR *words);
/* Bit i: lane i is the same in all eight words. */
TARGET static inline unsigned lanes_equal(const VECTOR *words, const VECTOR *others);

#define LARGE_0(x) XOR3(ROTATE(x, 2), ROTATE(x, 13), ROTATE(x, 22))
#define LARGE_1(x) XOR3(ROTATE(x, 6), ROTATE(x, 11), ROTATE(x, 25))
#define SMALL_0(x) XOR3(ROTATE(x, 7), ROTATE(x, 18), SHIFT(x, 3))
#define SMALL_1(x) XOR3(ROTATE(x, 17), ROTATE(x, 19), SHIFT(x, 10))

/* The same of a word that is known when this is compiled. */
#define WORD_ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define WORD_SMALL_0(x) (WORD_ROTATE(x, 7) ^ WORD_ROTATE(x, 18) ^ (x) >> 3)
#define WORD_SMALL_1(x) (WORD_ROTATE(x, 17) ^ WORD_ROTATE(x, 19) ^ (x) >> 10)

/* One round; instead of moving the eight variables along, the caller renames them. */
#define ROUND(a, b, c, d, e, f, g, h, addend)                            \
    do {                                                                 \
        VECTOR t = ADD(ADD(h, addend), ADD(LARGE_1(e), CHOOSE(e, f, g)));\
        d = ADD(d, t);                                                   \
        h = ADD(t, ADD(LARGE_0(a), MAJORITY(a, b, c)));                  \
    } while (0)

#define EIGHT_ROUNDS(addend, i)                      \
    ROUND(a, b, c, d, e, f, g, h, addend(i));        \
    ROUND(h, a, b, c, d, e, f, g, addend((i) + 1));  \
    ROUND(g, h, a, b, c, d, e, f, addend((i) + 2));  \
    ROUND(f, g, h, a, b, c, d, e, addend((i) + 3));  \
    ROUND(e, f, g, h, a, b, c, d, addend((i) + 4));  \
    ROUND(d, e, f, g, h, a, b, c, addend((i) + 5));  \
    ROUND(c, d, e, f, g, h, a, b, addend((i) + 6));  \
    ROUND(b, c, d, e, f, g, h, a, addend((i) + 7))

/* What rounds add: constant and word of the schedule, or a constant that contains the word. */
#define SCHEDULED(i) ADD(SET(sha256_constants[i]), w[(i) & 15])
#define FIXED(i)                                                                             \
    SET(sha256_constants[i] + ((i) == 8 ? SHA256_WORD_8 : (i) == 15 ? SHA256_WORD_15 : 0))

#define EXPAND(i)                                                                           \
    w[i] = ADD(                                                                             \
        ADD(w[i], SMALL_0(w[((i) + 1) & 15])),                                              \
        ADD(w[((i) + 9) & 15], SMALL_1(w[((i) + 14) & 15])))

#define EXPAND_ALL()                                                                        \
    EXPAND(0); EXPAND(1); EXPAND(2); EXPAND(3); EXPAND(4); EXPAND(5); EXPAND(6); EXPAND(7); \
    EXPAND(8); EXPAND(9); EXPAND(10); EXPAND(11); EXPAND(12); EXPAND(13); EXPAND(14); EXPAND(15)

/* Words 16 to 31 from words 0 to 7 and the constant half of the block. */
#define EXPAND_FIRST()                                                                   \
    w[0] = ADD(w[0], SMALL_0(w[1]));                                                     \
    w[1] = ADD(ADD(w[1], SMALL_0(w[2])), SET(WORD_SMALL_1(SHA256_WORD_15)));             \
    w[2] = ADD(ADD(w[2], SMALL_0(w[3])), SMALL_1(w[0]));                                 \
    w[3] = ADD(ADD(w[3], SMALL_0(w[4])), SMALL_1(w[1]));                                 \
    w[4] = ADD(ADD(w[4], SMALL_0(w[5])), SMALL_1(w[2]));                                 \
    w[5] = ADD(ADD(w[5], SMALL_0(w[6])), SMALL_1(w[3]));                                 \
    w[6] = ADD(ADD(w[6], SMALL_0(w[7])), ADD(SET(SHA256_WORD_15), SMALL_1(w[4])));       \
    w[7] = ADD(ADD(w[7], w[0]), ADD(SET(WORD_SMALL_0(SHA256_WORD_8)), SMALL_1(w[5])));   \
    w[8] = ADD(ADD(SET(SHA256_WORD_8), w[1]), SMALL_1(w[6]));                            \
    w[9] = ADD(w[2], SMALL_1(w[7]));                                                     \
    w[10] = ADD(w[3], SMALL_1(w[8]));                                                    \
    w[11] = ADD(w[4], SMALL_1(w[9]));                                                    \
    w[12] = ADD(w[5], SMALL_1(w[10]));                                                   \
    w[13] = ADD(w[6], SMALL_1(w[11]));                                                   \
    w[14] = ADD(ADD(w[7], SET(WORD_SMALL_0(SHA256_WORD_15))), SMALL_1(w[12]));           \
    w[15] = ADD(ADD(w[8], SMALL_0(w[0])), ADD(SET(SHA256_WORD_15), SMALL_1(w[13])))

/* words[0..7] are the messages, and become their digests. */
TARGET static inline void lanes_hash(VECTOR *words) {
    VECTOR a = SET(sha256_initial[0]), b = SET(sha256_initial[1]), c = SET(sha256_initial[2]);
    VECTOR d = SET(sha256_initial[3]), e = SET(sha256_initial[4]), f = SET(sha256_initial[5]);
    VECTOR g = SET(sha256_initial[6]), h = SET(sha256_initial[7]);
    VECTOR w[16];
    for (int i = 0; i < 8; i++)
        w[i] = words[i];
    EIGHT_ROUNDS(SCHEDULED, 0);
    EIGHT_ROUNDS(FIXED, 8);
    EXPAND_FIRST();
    EIGHT_ROUNDS(SCHEDULED, 16);
    EIGHT_ROUNDS(SCHEDULED, 24);
    EXPAND_ALL();
    EIGHT_ROUNDS(SCHEDULED, 32);
    EIGHT_ROUNDS(SCHEDULED, 40);
    EXPAND_ALL();
    EIGHT_ROUNDS(SCHEDULED, 48);
    EIGHT_ROUNDS(SCHEDULED, 56);
    words[0] = ADD(a, SET(sha256_initial[0]));
    words[1] = ADD(b, SET(sha256_initial[1]));
    words[2] = ADD(c, SET(sha256_initial[2]));
    words[3] = ADD(d, SET(sha256_initial[3]));
    words[4] = ADD(e, SET(sha256_initial[4]));
    words[5] = ADD(f, SET(sha256_initial[5]));
    words[6] = ADD(g, SET(sha256_initial[6]));
    words[7] = ADD(h, SET(sha256_initial[7]));
}

TARGET static inline unsigned lanes_check(
    const uint8_t *const *messages, const uint8_t *const *conditions) {
    VECTOR digests[8], wanted[8];
    lanes_gather(messages, digests);
    lanes_hash(digests);
    lanes_gather(conditions, wanted);
    return lanes_equal(digests, wanted);
}

/* A column of any height. Lanes beyond its end repeat its last row. */
TARGET static inline void lanes_check_column(
    const uint8_t *const *messages, const uint8_t *const *conditions, uint8_t *matches,
    size_t count) {
    const uint8_t *last_messages[LANES], *last_conditions[LANES];
    while (count != 0) {
        size_t lanes = count < LANES ? count : LANES;
        if (lanes < LANES) {
            for (size_t i = 0; i < LANES; i++) {
                last_messages[i] = messages[i < lanes ? i : lanes - 1];
                last_conditions[i] = conditions[i < lanes ? i : lanes - 1];
            }
            messages = last_messages;
            conditions = last_conditions;
        }
        unsigned equal = lanes_check(messages, conditions);
        for (size_t i = 0; i < lanes; i++)
            matches[i] = equal >> i & 1;
        messages += lanes;
        conditions += lanes;
        matches += lanes;
        count -= lanes;
    }
}
