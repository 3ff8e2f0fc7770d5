# What one account may send: packet size and the two token buckets. Pure functions over a record.

from libc.stdint cimport int64_t, uint64_t

from fastilp._core.counter cimport bucket_give_back, bucket_t, bucket_take


cdef struct Policy:
    uint64_t max_packet_amount
    bint packets_limited
    bint amounts_limited
    bucket_t packets
    bucket_t amounts


cdef inline bint policy_takes_packet(Policy* policy, int64_t now_ms) noexcept nogil:
    return not policy.packets_limited or bucket_take(&policy.packets, 1, now_ms)


cdef inline bint policy_takes_amount(
    Policy* policy, uint64_t amount, int64_t now_ms
) noexcept nogil:
    return bucket_take(&policy.amounts, amount, now_ms)


cdef inline void policy_gives_back(Policy* policy, uint64_t amount, int64_t now_ms) noexcept nogil:
    if policy.amounts_limited:
        bucket_give_back(&policy.amounts, amount, now_ms)


# `limit` None lifts the limit. A bucket that was there before keeps its level, at most the new
# capacity.
cdef int policy_limit_packets(Policy* policy, object limit, int64_t now_ms) except -1
cdef int policy_limit_amounts(Policy* policy, object limit, int64_t now_ms) except -1
