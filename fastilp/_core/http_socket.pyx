"""The protocol object of an HTTP connection: it owns the receive buffer, so that bytes are parsed
where the system put them, and writes once for all that came together in one turn.

A transport of the event loop owns the socket: it opens and closes it, and reads its end. In between
a plain socket is read and written here, as the loop's price for each event is as high as that of
the request: it is read when the Poller says so, and written at once as far as the system takes it.
What it does not take is the transport's, with all flow control. Where there is no Poller, as with
TLS, the transport does everything. May import poller, codec_http, arena and limits."""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memmove

from fastilp._core.arena cimport arena_append, arena_free, arena_room
from fastilp._core.codec_http cimport http_head_start
from fastilp._core.limits cimport HTTP_READ_SIZE_MAX, HTTP_READ_SIZE_MIN

from fastilp.errors import UsageError

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
    ssize_t recv(int descriptor, void* bytes, size_t size, int flags)
    ssize_t send(int descriptor, const void* bytes, size_t size, int flags)


cdef inline bint _same(const uint8_t* a, const uint8_t* b, size_t size) noexcept nogil:
    """Takes as long whatever differs: there is a token among these bytes."""
    cdef uint8_t difference = 0
    cdef size_t i
    for i in range(size):
        difference |= a[i] ^ b[i]
    return difference == 0


cdef class HttpSocket(Polled):
    def __cinit__(self, *arguments, **options):
        self._read_size = HTTP_READ_SIZE_MIN
        self._descriptor = -1
        http_head_start(&self._head)

    def __dealloc__(self):
        arena_free(&self._input)
        arena_free(&self._output)
        arena_free(&self._known_bytes)

    # --- whose socket it is -----------------------------------------------------------------------

    def attach(self, transport, Poller poller=None):
        """See http_socket.pyi."""
        self._transport = transport
        if poller is not None and transport.get_extra_info("sslcontext") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()
            self._poller = poller

    def detach(self):
        """The transport does everything from now on, and reads nothing before it is told to."""
        if self._poller is not None:
            self.pause()
            self._poller = None

    def pause(self):
        """Read no more for now."""
        self.reading_paused = True
        self._unpoll()
        self._transport.pause_reading()

    def resume(self):
        """Read on."""
        self.reading_paused = False
        if self._poller is None:
            self._transport.resume_reading()
        else:
            self._poll()

    cdef int _poll(self) except -1:
        if not self._is_polled:
            self._poller._add(self._descriptor, self)
            self._is_polled = True
        return 0

    cdef int _unpoll(self) except -1:
        if self._is_polled:
            self._is_polled = False
            self._poller._remove(self._descriptor)
        return 0

    # --- reading ----------------------------------------------------------------------------------

    cdef int _fed(self) except -1:
        return 0

    cdef int _ended(self) except -1:
        return 0

    cdef int _readable(self) except -1:
        cdef ssize_t size
        self._forget_parsed()
        if arena_room(&self._input, self._read_size) == NULL:
            raise MemoryError()
        size = recv(
            self._descriptor, self._input.bytes + self._input.size,
            self._input.capacity - self._input.size, MSG_DONTWAIT,
        )
        if size > 0:
            self._received(<size_t>size)
        elif size == 0:
            # The transport finds the same end, and knows what it means.
            self._ended()
            self.detach()
            self.resume()
        elif errno != EAGAIN and errno != EINTR:
            # The system tells of a broken connection once.
            self.detach()
            self._transport.abort()
        return 0

    cdef int _received(self, size_t size) except -1:
        self._input.size += size
        if self._input.size == self._input.capacity and self._read_size < HTTP_READ_SIZE_MAX:
            # There was more than we had asked for.
            self._read_size *= 2
        return self._fed()

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

    def buffer_updated(self, Py_ssize_t nbytes):
        """So many bytes were put there. Never raises on what the peer wrote."""
        if not 0 <= nbytes <= <Py_ssize_t>(self._input.capacity - self._input.size):
            raise UsageError(f"{nbytes} bytes are more than the buffer had room for")
        self._received(nbytes)
        if self._poller is None:
            return
        self._poller._rouse()
        if not self.reading_paused:
            # The loop's first event was its last one here.
            self._transport.pause_reading()
            self._poll()

    cdef int _want_turn(self, wake) except -1:
        """Once for all sockets that are served together, where they are."""
        if self._poller is None:
            wake()
        else:
            self._poller.wanted = True
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

    # --- heads that come again and again ----------------------------------------------------------

    cdef bint _is_known(self, const uint8_t* message, size_t size) noexcept:
        cdef size_t head_size = self._known_bytes.size
        if head_size == 0 or size < head_size or self._head.searched:
            return False
        # Whose name it has is no secret, and differs where many accounts share a connection.
        if self._known.username_size and memcmp(
            message + self._known.username, self._known_bytes.bytes + self._known.username,
            self._known.username_size,
        ) != 0:
            return False
        if not _same(message, self._known_bytes.bytes, head_size):
            return False
        self._head = self._known
        return True

    cdef void _remember(self, const uint8_t* message) noexcept:
        self._known = self._head
        self._known_bytes.size = 0
        # Without memory it is forgotten.
        arena_append(&self._known_bytes, message, self._head.size)

    # --- writing ----------------------------------------------------------------------------------

    cdef int _flush_output(self) except -1:
        cdef ssize_t written = 0
        if self._output.size == 0:
            return 0
        if self._is_clogged and self._transport.get_write_buffer_size() == 0:
            self._is_clogged = False
        if self._poller is not None and not self._is_clogged:
            written = send(
                self._descriptor, self._output.bytes, self._output.size,
                MSG_DONTWAIT | MSG_NOSIGNAL,
            )
            if written == <ssize_t>self._output.size:
                self._output.size = 0
                return 0
            self._is_clogged = True
        return self._write_rest(<size_t>max(written, <ssize_t>0))

    cdef int _write_rest(self, size_t written) except -1:
        rest = PyBytes_FromStringAndSize(
            <const char*>self._output.bytes + written, self._output.size - written
        )
        self._output.size = 0
        self._transport.write(rest)
        return 0
