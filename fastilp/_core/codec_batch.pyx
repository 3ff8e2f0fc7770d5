"""The batch protocol's frames in Python, for tests and tools. Imports the package's errors only.

The data plane uses the inline functions of codec_batch.pxd, as does everything here. Reading is
strict: an array of two, a uint of any width below 2**32, a bin of any width with 1 to 65,535 bytes;
or nil. Writing takes the shortest form.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastilp._core.limits cimport PACKET_SIZE_MAX

from fastilp.errors import DecodeError, UsageError


cdef const char* batch_fault_text(int fault) noexcept nogil:
    if fault == BATCH_NOT_A_VALUE:
        return b"a value is neither an array of two nor nil"
    if fault == BATCH_NOT_AN_ID:
        return b"a request id is not an unsigned integer below 2**32"
    if fault == BATCH_NOT_A_PACKET:
        return b"a packet is not a bin"
    if fault == BATCH_EMPTY:
        return b"a packet has no bytes"
    if fault == BATCH_TOO_LARGE:
        return b"a packet has more than 65,535 bytes"
    return b""


def read(stream):
    """`([(request_id, packet), ...], size)` of the whole frames at the start; see
    codec_batch.pyi."""
    cdef bytes whole = bytes(stream)
    cdef const uint8_t* at = whole
    cdef size_t left = len(whole)
    cdef BatchFrame frame
    cdef int fault = BATCH_OK
    frames = []
    while left:
        fault = batch_read(at, left, &frame)
        if fault:
            break
        if frame.packet:
            start = len(whole) - left + frame.packet
            frames.append((frame.request_id, whole[start:start + frame.packet_size]))
        at += frame.size
        left -= frame.size
    if fault > BATCH_MORE:
        raise DecodeError("batch: " + batch_fault_text(fault).decode())
    return frames, len(whole) - left


def frame(request_id, packet):
    """One frame; see codec_batch.pyi. Raises UsageError."""
    cdef bytes data = bytes(packet)
    cdef bytearray out = bytearray(len(data) + BATCH_OVERHEAD_MAX)
    cdef size_t size
    if not 0 <= request_id <= 0xFFFF_FFFF:
        raise UsageError(f"a request id is from 0 to 2**32 - 1, not {request_id}")
    if not 1 <= len(data) <= PACKET_SIZE_MAX:
        raise UsageError(f"a packet has 1 to {PACKET_SIZE_MAX} bytes, not {len(data)}")
    size = batch_write(out, <uint32_t>request_id, data, len(data))
    return bytes(out[:size])
