# What one account may send and get: packet sizes, token buckets, destinations. Pure functions over
# a record.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastilp._core.counter cimport bucket_give_back, bucket_t, bucket_take


cdef struct Limits:
    bucket_t packets
    bucket_t amounts
    # The rest is asked only of ways that are marked WAY_RESTRICTED.
    bucket_t amounts_out
    uint64_t max_packet_amount_out
    uint8_t amounts_out_limited
    uint8_t destinations_limited
    # Prefixes that the account may pay to: for each its size in 16 bits, then its characters.
    uint8_t* destinations
    uint32_t destinations_size


cdef struct Policy:
    uint64_t max_packet_amount
    Limits* limits                  # NULL before there is one
    uint8_t packets_limited
    uint8_t amounts_limited


cdef inline bint policy_takes_packet(Policy* policy, int64_t now_ms) noexcept nogil:
    return not policy.packets_limited or bucket_take(&policy.limits.packets, 1, now_ms)


cdef inline bint policy_takes_amount(
    Policy* policy, uint64_t amount, int64_t now_ms
) noexcept nogil:
    return bucket_take(&policy.limits.amounts, amount, now_ms)


cdef inline void policy_gives_back(Policy* policy, uint64_t amount, int64_t now_ms) noexcept nogil:
    if policy.amounts_limited:
        bucket_give_back(&policy.limits.amounts, amount, now_ms)


cdef inline void policy_gives_back_out(
    Policy* policy, uint64_t amount, int64_t now_ms
) noexcept nogil:
    if policy.limits != NULL and policy.limits.amounts_out_limited:
        bucket_give_back(&policy.limits.amounts_out, amount, now_ms)


# Whether the account may pay to an address: one of its prefixes matches whole segments of it.
cdef bint policy_allows(
    const Policy* policy, const uint8_t* address, size_t size
) noexcept nogil

# `limit` None lifts the limit. A bucket that was there before keeps its level, at most the new
# capacity.
cdef int policy_limit_packets(Policy* policy, object limit, int64_t now_ms) except -1
cdef int policy_limit_amounts(Policy* policy, object limit, int64_t now_ms) except -1
cdef int policy_limit_amounts_out(Policy* policy, object limit, int64_t now_ms) except -1
cdef int policy_limit_packet_amount_out(Policy* policy, object limit) except -1
# `prefixes`: bytes of each, valid ones; None = all destinations.
cdef int policy_limit_destinations(Policy* policy, object prefixes) except -1
cdef bint policy_is_restricted(const Policy* policy) noexcept nogil
cdef void policy_free(Policy* policy) noexcept nogil
