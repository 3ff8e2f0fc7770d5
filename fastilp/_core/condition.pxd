# SHA-256 of 32-byte fulfillments, for a column of rows at a time (RFC 27: condition =
# SHA-256(fulfillment)).

from libc.stdint cimport uint8_t

# matches[i] = 1 iff SHA-256(fulfillments[i][0:32]) == conditions[i][0:32], for i < count.
cdef void condition_check(
    const uint8_t** fulfillments, const uint8_t** conditions, uint8_t* matches, size_t count
) noexcept nogil
