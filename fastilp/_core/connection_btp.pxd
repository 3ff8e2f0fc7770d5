# One BTP socket after the WebSocket handshake: the buffer that it receives into, and the way into
# the batch.

from libc.stdint cimport uint8_t, uint32_t

from fastilp._core.codec_btp cimport BtpFields
from fastilp._core.codec_websocket cimport WebSocketFrame
from fastilp._core.link cimport Connection

# What `read` says; the order is that of connection_btp.pyi.
cdef enum BtpReading:
    BTP_READ_MORE = 0
    BTP_READ_OTHER = 1
    BTP_READ_HELD = 2
    BTP_READ_FAULT = 3


cdef class BtpConnection(Connection):
    # [0, _kept): whole frames with Prepares that wait for the next turn; [_at, _size): what came
    # and was not looked at.
    cdef uint8_t* _bytes
    cdef size_t _kept
    cdef size_t _at
    cdef size_t _size
    cdef size_t _capacity
    cdef int _exports               # memoryviews that look into it
    cdef int _fault                 # WEBSOCKET_*; nothing more is read
    cdef WebSocketFrame _frame      # the one at _at, where it is not a packet
    cdef bytearray _parts           # of a message in fragments; None without one
    cdef uint8_t _parts_opcode
    cdef size_t _parts_size
    cdef bytes _whole               # a message of fragments that waits for the next turn
    cdef tuple _other
    cdef bint _bound                # was bound once
    cdef readonly bint masked       # we are the client
    cdef readonly uint32_t message_size_max

    cdef int _grow(self, size_t capacity) except -1
    cdef int _read_rows(self) noexcept nogil
    cdef int _read_row(self, uint8_t* message, size_t size) noexcept nogil
    cdef bint _append(
        self, const uint8_t* message, const BtpFields* fields, bint answer
    ) noexcept nogil
    cdef void _keep(self, size_t frame_size) noexcept nogil
    cdef void _forget(self) noexcept nogil
    cdef bint _take_other(self) except -1
    cdef bint _take_control(self, bytes payload) except -1
    cdef bint _take_fragment(self, bytes payload) except -1
    cdef bint _bring_whole(self) except -1
    cdef int _feed(self, const uint8_t* message, size_t size) except -1
