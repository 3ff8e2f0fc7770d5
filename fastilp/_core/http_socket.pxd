# One HTTP connection's bytes: what was received and is not parsed, and what waits to be written.

from libc.stdint cimport uint8_t

from fastilp._core.arena cimport Arena
from fastilp._core.codec_http cimport HttpHead
from fastilp._core.poller cimport Polled, Poller


cdef class HttpSocket(Polled):
    cdef Arena _input
    cdef size_t _parsed             # of the input
    cdef size_t _read_size          # asked for by the next read
    cdef Arena _output
    cdef HttpHead _head             # of the message that is being read
    cdef HttpHead _known            # of the last one whose head was read as a whole
    cdef Arena _known_bytes
    cdef object _transport
    cdef Poller _poller             # None: the transport reads and writes
    cdef int _descriptor
    cdef bint _is_polled
    cdef bint _is_clogged           # the transport has bytes that the system would not take
    cdef readonly bint reading_paused

    # Subclasses: look at the input from _parsed on, and move _parsed.
    cdef int _fed(self) except -1
    cdef int _received(self, size_t size) except -1
    # Subclasses: the peer has ended it; the transport says so later.
    cdef int _ended(self) except -1
    cdef int _poll(self) except -1
    cdef int _unpoll(self) except -1
    cdef int _want_turn(self, wake) except -1
    cdef void _forget_parsed(self) noexcept
    # What was not parsed, which is nobody's any more here.
    cdef bytes _take_rest(self)
    # One write for all that waits.
    cdef int _flush_output(self) except -1
    cdef int _write_rest(self, size_t written) except -1
    # Whether the next head is the last one over again, byte for byte; then _head is that one.
    cdef bint _is_known(self, const uint8_t* message, size_t size) noexcept
    cdef void _remember(self, const uint8_t* message) noexcept
