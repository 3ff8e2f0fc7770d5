"""A connection of the batch protocol, in the sense of `asyncio.BufferedProtocol`: the socket writes
into a buffer that lives here, and whole frames become rows straight from it.

No Python object per packet. A frame that has not come as a whole is moved to the start of the
buffer. What is not the protocol sets `fault` and ends the reading; it never raises. May import
link, codec_batch, row and limits."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from fastilp._core.codec_batch cimport (
    BATCH_MORE, BATCH_OK, BatchFrame, batch_fault_text, batch_read,
)
from fastilp._core.limits cimport BATCH_BUFFER_SIZE, BATCH_HELLO_SIZE_MAX
from fastilp._core.link cimport (
    LINK_BATCH, Connection, Link, connection_marks, connection_may_bring,
)
from fastilp._core.packet cimport PACKET_PREPARE
from fastilp._core.row cimport Row, batch_append

from fastilp.errors import UsageError


@cython.final
cdef class BatchConnection(Connection):
    def __cinit__(self):
        self._grow(BATCH_HELLO_SIZE_MAX)

    def __dealloc__(self):
        free(self._bytes)

    cdef int _grow(self, size_t capacity) except -1:
        cdef uint8_t* grown
        if self._exports:
            raise UsageError("the buffer of this connection is in use")
        grown = <uint8_t*>realloc(self._bytes, capacity)
        if grown == NULL:
            raise MemoryError()
        self._bytes = grown
        self._capacity = capacity
        return 0

    @property
    def fault(self):
        return batch_fault_text(self._fault).decode()

    # --- the buffer -------------------------------------------------------------------------------

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(
            view, self, self._bytes + self._size, self._capacity - self._size, 0, flags
        )
        self._exports += 1

    def __releasebuffer__(self, Py_buffer* view):
        self._exports -= 1

    @cython.binding(False)
    def get_buffer(self, sizehint=-1):
        """Where the next bytes go; see connection_batch.pyi."""
        if self._bound and self._capacity < BATCH_BUFFER_SIZE:
            # Not in `bind`: loops hold the view they wrote to while they say that they did.
            self._grow(BATCH_BUFFER_SIZE)
        return memoryview(self)

    @cython.binding(False)
    def buffer_updated(self, Py_ssize_t size):
        """So many bytes came; see connection_batch.pyi. Never raises on what the peer wrote."""
        if not 0 <= size <= <Py_ssize_t>(self._capacity - self._size):
            raise UsageError(f"{size} bytes are more than the buffer had room for")
        self._size += size
        return self._read()

    def received(self):
        """What came and was not read: before `bind` the hello."""
        return self._bytes[:self._size]

    # --- frames to rows ---------------------------------------------------------------------------

    cdef bint _read(self) noexcept nogil:
        """False: not before the next turn, or never again."""
        cdef bint is_full = self._size == self._capacity
        cdef BatchFrame frame
        cdef size_t at = 0
        cdef int fault = BATCH_OK
        if self._fault or not self._bound:
            return not self._fault and not is_full
        if self.link is None or self.link._batch == NULL:
            # Another connection carries the link by now.
            self._size = self._kept = 0
            return True
        if self._turn == self.link._batch.turn:
            at = self._kept
        self._kept = at
        while at < self._size:
            fault = batch_read(self._bytes + at, self._size - at, &frame)
            if fault:
                break
            if frame.packet and not self._take(&frame, self._bytes + at + frame.packet):
                if self._bytes[at + frame.packet] != PACKET_PREPARE:
                    is_full = True
                    break
                # It stays, and answers behind it go on.
                if at > self._kept:
                    memmove(self._bytes + self._kept, self._bytes + at, frame.size)
                self._kept += frame.size
            at += frame.size
        if fault > BATCH_MORE:
            self._fault = fault
            self._kept = 0
        if at > self._kept:
            memmove(self._bytes + self._kept, self._bytes + at, self._size - at)
        self._size -= at - self._kept
        return not self._fault and not is_full and not self._kept

    cdef bint _take(self, const BatchFrame* frame, const uint8_t* packet) noexcept nogil:
        """False: it does not fit into this turn."""
        cdef bint answer = packet[0] != PACKET_PREPARE
        cdef Row* row
        if not connection_may_bring(self, frame.packet_size, answer):
            return False
        row = batch_append(
            self.link._batch, self.link.state.index, self.link.state.account, frame.request_id,
            packet, <uint16_t>frame.packet_size,
        )
        # Out of memory: the peer's packets expire there, like ones that got lost.
        if row != NULL:
            connection_marks(self, row, answer)
        return True

    def read(self):
        """Read on after the switch's turn; see connection_batch.pyi."""
        return self._read()

    def bind(self, Link link not None, Py_ssize_t hello_size=0):
        """Attach to a batch link and read what came behind the hello; see connection_batch.pyi."""
        if not 0 <= hello_size <= <Py_ssize_t>self._size:
            raise UsageError(f"{hello_size} bytes of hello are more than have come")
        self._attach(link, LINK_BATCH)
        self._bound = True
        self._size -= hello_size
        memmove(self._bytes, self._bytes + hello_size, self._size)
        return self._read()
