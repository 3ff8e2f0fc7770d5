"""The protocol object that a transport feeds: it owns the receive buffer, so that bytes are parsed
where the system put them, and writes once for all that came together in one turn.

The transport itself stays outside: all that is known of it is its `write`. May import arena and
limits."""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memmove

from fastilp._core.arena cimport arena_free, arena_room
from fastilp._core.limits cimport HTTP_READ_SIZE_MAX, HTTP_READ_SIZE_MIN


cdef class HttpSocket:
    def __cinit__(self, *arguments, **options):
        self._read_size = HTTP_READ_SIZE_MIN

    def __dealloc__(self):
        arena_free(&self._input)
        arena_free(&self._output)

    def attach(self, write):
        """`write` of the transport."""
        self._write = write

    def get_buffer(self, sizehint):
        """Asked by the event loop where to put what it reads: this object is the free room."""
        self._forget_parsed()
        if arena_room(&self._input, self._read_size) == NULL:
            raise MemoryError()
        return self

    def __len__(self):
        return self._input.capacity - self._input.size

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(
            view, self, self._input.bytes + self._input.size,
            self._input.capacity - self._input.size, 0, flags,
        )

    def buffer_updated(self, size_t nbytes):
        """So many bytes were put there. Never raises on what the peer wrote."""
        self._input.size += nbytes
        if self._input.size == self._input.capacity and self._read_size < HTTP_READ_SIZE_MAX:
            # There was more than we had asked for.
            self._read_size *= 2
        self._fed()

    cdef int _fed(self) except -1:
        return 0

    cdef void _forget_parsed(self) noexcept:
        cdef size_t rest = self._input.size - self._parsed
        if self._parsed == 0:
            return
        if rest:
            memmove(self._input.bytes, self._input.bytes + self._parsed, rest)
        self._input.size = rest
        self._parsed = 0

    cdef bytes _take_rest(self):
        rest = PyBytes_FromStringAndSize(
            <const char*>self._input.bytes + self._parsed, self._input.size - self._parsed
        )
        arena_free(&self._input)
        self._parsed = 0
        return rest

    cdef int _flush_output(self) except -1:
        if self._output.size == 0:
            return 0
        data = PyBytes_FromStringAndSize(<const char*>self._output.bytes, self._output.size)
        self._output.size = 0
        self._write(data)
        return 0
