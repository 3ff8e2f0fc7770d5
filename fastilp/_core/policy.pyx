"""Rate limits of an account as token buckets (docs/data-path.md, "Token buckets"). May import
counter."""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

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


cdef int _need_buckets(Policy* policy) except -1:
    if policy.buckets == NULL:
        policy.buckets = <Buckets*>calloc(1, sizeof(Buckets))
        if policy.buckets == NULL:
            raise MemoryError()
    return 0


cdef int policy_limit_packets(Policy* policy, object limit, int64_t now_ms) except -1:
    _need_buckets(policy)
    policy.packets_limited = _limit(
        &policy.buckets.packets, policy.packets_limited, limit, now_ms
    )
    return 0


cdef int policy_limit_amounts(Policy* policy, object limit, int64_t now_ms) except -1:
    _need_buckets(policy)
    policy.amounts_limited = _limit(
        &policy.buckets.amounts, policy.amounts_limited, limit, now_ms
    )
    return 0


cdef void policy_free(Policy* policy) noexcept nogil:
    free(policy.buckets)
