# One HTTP connection's bytes: what was received and is not parsed, and what waits to be written.

from fastilp._core.arena cimport Arena


cdef class HttpSocket:
    cdef Arena _input
    cdef size_t _parsed             # of the input
    cdef size_t _read_size          # asked for by the next read
    cdef Arena _output
    cdef object _write              # of the transport

    # Subclasses: look at the input from _parsed on, and move _parsed.
    cdef int _fed(self) except -1
    cdef void _forget_parsed(self) noexcept
    # What was not parsed, which is nobody's any more here.
    cdef bytes _take_rest(self)
    # One write for all that waits.
    cdef int _flush_output(self) except -1
