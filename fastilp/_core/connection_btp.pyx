"""A BTP connection behind its WebSocket handshake, in the sense of `asyncio.BufferedProtocol`: the
socket writes into a buffer that lives here, and frames become rows straight from it.

No Python object per packet. Control frames, messages in fragments and BTP messages without a packet
come out one by one, through `other`. What is not the protocol sets a fault and ends the reading; it
never raises. Prepares over the bound of a turn stay in the buffer while answers behind them go on.
May import link, codec_btp, codec_websocket, row and limits."""

import os

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

from fastilp._core.codec_btp cimport BTP_MESSAGE, BTP_RESPONSE, BtpFields, btp_read
from fastilp._core.codec_websocket cimport (
    WEBSOCKET_BINARY, WEBSOCKET_CLOSE, WEBSOCKET_CLOSE_CODE, WEBSOCKET_CONTINUATION,
    WEBSOCKET_HEADER_SIZE_MAX, WEBSOCKET_MORE, WEBSOCKET_ORDER, WEBSOCKET_PING,
    WEBSOCKET_TOO_LARGE, websocket_fault_code, websocket_fault_text, websocket_mask,
    websocket_read,
)
from fastilp._core.limits cimport (
    BTP_BUFFER_SIZE, BTP_HELLO_BUFFER_SIZE, BTP_MESSAGE_SIZE_MAX, PACKET_SIZE_MAX,
)
from fastilp._core.link cimport LINK_BTP, Connection, Link, connection_marks, connection_may_bring
from fastilp._core.packet cimport PACKET_FULFILL, PACKET_PREPARE, PACKET_REJECT
from fastilp._core.row cimport Row, batch_append

from fastilp.errors import UsageError

READ_MORE = BTP_READ_MORE
READ_OTHER = BTP_READ_OTHER
READ_HELD = BTP_READ_HELD
READ_FAULT = BTP_READ_FAULT


cdef inline bint is_packet(
    const uint8_t* message, size_t size, BtpFields* fields, bint* answer
) noexcept nogil:
    """Whether the message is the switch's: a packet, or the answer to one of ours."""
    if btp_read(message, size, fields) != 0 or fields.packet_size > PACKET_SIZE_MAX:
        return False
    if fields.type == BTP_MESSAGE:
        answer[0] = fields.packet != 0 and message[fields.packet] in (PACKET_FULFILL, PACKET_REJECT)
        return fields.packet != 0
    # Interledger.rs sends its Prepares in Response frames, so the packet's type byte decides.
    answer[0] = fields.packet_size == 0 or message[fields.packet] != PACKET_PREPARE
    return fields.type == BTP_RESPONSE


cdef inline bint is_close_code(uint32_t code) noexcept nogil:
    """What a close frame may say (RFC 6455 7.4)."""
    return 1_000 <= code < 1_004 or 1_007 <= code < 1_015 or 3_000 <= code < 5_000


