# Declarations of counter.h, where 128-bit arithmetic lives. Imports nothing.

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "counter.h" nogil:
    ctypedef struct counter_t:
        uint64_t low
        uint64_t high

    ctypedef struct ratio_t:
        counter_t numerator
        counter_t denominator

    ctypedef struct bucket_t:
        counter_t level
        uint64_t limit
        int64_t filled_at_ms

    void counter_add(counter_t* counter, uint64_t amount)
    int counter_sub_checked(counter_t* counter, uint64_t amount)
    void counter_add_wide(counter_t* counter, const counter_t* amount)
    void counter_replace_part(counter_t* sum, counter_t* was, const counter_t* now)
    bint counter_is_zero(const counter_t* counter)
    bint counter_equal(const counter_t* a, const counter_t* b)
    void counter_store(uint8_t* out, const counter_t* counter)
    void counter_load(counter_t* counter, const uint8_t* record)
    bint counter_floor_holds(
        const counter_t* credits_posted, const counter_t* debits_posted,
        const counter_t* debits_pending, uint64_t amount, const counter_t* floor)
    bint counter_ceiling_holds(
        const counter_t* credits_posted, const counter_t* credits_pending,
        const counter_t* debits_posted, uint64_t amount, const counter_t* ceiling)
    bint counter_in_flight_holds(
        const counter_t* posted, const counter_t* pending, const counter_t* durable,
        uint64_t amount, uint64_t maximum)
    uint64_t counter_prepaid_share(
        const counter_t* posted, const counter_t* pending, uint64_t amount)
    uint64_t counter_settle_amount(
        const counter_t* credits_posted, const counter_t* debits_posted,
        const counter_t* debits_pending, const counter_t* prepaid_posted,
        const counter_t* prepaid_pending, const counter_t* threshold, const counter_t* settle_to)

    bint ratio_apply(uint64_t amount, const ratio_t* ratio, uint64_t* result)

    void bucket_fill(bucket_t* bucket, uint64_t limit)
    void bucket_refill(bucket_t* bucket, int64_t now_ms)
    bint bucket_take(bucket_t* bucket, uint64_t tokens, int64_t now_ms)
    void bucket_give_back(bucket_t* bucket, uint64_t tokens, int64_t now_ms)


cdef inline object counter_unsigned(const counter_t* counter):
    return (<object>counter.high << 64) | <object>counter.low


cdef inline int counter_from_int(counter_t* counter, object value) except -1:
    """`value` in two's complement; OverflowError beyond 128 bits."""
    if not -(1 << 127) <= value < (1 << 128):
        raise OverflowError(f"{value} does not fit 128 bits")
    counter.low = <uint64_t>(value & 0xFFFF_FFFF_FFFF_FFFF)
    counter.high = <uint64_t>((value >> 64) & 0xFFFF_FFFF_FFFF_FFFF)
    return 0
