# WebSocket frames (RFC 6455 section 5): pure functions between bytes and fields. Knows nothing of
# BTP, of links or of the switch.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    # Two bytes, a length of eight, a mask of four.
    WEBSOCKET_HEADER_SIZE_MAX = 14
    # Opcodes.
    WEBSOCKET_CONTINUATION = 0
    WEBSOCKET_TEXT = 1
    WEBSOCKET_BINARY = 2
    WEBSOCKET_CLOSE = 8
    WEBSOCKET_PING = 9
    WEBSOCKET_PONG = 10
    # Bits of the first byte and of the second.
    WEBSOCKET_FINAL = 0x80
    WEBSOCKET_RESERVED = 0x70
    WEBSOCKET_MASKED = 0x80
    # Payload of a control frame at most (5.5).
    WEBSOCKET_CONTROL_SIZE_MAX = 125

cdef enum WebSocketFault:
    WEBSOCKET_OK = 0
    WEBSOCKET_MORE = 1              # no fault: the frame has not come as a whole yet
    WEBSOCKET_RESERVED_BITS = 2
    WEBSOCKET_OPCODE = 3
    WEBSOCKET_CONTROL = 4
    WEBSOCKET_MASK = 5
    WEBSOCKET_LENGTH = 6
    WEBSOCKET_ORDER = 7
    WEBSOCKET_CLOSE_CODE = 8
    WEBSOCKET_TOO_LARGE = 9
    WEBSOCKET_FAULT_COUNT = 10


cdef struct WebSocketFrame:
    uint8_t opcode
    bint final
    uint32_t mask                   # as it lies in memory; 0 where there is none
    uint32_t header_size
    size_t size                     # of the payload


cdef const char* websocket_fault_text(int fault) noexcept nogil
# For the close frame (7.4.1).
cdef uint32_t websocket_fault_code(int fault) noexcept nogil


# Read the frame at the start of `size` bytes. WEBSOCKET_OK: all of it is there. WEBSOCKET_MORE, or
# the fault; a fault shows as soon as its byte is there. `masked`: what comes must be, because it
# comes from a client (5.1).
cdef inline int websocket_read(
    const uint8_t* bytes, size_t size, bint masked, size_t payload_size_max, WebSocketFrame* frame
) noexcept nogil:
    cdef size_t at = 2, width, i
    cdef uint64_t length
    if size == 0:
        return WEBSOCKET_MORE
    if bytes[0] & WEBSOCKET_RESERVED:
        # No extension was agreed on (5.2).
        return WEBSOCKET_RESERVED_BITS
    frame.opcode = bytes[0] & 0x0F
    frame.final = bytes[0] >> 7
    if frame.opcode > WEBSOCKET_PONG or 2 < frame.opcode < 8:
        return WEBSOCKET_OPCODE
    if frame.opcode >= WEBSOCKET_CLOSE and not frame.final:
        return WEBSOCKET_CONTROL
    if size == 1:
        return WEBSOCKET_MORE
    if bytes[1] >> 7 != masked:
        return WEBSOCKET_MASK
    length = bytes[1] & 0x7F
    if length > WEBSOCKET_CONTROL_SIZE_MAX:
        if frame.opcode >= WEBSOCKET_CLOSE:
            return WEBSOCKET_CONTROL
        width = 2 if length == 126 else 8
        if size < at + width:
            return WEBSOCKET_MORE
        length = 0
        for i in range(width):
            length = length << 8 | bytes[at + i]
        at += width
        # The shortest form is the only one, and the top bit is 0 (5.2).
        if length < 126 or (width == 8 and (length <= 0xFFFF or length >> 63)):
            return WEBSOCKET_LENGTH
    if length > payload_size_max and frame.opcode < WEBSOCKET_CLOSE:
        return WEBSOCKET_TOO_LARGE
    frame.mask = 0
    if masked:
        if size < at + 4:
            return WEBSOCKET_MORE
        memcpy(&frame.mask, bytes + at, 4)
        at += 4
    frame.header_size = <uint32_t>at
    frame.size = <size_t>length
    return WEBSOCKET_OK if size - at >= length else WEBSOCKET_MORE


# Header of a final frame, shortest form of the length, without a mask: returns its size. The four
# bytes of a mask go behind it.
cdef inline size_t websocket_write_header(
    uint8_t* out, uint8_t opcode, size_t payload_size, bint masked
) noexcept nogil:
    cdef size_t i, width
    cdef uint8_t mask_bit = WEBSOCKET_MASKED if masked else 0
    out[0] = WEBSOCKET_FINAL | opcode
    if payload_size < 126:
        out[1] = mask_bit | <uint8_t>payload_size
        return 2
    out[1] = mask_bit | (126 if payload_size <= 0xFFFF else 127)
    width = 2 if payload_size <= 0xFFFF else 8
    for i in range(width + 1, 1, -1):
        out[i] = <uint8_t>(payload_size & 0xFF)
        payload_size >>= 8
    return 2 + width


# XOR with the four bytes of `mask` as they lie in memory (5.3), eight at a time. Its own inverse.
cdef inline void websocket_mask(uint8_t* payload, size_t size, uint32_t mask) noexcept nogil:
    cdef uint64_t wide = (<uint64_t>mask << 32) | mask
    cdef uint64_t word
    cdef size_t at = 0
    while at + 8 <= size:
        memcpy(&word, payload + at, 8)
        word ^= wide
        memcpy(payload + at, &word, 8)
        at += 8
    while at < size:
        payload[at] ^= (<uint8_t*>&wide)[at & 7]
        at += 1