@cython.final
cdef class BtpConnection(Connection):
    def __cinit__(self):
        self._grow(BTP_HELLO_BUFFER_SIZE)
        self.message_size_max = BTP_MESSAGE_SIZE_MAX

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
        """Where the next bytes go; see connection_btp.pyi."""
        cdef size_t rest
        cdef size_t wanted = BTP_BUFFER_SIZE
        if self._bound and self.link is None:
            # What is left is nobody's, and must not be in the way of a socket that is read to its
            # end.
            self._forget()
        rest = self._size - self._at
        if self._at > self._kept:
            memmove(self._bytes + self._kept, self._bytes + self._at, rest)
            self._at, self._size = self._kept, self._kept + rest
        if not self._bound:
            # A stranger gets no more than one message needs.
            wanted = self.message_size_max + WEBSOCKET_HEADER_SIZE_MAX
        if self._capacity < wanted and (self._bound or self._size == self._capacity):
            # Not in `bind`: loops hold the view they wrote to while they say that they did.
            self._grow(wanted)
        if self._size == self._capacity:
            raise UsageError("this connection is held: read on after the switch's turn")
        return memoryview(self)

    @cython.binding(False)
    def buffer_updated(self, Py_ssize_t size):
        """So many bytes came; see connection_btp.pyi. Never raises on what the peer wrote."""
        if not 0 <= size <= <Py_ssize_t>(self._capacity - self._size):
            raise UsageError(f"{size} bytes are more than the buffer had room for")
        self._size += size
        return self.read()

    @cython.binding(False)
    def read(self):
        """Read what lies in the buffer; see connection_btp.pyi."""
        cdef int reading = BTP_READ_OTHER
        if self._other is not None:
            return BTP_READ_OTHER
        if self._kept and (
            self.link is None or self.link._batch == NULL or self._turn != self.link._batch.turn
        ):
            memmove(self._bytes + self._kept, self._bytes + self._at, self._size - self._at)
            self._size -= self._at - self._kept
            self._at = self._kept = 0
        if self._whole is not None and not self._bring_whole():
            return BTP_READ_HELD
        while reading == BTP_READ_OTHER:
            reading = self._read_rows()
            if reading == BTP_READ_OTHER and self._take_other():
                break
        return reading if self._whole is None else BTP_READ_HELD

    def other(self):
        """The frame that `read` stopped at; see connection_btp.pyi."""
        other, self._other = self._other, None
        return other

    def fault(self):
        """Close code and text for what the peer did wrong; see connection_btp.pyi."""
        return websocket_fault_code(self._fault), websocket_fault_text(self._fault).decode()

    # --- frames to rows ---------------------------------------------------------------------------

    cdef int _read_rows(self) noexcept nogil:
        """Up to the first frame that is not a packet, which stays at _at, without its mask."""
        cdef int fault = self._fault, reading
        cdef uint8_t* payload
        if self._bound and (self.link is None or self.link._batch == NULL):
            # Another connection carries the link by now.
            self._forget()
            return BTP_READ_MORE
        while not fault:
            fault = websocket_read(
                self._bytes + self._at, self._size - self._at, not self.masked,
                self.message_size_max, &self._frame,
            )
            if fault:
                break
            payload = self._bytes + self._at + self._frame.header_size
            if self._frame.mask:
                websocket_mask(payload, self._frame.size, self._frame.mask)
                # It may be looked at again.
                memset(payload - 4, 0, 4)
            if (
                self._frame.opcode != WEBSOCKET_BINARY or not self._frame.final
                or not self._bound or self._parts is not None
            ):
                return BTP_READ_OTHER
            reading = self._read_row(payload, self._frame.size)
            if reading != BTP_READ_MORE:
                return reading
        if fault == WEBSOCKET_MORE:
            return BTP_READ_HELD if self._kept else BTP_READ_MORE
        self._fault = fault
        return BTP_READ_FAULT

    cdef int _read_row(self, uint8_t* message, size_t size) noexcept nogil:
        """The message of the frame at _at. BTP_READ_MORE: on to the next one."""
        cdef size_t frame_size = self._frame.header_size + size
        cdef BtpFields fields
        cdef bint answer = False
        if not is_packet(message, size, &fields, &answer):
            return BTP_READ_OTHER
        if not connection_may_bring(self, fields.packet_size, answer):
            if answer:
                return BTP_READ_HELD
            self._keep(frame_size)
            return BTP_READ_MORE
        self._at += frame_size
        # Out of memory: the peer's packets expire there, like ones that got lost.
        self._append(message, &fields, answer)
        return BTP_READ_MORE

    cdef bint _append(
        self, const uint8_t* message, const BtpFields* fields, bint answer
    ) noexcept nogil:
        cdef Row* row = batch_append(
            self.link._batch, self.link.state.index, self.link.state.account, fields.request_id,
            message + fields.packet, <uint16_t>fields.packet_size,
        )
        if row != NULL:
            connection_marks(self, row, answer)
        return row != NULL

    cdef void _keep(self, size_t frame_size) noexcept nogil:
        """The frame at _at waits for the next turn."""
        if self._at != self._kept:
            memmove(self._bytes + self._kept, self._bytes + self._at, frame_size)
        self._kept += frame_size
        self._at += frame_size

    cdef void _forget(self) noexcept nogil:
        """What lies in the buffer."""
        self._at = self._size = self._kept = 0

    # --- everything else --------------------------------------------------------------------------

    cdef bint _take_other(self) except -1:
        """True: there is something for the shell, or an end, or a message that has to wait."""
        cdef uint8_t* payload = self._bytes + self._at + self._frame.header_size
        cdef bytes taken = payload[:self._frame.size]
        self._at += self._frame.header_size + self._frame.size
        if self._frame.opcode >= WEBSOCKET_CLOSE:
            return self._take_control(taken)
        if self._frame.final and self._frame.opcode == WEBSOCKET_BINARY and self._parts is None:
            self._other = (WEBSOCKET_BINARY, taken)
            return True
        return self._take_fragment(taken)

    cdef bint _take_control(self, bytes payload) except -1:
        """A Ping is to be answered, a Close too; a Pong says no more than that it came."""
        if self._frame.opcode == WEBSOCKET_CLOSE and payload:
            if len(payload) < 2 or not is_close_code(payload[0] << 8 | payload[1]):
                self._fault = WEBSOCKET_CLOSE_CODE
            try:
                payload[2:].decode()
            except UnicodeDecodeError:
                self._fault = WEBSOCKET_CLOSE_CODE
        if self._fault or self._frame.opcode > WEBSOCKET_PING:
            return False
        self._other = (self._frame.opcode, payload)
        return True

    cdef bint _take_fragment(self, bytes payload) except -1:
        """Messages in parts (RFC 6455 5.4), and text, which BTP does not use: it is skipped."""
        cdef bint starts = self._frame.opcode != WEBSOCKET_CONTINUATION
        if starts == (self._parts is not None):
            self._fault = WEBSOCKET_ORDER
            return False
        if starts:
            # One buffer, as any number of empty parts may come.
            self._parts = bytearray()
            self._parts_size = 0
            self._parts_opcode = self._frame.opcode
        self._parts_size += len(payload)
        if self._parts_size > self.message_size_max:
            self._fault = WEBSOCKET_TOO_LARGE
            return False
        if self._parts_opcode == WEBSOCKET_BINARY:
            self._parts += payload
        if not self._frame.final:
            return False
        message, self._parts = bytes(self._parts), None
        if self._parts_opcode != WEBSOCKET_BINARY:
            return False
        self._whole = message
        return not self._bring_whole() or self._other is not None

    cdef bint _bring_whole(self) except -1:
        """The message that came in parts, and takes its share of the turn like any other. False:
        it waits for the next turn, and all that came behind it waits too."""
        cdef bytes message = self._whole
        cdef BtpFields fields
        cdef bint answer = False
        if self.link is None or self.link._batch == NULL or not is_packet(
            message, len(message), &fields, &answer
        ):
            # Once it was bound, what nobody carries any more is nobody's.
            if not self._bound or self.link is not None:
                self._other = (WEBSOCKET_BINARY, message)
            self._whole = None
            return True
        if not connection_may_bring(self, fields.packet_size, answer):
            return False
        self._whole = None
        # Out of memory: as in _read_row.
        self._append(message, &fields, answer)
        return True

    # --- messages that do not lie in the buffer ---------------------------------------------------

    def feed(self, message):
        """One WebSocket payload; see connection_btp.pyi. Never raises on what the peer wrote."""
        cdef Py_buffer view
        cdef BtpFields fields
        PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
        try:
            if self._feed(<const uint8_t*>view.buf, view.len):
                return None
            if btp_read(<const uint8_t*>view.buf, view.len, &fields) != 0:
                return 0, 0, bytes(message)
            return fields.type, fields.request_id, bytes(message)
        finally:
            PyBuffer_Release(&view)

    cdef int _feed(self, const uint8_t* message, size_t size) except -1:
        """1 if the message became a row, 0 if it is the shell's."""
        cdef BtpFields fields
        cdef bint answer = False
        if self.link is None or self.link._batch == NULL:
            return 0
        if not is_packet(message, size, &fields, &answer):
            return 0
        if not self._append(message, &fields, answer):
            raise MemoryError()
        return 1

    def open(self, *, bint masked, uint32_t message_size_max=BTP_MESSAGE_SIZE_MAX):
        """The handshake is done; see connection_btp.pyi."""
        self.masked = masked
        self.message_size_max = message_size_max

    def bind(self, Link link not None, *, bint masked):
        """Attach to a btp link; see connection_btp.pyi."""
        cdef bint was_bound = link._connection is not None
        self._attach(link, LINK_BTP)
        self._bound = True
        self.masked = masked
        if was_bound and link.state.masked != masked:
            link._drop()
        link.state.masked = masked
        # From the system: a proxy must not guess it, nor the peer our memory (RFC 6455 10.3).
        link.state.mask = int.from_bytes(os.urandom(4), "little") | 1
