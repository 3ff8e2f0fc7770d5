# The batch protocol (docs/batch-protocol.md): MessagePack arrays `[request_id, packet]` back to
# back, and `nil`. Pure functions between bytes and fields; knows nothing of links or the switch.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastilp._core.limits cimport PACKET_SIZE_MAX

cdef enum:
    # What batch_write puts before a packet at most: array, uint32, bin16.
    BATCH_OVERHEAD_MAX = 1 + 5 + 3
    # What batch_read takes before a packet at most: array, uint64, bin32.
    BATCH_FRAME_SIZE_MAX = 1 + 9 + 5 + PACKET_SIZE_MAX
    # MessagePack's first bytes (its specification, "Formats").
    BATCH_ARRAY = 0x92              # fixarray of 2
    BATCH_NIL = 0xC0
    BATCH_BIN_8 = 0xC4
    BATCH_BIN_16 = 0xC5
    BATCH_BIN_32 = 0xC6
    BATCH_UINT_8 = 0xCC
    BATCH_UINT_16 = 0xCD
    BATCH_UINT_32 = 0xCE
    BATCH_UINT_64 = 0xCF


cdef enum BatchFault:
    BATCH_OK = 0
    BATCH_MORE = 1                  # no fault: the value has not come as a whole yet
    BATCH_NOT_A_VALUE = 2
    BATCH_NOT_AN_ID = 3
    BATCH_NOT_A_PACKET = 4
    BATCH_EMPTY = 5
    BATCH_TOO_LARGE = 6
    BATCH_FAULT_COUNT = 7


cdef struct BatchFrame:
    uint32_t request_id
    uint32_t packet                 # offset in the frame; 0 = a keep-alive
    uint32_t packet_size
    uint32_t size                   # of the whole frame


cdef const char* batch_fault_text(int fault) noexcept nogil


cdef inline uint64_t batch_big_endian(const uint8_t* at, size_t size) noexcept nogil:
    cdef uint64_t value = 0
    cdef size_t i
    for i in range(size):
        value = value << 8 | at[i]
    return value


cdef inline int batch_read_id(
    const uint8_t* at, size_t left, BatchFrame* frame, size_t* size
) noexcept nogil:
    """A uint of any width whose value has 32 bits; `size`: the bytes it took."""
    cdef uint8_t first = at[0]
    cdef uint64_t value
    if first < 0x80:
        frame.request_id = first
        size[0] = 1
        return BATCH_OK
    if first < BATCH_UINT_8 or first > BATCH_UINT_64:
        return BATCH_NOT_AN_ID
    size[0] = 1 + (<size_t>1 << (first - BATCH_UINT_8))
    if left < size[0]:
        return BATCH_MORE
    value = batch_big_endian(at + 1, size[0] - 1)
    frame.request_id = <uint32_t>value
    return BATCH_NOT_AN_ID if value >> 32 else BATCH_OK


cdef inline int batch_read_size(
    const uint8_t* at, size_t left, BatchFrame* frame, size_t* size
) noexcept nogil:
    """The header of a bin of any width; `size`: the bytes it took."""
    cdef uint8_t first = at[0]
    cdef uint64_t value
    if first < BATCH_BIN_8 or first > BATCH_BIN_32:
        return BATCH_NOT_A_PACKET
    size[0] = 1 + (<size_t>1 << (first - BATCH_BIN_8))
    if left < size[0]:
        return BATCH_MORE
    value = batch_big_endian(at + 1, size[0] - 1)
    if value == 0:
        return BATCH_EMPTY
    if value > PACKET_SIZE_MAX:
        return BATCH_TOO_LARGE
    frame.packet_size = <uint32_t>value
    return BATCH_OK


# Read the value at the start of `size` bytes, at least one. BATCH_OK, BATCH_MORE, or the fault;
# a fault shows as soon as its byte is there.
cdef inline int batch_read(const uint8_t* bytes, size_t size, BatchFrame* frame) noexcept nogil:
    cdef size_t at = 1, taken = 0
    cdef int fault
    if bytes[0] == BATCH_NIL:
        frame.packet = frame.packet_size = 0
        frame.size = 1
        return BATCH_OK
    if bytes[0] != BATCH_ARRAY:
        return BATCH_NOT_A_VALUE
    if size == at:
        return BATCH_MORE
    fault = batch_read_id(bytes + at, size - at, frame, &taken)
    if fault:
        return fault
    at += taken
    if size == at:
        return BATCH_MORE
    fault = batch_read_size(bytes + at, size - at, frame, &taken)
    if fault:
        return fault
    at += taken
    frame.packet = <uint32_t>at
    frame.size = <uint32_t>at + frame.packet_size
    return BATCH_MORE if size < frame.size else BATCH_OK


# Write one frame in its shortest form and return its size. `out` has room for the packet and
# BATCH_OVERHEAD_MAX.
cdef inline size_t batch_write(
    uint8_t* out, uint32_t request_id, const uint8_t* packet, size_t size
) noexcept nogil:
    cdef size_t at = 1
    cdef size_t width
    out[0] = BATCH_ARRAY
    if request_id < 0x80:
        out[at] = <uint8_t>request_id
        at += 1
    else:
        width = 1 if request_id <= 0xFF else 2 if request_id <= 0xFFFF else 4
        out[at] = BATCH_UINT_8 + <uint8_t>(width >> 1)
        at += 1
        while width:
            width -= 1
            out[at] = <uint8_t>(request_id >> (8 * width))
            at += 1
    if size <= 0xFF:
        out[at] = BATCH_BIN_8
        at += 1
    else:
        out[at] = BATCH_BIN_16
        out[at + 1] = <uint8_t>(size >> 8)
        at += 2
    out[at] = <uint8_t>size
    memcpy(out + at + 1, packet, size)
    return at + 1 + size
