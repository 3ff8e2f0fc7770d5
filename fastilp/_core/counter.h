/* The only place with 128-bit arithmetic: counters of money, exact ratios, token buckets, and the
 * product that a hash folds.
 *
 * Cython truncates `unsigned __int128` silently in inferred variables and in max(), so nothing
 * outside this file sees one: others hold two halves and call functions. Signed values (balances
 * and their limits) use the same two halves in two's complement. Includes nothing but
 * <stdint.h>. */
#ifndef FASTILP_COUNTER_H
#define FASTILP_COUNTER_H

#include <stdint.h>

typedef struct { uint64_t low, high; } counter_t;

_Static_assert(sizeof(counter_t) == 16, "as wide as the arithmetic");

typedef unsigned __int128 fastilp_u128;
typedef __int128 fastilp_i128;

/* Both halves of the product, one over the other. */
static inline uint64_t product_folded(uint64_t a, uint64_t b)
{
    fastilp_u128 product = (fastilp_u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline fastilp_u128 counter_value(const counter_t *c)
{
    return ((fastilp_u128)c->high << 64) | c->low;
}

static inline fastilp_i128 counter_signed(const counter_t *c)
{
    return (fastilp_i128)counter_value(c);
}

static inline void counter_assign(counter_t *c, fastilp_u128 value)
{
    c->low = (uint64_t)value;
    c->high = (uint64_t)(value >> 64);
}

static inline void counter_add(counter_t *c, uint64_t amount)
{
    counter_assign(c, counter_value(c) + amount);
}

/* 0, or -1 and no change if the counter is smaller than the amount. */
static inline int counter_sub_checked(counter_t *c, uint64_t amount)
{
    if (counter_value(c) < amount)
        return -1;
    counter_assign(c, counter_value(c) - amount);
    return 0;
}

static inline void counter_add_wide(counter_t *c, const counter_t *amount)
{
    counter_assign(c, counter_value(c) + counter_value(amount));
}

/* The sum of parts in which one changes: out with what it was, in with what it is. */
static inline void counter_replace_part(counter_t *sum, counter_t *was, const counter_t *is)
{
    counter_assign(sum, counter_value(sum) - counter_value(was) + counter_value(is));
    *was = *is;
}

static inline int counter_is_zero(const counter_t *c)
{
    return !(c->low | c->high);
}

static inline int counter_equal(const counter_t *a, const counter_t *b)
{
    return a->low == b->low && a->high == b->high;
}

/* Records hold 16 little-endian bytes, whatever the machine. */
/* Two loops, not one: only then compilers see that each is a single store of 8 bytes. */
static inline void counter_store(uint8_t *out, const counter_t *c)
{
    const uint64_t low = c->low, high = c->high;

    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(low >> (8 * i));
    for (int i = 0; i < 8; i++)
        out[i + 8] = (uint8_t)(high >> (8 * i));
}

static inline void counter_load(counter_t *c, const uint8_t *in)
{
    c->low = c->high = 0;
    for (int i = 7; i >= 0; i--) {
        c->low = (c->low << 8) | in[i];
        c->high = (c->high << 8) | in[i + 8];
    }
}

/* --- limits on money -------------------------------------------------------------------------- */

/* credits_posted - debits_posted - debits_pending - amount >= floor */
static inline int counter_floor_holds(
    const counter_t *credits_posted, const counter_t *debits_posted,
    const counter_t *debits_pending, uint64_t amount, const counter_t *floor)
{
    fastilp_i128 balance = (fastilp_i128)(counter_value(credits_posted)
        - counter_value(debits_posted) - counter_value(debits_pending));
    return balance - (fastilp_i128)amount >= counter_signed(floor);
}

/* credits_posted + credits_pending - debits_posted + amount <= ceiling */
static inline int counter_ceiling_holds(
    const counter_t *credits_posted, const counter_t *credits_pending,
    const counter_t *debits_posted, uint64_t amount, const counter_t *ceiling)
{
    fastilp_i128 highest = (fastilp_i128)(counter_value(credits_posted)
        + counter_value(credits_pending) - counter_value(debits_posted));
    return highest + (fastilp_i128)amount <= counter_signed(ceiling);
}

/* posted + pending - durable + amount <= maximum */
static inline int counter_in_flight_holds(
    const counter_t *posted, const counter_t *pending, const counter_t *durable,
    uint64_t amount, uint64_t maximum)
{
    fastilp_u128 held = counter_value(posted) + counter_value(pending) - counter_value(durable);
    return held + amount <= maximum;
}

/* min(posted - pending, amount): how much of an amount the free prepaid money covers. */
static inline uint64_t counter_prepaid_share(
    const counter_t *posted, const counter_t *pending, uint64_t amount)
{
    fastilp_u128 unused = counter_value(posted) - counter_value(pending);
    return unused < amount ? (uint64_t)unused : amount;
}

/* clearing >= threshold > settle_to ? clearing - settle_to (at most 2**64 - 1) : 0, where clearing
 * is the balance less the free prepaid money. */
static inline uint64_t counter_settle_amount(
    const counter_t *credits_posted, const counter_t *debits_posted,
    const counter_t *debits_pending, const counter_t *prepaid_posted,
    const counter_t *prepaid_pending,
    const counter_t *threshold, const counter_t *settle_to)
{
    fastilp_i128 clearing = (fastilp_i128)(counter_value(credits_posted)
        - counter_value(debits_posted) - counter_value(debits_pending)
        - counter_value(prepaid_posted) + counter_value(prepaid_pending));
    fastilp_i128 target = counter_signed(settle_to);
    if (clearing < counter_signed(threshold) || counter_signed(threshold) <= target)
        return 0;
    fastilp_i128 amount = clearing - target;
    return amount > (fastilp_i128)UINT64_MAX ? UINT64_MAX : (uint64_t)amount;
}

/* --- exact ratios ----------------------------------------------------------------------------- */

typedef struct { counter_t numerator, denominator; } ratio_t;

/* floor(amount * numerator / denominator) by long division, for ratios that do not fit 64 bits: the
 * quotient of a 192-bit product, one bit at a time. Returns 1 if it does not fit 64 bits. */
static inline int ratio_apply_wide(uint64_t amount, const ratio_t *ratio, uint64_t *result)
{
    fastilp_u128 low = (fastilp_u128)amount * ratio->numerator.low;
    fastilp_u128 high = (fastilp_u128)amount * ratio->numerator.high + (low >> 64);
    uint64_t lowest = (uint64_t)low;
    fastilp_u128 divisor = counter_value(&ratio->denominator), remainder = 0, quotient = 0;
    for (int bit = 191; bit >= 0; bit--) {
        int carry = (int)(remainder >> 127);
        uint64_t next = bit >= 64 ? (uint64_t)(high >> (bit - 64)) & 1 : (lowest >> bit) & 1;
        remainder = (remainder << 1) | next;
        if (quotient >> 127)
            return 1;
        quotient <<= 1;
        if (carry || remainder >= divisor) {
            remainder -= divisor;
            quotient |= 1;
        }
    }
    *result = (uint64_t)quotient;
    return quotient > UINT64_MAX;
}

/* floor(amount * numerator / denominator). Returns 1, and leaves `result`, if it does not fit 64
 * bits. */
static inline int ratio_apply(uint64_t amount, const ratio_t *ratio, uint64_t *result)
{
    if (ratio->numerator.high | ratio->denominator.high) {
        uint64_t wide = 0;
        if (ratio_apply_wide(amount, ratio, &wide))
            return 1;
        *result = wide;
        return 0;
    }
    fastilp_u128 product = (fastilp_u128)amount * ratio->numerator.low;
    if (!(product >> 64)) {
        *result = (uint64_t)product / ratio->denominator.low;
        return 0;
    }
    fastilp_u128 quotient = product / ratio->denominator.low;
    if (quotient >> 64)
        return 1;
    *result = (uint64_t)quotient;
    return 0;
}

/* --- token buckets ---------------------------------------------------------------------------- */

/* `limit` tokens per minute: the level is in units of 1/60,000 token, so that a millisecond refills
 * exactly `limit` of them and no rounding is ever lost. */
#define BUCKET_PERIOD_MS 60000

typedef struct { counter_t level; uint64_t limit; int64_t filled_at_ms; } bucket_t;

static inline void bucket_refill(bucket_t *bucket, int64_t now_ms)
{
    fastilp_u128 capacity = (fastilp_u128)bucket->limit * BUCKET_PERIOD_MS;
    fastilp_u128 level = counter_value(&bucket->level);
    int64_t elapsed_ms = now_ms - bucket->filled_at_ms;
    if (elapsed_ms > 0) {
        int64_t counted_ms = elapsed_ms < BUCKET_PERIOD_MS ? elapsed_ms : BUCKET_PERIOD_MS;
        level += (fastilp_u128)bucket->limit * (uint64_t)counted_ms;
        bucket->filled_at_ms = now_ms;
    }
    counter_assign(&bucket->level, level < capacity ? level : capacity);
}

static inline void bucket_fill(bucket_t *bucket, uint64_t limit)
{
    bucket->limit = limit;
    counter_assign(&bucket->level, (fastilp_u128)limit * BUCKET_PERIOD_MS);
}

/* 1 and the tokens are gone, or 0 and nothing changed but the refill. */
static inline int bucket_take(bucket_t *bucket, uint64_t tokens, int64_t now_ms)
{
    bucket_refill(bucket, now_ms);
    fastilp_u128 cost = (fastilp_u128)tokens * BUCKET_PERIOD_MS;
    if (counter_value(&bucket->level) < cost)
        return 0;
    counter_assign(&bucket->level, counter_value(&bucket->level) - cost);
    return 1;
}

static inline void bucket_give_back(bucket_t *bucket, uint64_t tokens, int64_t now_ms)
{
    fastilp_u128 given = (fastilp_u128)tokens * BUCKET_PERIOD_MS;
    counter_assign(&bucket->level, counter_value(&bucket->level) + given);
    bucket_refill(bucket, now_ms);
}

#endif
