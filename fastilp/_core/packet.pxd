# ILPv4 packets (RFC 27) as offsets into somebody else's buffer, and the few ways to write one.
# Offsets count from the first byte of the packet. Nothing here allocates, nothing raises.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastilp._core.address cimport address_prefix_read_valid, address_read_valid
from fastilp._core.timestamp cimport TimestampDay

cdef enum:
    PACKET_PREPARE = 12
    PACKET_FULFILL = 13
    PACKET_REJECT = 14
    # Behind the amount of a Prepare: 8 bytes of amount, 17 of expiry, then the condition.
    PREPARE_CONDITION_OFFSET = 25


cdef struct PrepareFields:
    uint64_t amount
    int64_t expires_at_ms       # Unix time
    uint32_t content            # the amount; expiry is 8 bytes behind it, condition 25
    uint32_t destination
    uint32_t destination_size
    uint32_t data
    uint32_t data_size
    uint32_t packet_size        # of the envelope; bytes behind it are not part of the packet
    uint32_t canonical          # 1: packet[:packet_size] may be relayed; 0: re-encode


cdef struct FulfillFields:
    uint32_t fulfillment        # 32 bytes
    uint32_t data
    uint32_t data_size
    uint32_t packet_size
    uint32_t canonical


cdef struct RejectFields:
    uint32_t code               # 3 bytes
    uint32_t triggered_by
    uint32_t triggered_by_size
    uint32_t message
    uint32_t message_size
    uint32_t data
    uint32_t data_size
    uint32_t packet_size
    uint32_t canonical


# Parse: 0, or the number of a fault (text by packet_fault_text). Never reads beyond `size`.
cdef int prepare_parse(const uint8_t* packet, size_t size, PrepareFields* fields) noexcept nogil
# The same for many: `day` is the caller's, zeros at first.
cdef int prepare_parse_next(
    const uint8_t* packet, size_t size, PrepareFields* fields, TimestampDay* day
) noexcept nogil
cdef int fulfill_parse(const uint8_t* packet, size_t size, FulfillFields* fields) noexcept nogil
cdef int reject_parse(const uint8_t* packet, size_t size, RejectFields* fields) noexcept nogil
cdef const char* packet_fault_text(int fault) noexcept nogil

# The second that was written last: packets of one batch expire within a few of them.
cdef struct ExpiryMemo:
    int64_t second              # Unix time; 0 = nothing yet
    uint8_t[14] digits          # YYYYMMDDHHmmSS


# Patch the two fields that a connector changes (RFC 27), in place.
cdef void prepare_patch(
    uint8_t* packet, uint32_t content, uint64_t amount, int64_t expires_at_ms, ExpiryMemo* memo
) noexcept nogil

# Write a canonical packet, return its size. `out` must have room: *_size() says how much.
cdef size_t prepare_size(size_t destination_size, size_t data_size) noexcept nogil
cdef size_t fulfill_size(size_t data_size) noexcept nogil
cdef size_t reject_size(
    size_t triggered_by_size, size_t message_size, size_t data_size
) noexcept nogil
cdef size_t prepare_write(
    uint8_t* out, uint64_t amount, int64_t expires_at_ms, const uint8_t* condition,
    const uint8_t* destination, size_t destination_size, const uint8_t* data, size_t data_size,
) noexcept nogil
cdef size_t fulfill_write(
    uint8_t* out, const uint8_t* fulfillment, const uint8_t* data, size_t data_size
) noexcept nogil
cdef size_t reject_write(
    uint8_t* out, const uint8_t* code, const uint8_t* triggered_by, size_t triggered_by_size,
    const uint8_t* message, size_t message_size, const uint8_t* data, size_t data_size,
) noexcept nogil

# RFC 15: 1 if the bytes are a valid ILP address (a prefix may also be empty or a bare scheme).
cdef inline bint address_valid(const uint8_t* address, size_t size) noexcept nogil:
    return address_read_valid(address, size)


cdef inline bint address_prefix_valid(const uint8_t* prefix, size_t size) noexcept nogil:
    return address_prefix_read_valid(prefix, size)
