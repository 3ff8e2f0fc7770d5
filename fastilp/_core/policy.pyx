"""Limits of an account: token buckets (docs/data-path.md, "Token buckets"), the largest packet to
it, and where it may pay to (docs/policies.md). May import counter."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from fastilp._core.counter cimport bucket_fill, bucket_refill, bucket_t


cdef bint _limit(bucket_t* bucket, bint limited, object limit, int64_t now_ms) except -1:
    if limit is None:
        return False
    if limited:
        bucket_refill(bucket, now_ms)
        bucket.limit = limit
        bucket_refill(bucket, now_ms)
    else:
        bucket.filled_at_ms = now_ms
        bucket_fill(bucket, limit)
    return True


cdef int _need_limits(Policy* policy) except -1:
    if policy.limits == NULL:
        policy.limits = <Limits*>calloc(1, sizeof(Limits))
        if policy.limits == NULL:
            raise MemoryError()
        policy.limits.max_packet_amount_out = <uint64_t>-1
    return 0


cdef int policy_limit_packets(Policy* policy, object limit, int64_t now_ms) except -1:
    _need_limits(policy)
    policy.packets_limited = _limit(&policy.limits.packets, policy.packets_limited, limit, now_ms)
    return 0


cdef int policy_limit_amounts(Policy* policy, object limit, int64_t now_ms) except -1:
    _need_limits(policy)
    policy.amounts_limited = _limit(&policy.limits.amounts, policy.amounts_limited, limit, now_ms)
    return 0


cdef int policy_limit_amounts_out(Policy* policy, object limit, int64_t now_ms) except -1:
    _need_limits(policy)
    policy.limits.amounts_out_limited = _limit(
        &policy.limits.amounts_out, policy.limits.amounts_out_limited, limit, now_ms
    )
    return 0


cdef int policy_limit_packet_amount_out(Policy* policy, object limit) except -1:
    _need_limits(policy)
    policy.limits.max_packet_amount_out = <uint64_t>-1 if limit is None else limit
    return 0


cdef int policy_limit_destinations(Policy* policy, object prefixes) except -1:
    cdef bytes packed
    cdef uint8_t* copy = NULL
    _need_limits(policy)
    if prefixes is not None:
        packed = b"".join(
            len(prefix).to_bytes(2, "little") + prefix for prefix in prefixes
        )
        copy = <uint8_t*>malloc(len(packed) or 1)
        if copy == NULL:
            raise MemoryError()
        memcpy(copy, PyBytes_AS_STRING(packed), len(packed))
        policy.limits.destinations_size = len(packed)
    free(policy.limits.destinations)
    policy.limits.destinations = copy
    policy.limits.destinations_limited = prefixes is not None
    return 0


cdef bint policy_is_restricted(const Policy* policy) noexcept nogil:
    return policy.limits != NULL and (
        policy.limits.amounts_out_limited or policy.limits.destinations_limited
        or policy.limits.max_packet_amount_out != <uint64_t>-1
    )


cdef bint policy_allows(
    const Policy* policy, const uint8_t* address, size_t size
) noexcept nogil:
    cdef const uint8_t* at
    cdef const uint8_t* end
    cdef size_t prefix_size
    if policy.limits == NULL or not policy.limits.destinations_limited:
        return True
    at = policy.limits.destinations
    end = at + policy.limits.destinations_size
    while at < end:
        prefix_size = at[0] | <size_t>at[1] << 8
        at += 2
        if prefix_size <= size and memcmp(at, address, prefix_size) == 0 and (
            prefix_size == 0 or prefix_size == size or address[prefix_size] == c"."
        ):
            return True
        at += prefix_size
    return False


cdef void policy_free(Policy* policy) noexcept nogil:
    if policy.limits != NULL:
        free(policy.limits.destinations)
    free(policy.limits)
