# BTP 2.0 (RFC 23) in WebSocket binary messages: pure functions between bytes and fields.
# Knows nothing of links, accounts or the switch.

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    BTP_RESPONSE = 1
    BTP_ERROR = 2
    BTP_MESSAGE = 6
    BTP_TRANSFER = 7


cdef struct BtpFields:
    uint8_t type                # BTP_*
    uint32_t request_id
    uint32_t packet             # offset of the `ilp` entry's data in the message; 0 = there is none
    uint32_t packet_size


# Read one BTP message (a WebSocket payload). 0, or the number of a fault. Only types 1 and 6 get
# `packet`.
cdef int btp_read(const uint8_t* message, size_t size, BtpFields* fields) noexcept nogil

# Largest size of the frame that btp_write makes for a packet of this size, WebSocket header
# included.
cdef size_t btp_frame_size_max(size_t packet_size) noexcept nogil

# Write one whole WebSocket binary frame that carries a BTP message of `type` whose only entry is
# `ilp`. `masked`: as a client (RFC 6455 5.3) with the 4 bytes of `mask`. Returns the frame's size.
cdef size_t btp_write(
    uint8_t* out, uint8_t type, uint32_t request_id, const uint8_t* packet, size_t packet_size,
    bint masked, uint32_t mask,
) noexcept nogil
