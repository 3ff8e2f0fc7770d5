# What one account may send: packet size and the two token buckets. Pure functions over a record.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from fastilp._core.counter cimport bucket_give_back, bucket_t, bucket_take


cdef struct Buckets:
    bucket_t packets
    bucket_t amounts


cdef struct Policy:
    uint64_t max_packet_amount
    Buckets* buckets                # NULL before there is a limit
    uint8_t packets_limited
    uint8_t amounts_limited


cdef inline bint policy_takes_packet(Policy* policy, int64_t now_ms) noexcept nogil:
    return not policy.packets_limited or bucket_take(&policy.buckets.packets, 1, now_ms)


cdef inline bint policy_takes_amount(
    Policy* policy, uint64_t amount, int64_t now_ms
) noexcept nogil:
    return bucket_take(&policy.buckets.amounts, amount, now_ms)


cdef inline void policy_gives_back(Policy* policy, uint64_t amount, int64_t now_ms) noexcept nogil:
    if policy.amounts_limited:
        bucket_give_back(&policy.buckets.amounts, amount, now_ms)


# `limit` None lifts the limit. A bucket that was there before keeps its level, at most the new
# capacity.
cdef int policy_limit_packets(Policy* policy, object limit, int64_t now_ms) except -1
cdef int policy_limit_amounts(Policy* policy, object limit, int64_t now_ms) except -1
cdef void policy_free(Policy* policy) noexcept nogil
