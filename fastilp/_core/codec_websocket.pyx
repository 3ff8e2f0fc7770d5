"""WebSocket frames (RFC 6455 section 5): the texts of its faults, and a writer for the few frames
that do not carry a packet. Imports the package's errors."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastilp.errors import UsageError

CONTINUATION = WEBSOCKET_CONTINUATION
TEXT = WEBSOCKET_TEXT
BINARY = WEBSOCKET_BINARY
CLOSE = WEBSOCKET_CLOSE
PING = WEBSOCKET_PING
PONG = WEBSOCKET_PONG

cdef enum:
    # Close codes (7.4.1).
    PROTOCOL_ERROR = 1_002
    MESSAGE_TOO_BIG = 1_009

cdef const char* _TEXTS[WEBSOCKET_FAULT_COUNT]
_TEXTS[:] = [
    b"",
    b"",
    b"reserved bits are set",
    b"unknown opcode",
    b"control frame in parts, or longer than 125 bytes",
    b"a client masks what it sends, a server does not",
    b"length is not in its shortest form",
    b"fragments out of order",
    b"close frame is not valid",
    b"message is too large",
]


cdef const char* websocket_fault_text(int fault) noexcept nogil:
    return _TEXTS[fault]


cdef uint32_t websocket_fault_code(int fault) noexcept nogil:
    return MESSAGE_TOO_BIG if fault == WEBSOCKET_TOO_LARGE else PROTOCOL_ERROR


def frame(opcode, payload, mask=None):
    """One final frame; `mask`: 4 bytes, as a client."""
    cdef bytes data = bytes(payload)
    cdef bytes key = b"" if mask is None else bytes(mask)
    cdef uint32_t word = 0
    cdef size_t size = len(data)
    cdef bytearray out = bytearray(WEBSOCKET_HEADER_SIZE_MAX + size)
    cdef uint8_t* start = out
    cdef size_t at
    if mask is not None and len(key) != 4:
        raise UsageError("a mask has 4 bytes")
    at = websocket_write_header(start, <uint8_t>(opcode & 0x0F), size, mask is not None)
    if mask is not None:
        memcpy(&word, <const uint8_t*>key, 4)
        memcpy(start + at, &word, 4)
        at += 4
    memcpy(start + at, <const uint8_t*>data, size)
    if word:
        websocket_mask(start + at, size, word)
    return bytes(out[:at + size])
