"""ILP-over-HTTP, the receiving side (RFC 35): requests become rows, and answers go back to their
connections, in the order of the requests, one write for each connection and turn.

`HttpConnection` is one socket; its subclass in the shell does what happens once in a while: begin,
end, time-outs, and whatever is not exactly a request as ILP peers send it, which leaves with all
its bytes. `HttpExchanges` is one account's: which request an answer belongs to. `HttpAccess` is the
listener's: which credentials open which account. May import codec_http, link and row."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from fastilp._core.arena cimport arena_append, arena_room
from fastilp._core.codec_http cimport (
    HTTP_ANSWER_HEAD_SIZE_MAX, HTTP_DONE, HTTP_MORE, HTTP_OTHER, HttpHead, HttpOutcome,
    http_head_start, http_read_request, http_write_answer,
)
from fastilp._core.limits cimport ROW_COST, TURN_SIZE_MAX
from fastilp._core.link cimport MESSAGE_HEAD, Link, LinkOwner
from fastilp._core.packet cimport PACKET_PREPARE, PACKET_REJECT
from fastilp._core.prefetch cimport prefetch
from fastilp._core.row cimport batch_append

cdef enum:
    # In the place of a status: the body is a whole answer.
    WHOLE = 1
    EARLY_COUNT_MIN = 8

cdef bytes _GET_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nOK"
)
cdef bytes _CLOSE = b"Connection: close\r\n"


@cython.final
cdef class HttpExchanges(LinkOwner):
    def __init__(self, Link link not None, is_invalid, take_others):
        self.link = link
        self._is_invalid = is_invalid
        self._take_others = take_others
        self._connections = []
        self._free = EXCHANGE_SLOT_MASK

    def __dealloc__(self):
        free(self._slots)

    cdef bint _is_open(self) noexcept:
        return not self.link.state.closed and self.link._batch != NULL

    cdef bint _turn_is_full(self) noexcept:
        return self._is_open() and self.link._batch.turn_prepares >= TURN_SIZE_MAX

    cdef int _grow(self) except -1:
        cdef uint32_t capacity = max(self._capacity * 2, <uint32_t>16)
        cdef uint32_t slot
        cdef void* grown
        if capacity > EXCHANGE_SLOT_MASK:
            raise MemoryError()
        grown = realloc(self._slots, capacity * sizeof(Exchange))
        if grown == NULL:
            raise MemoryError()
        self._slots = <Exchange*>grown
        memset(self._slots + self._capacity, 0, (capacity - self._capacity) * sizeof(Exchange))
        for slot in range(self._capacity, capacity):
            self._slots[slot].sequence = self._free
            self._free = slot
            self._connections.append(None)
        self._capacity = capacity
        return 0

    cdef int _receive(
        self, HttpConnection connection, uint32_t sequence, const uint8_t* packet, size_t size
    ) except -1:
        cdef Exchange* exchange
        cdef uint32_t slot
        if self._free == EXCHANGE_SLOT_MASK:
            self._grow()
        slot = self._free
        exchange = &self._slots[slot]
        if batch_append(
            self.link._batch, self.link.state.index, self.link.state.account,
            slot | exchange.generation << EXCHANGE_SLOT_BITS, packet, <uint16_t>size,
        ) == NULL:
            raise MemoryError()
        self.link._batch.turn_prepares += size + ROW_COST
        self._free = exchange.sequence
        exchange.sequence = sequence
        exchange.waiting = True
        self._connections[slot] = connection
        self.waiting += 1
        return 0

    cdef HttpConnection _release(self, uint32_t slot):
        cdef Exchange* exchange = &self._slots[slot]
        connection = <HttpConnection>self._connections[slot]
        self._connections[slot] = None
        exchange.generation = (exchange.generation + 1) & EXCHANGE_GENERATION_MASK
        exchange.waiting = False
        exchange.sequence = self._free
        self._free = slot
        self.waiting -= 1
        return connection

    cdef void _prefetch(self) noexcept:
        prefetch(self._slots)
        prefetch(<const void*>self._connections)

    cdef int _flush(self, Link link) except -1:
        """Give each answer to its request, then let each connection write once."""
        cdef const uint8_t* at = link.state.egress.bytes
        cdef const uint8_t* end = at + link.state.egress.size
        cdef uint32_t[2] head
        cdef uint32_t slot, sequence
        cdef HttpConnection connection
        cdef list touched = []
        cdef list others = []
        while at < end:
            memcpy(head, at, MESSAGE_HEAD)
            at += MESSAGE_HEAD
            slot = head[0] & EXCHANGE_SLOT_MASK
            if head[0] & EXCHANGE_FOREIGN or at[0] == PACKET_PREPARE:
                others.append((head[0], PyBytes_FromStringAndSize(<const char*>at, head[1])))
            elif (
                slot < self._capacity and self._slots[slot].waiting
                and self._slots[slot].generation == head[0] >> EXCHANGE_SLOT_BITS
            ):
                sequence = self._slots[slot].sequence
                connection = self._release(slot)
                if connection.closed:
                    self.link._batch.undeliverable += 1
                else:
                    connection._answer(sequence, self._status_of(at, head[1]), at, head[1])
                    touched.append(connection)
            at += head[1]
        link._emptied()
        for connection in touched:
            connection._settle()
        if others:
            self._take_others(others)
        return 0

    cdef uint32_t _status_of(self, const uint8_t* packet, size_t size) except 0:
        """Our own answer to an undecodable Prepare is 400; every other packet is 200."""
        cdef size_t code
        if packet[0] != PACKET_REJECT:
            return 200
        code = 2 + (packet[1] & 0x7F if packet[1] >= 0x80 else 0)
        if size < code + 3 or memcmp(packet + code, b"F01", 3) != 0:
            return 200
        return 400 if self._is_invalid(packet[:size]) else 200

    def abandon(self, bytes answer not None):
        """Give every request that waits this whole answer. For a link that is being closed."""
        cdef uint32_t slot, sequence
        cdef HttpConnection connection
        for slot in range(self._capacity):
            if self._slots[slot].waiting:
                sequence = self._slots[slot].sequence
                connection = self._release(slot)
                if not connection.closed:
                    connection._answer(
                        sequence, WHOLE, <const uint8_t*>PyBytes_AS_STRING(answer),
                        PyBytes_GET_SIZE(answer),
                    )
                    connection._settle()


@cython.final
cdef class HttpAccess:
    def __init__(
        self, *, find, refusal, wake, size_t head_size_max, size_t body_size_max,
        uint32_t requests_in_flight_max,
    ):
        self._credentials = {}
        self._find = find
        self._refusal = refusal
        self._wake = wake
        self._head_size_max = head_size_max
        self._body_size_max = body_size_max
        self._requests_in_flight_max = requests_in_flight_max

    def forget(self):
        """A token has changed."""
        self._credentials.clear()
        self._version += 1

    cdef HttpExchanges _open(self, const HttpHead* head, const uint8_t* request):
        """Whose request this is; None if it is nobody's. Credentials that were good before are
        found by SipHash under this process's random key: how long that takes says nothing about
        how near a guess was."""
        cdef bytes username, token, key
        cdef HttpExchanges exchanges
        if head.size > self._head_size_max or head.body_size > self._body_size_max:
            return None
        username = request[head.username:head.username + head.username_size]
        token = request[head.token:head.token + head.token_size]
        key = username + b"\0" + token
        exchanges = <HttpExchanges>self._credentials.get(key)
        if exchanges is None:
            exchanges = self._find(username.decode() or None, token.decode())
            if exchanges is not None:
                self._credentials[key] = exchanges
        if exchanges is None or not exchanges._is_open():
            return None
        return exchanges


cdef class HttpConnection(HttpSocket):
    def __init__(self, HttpAccess access not None):
        self._access = access
        self._early = [None] * EARLY_COUNT_MIN
        self.idle_since = access.now

    # --- what a subclass says ---------------------------------------------------------------------

    def hand_over(self, bytes received):
        """All answers are out; these bytes and the connection are somebody else's now."""

    def finished(self):
        """`last` is set and all answers are out."""

    def regulate(self):
        """`busy` or `leaving` has changed."""

    # --- what the shell tells ---------------------------------------------------------------------

    @property
    def waiting(self):
        """Requests without an answer."""
        return self._next - self._first

    def leave(self):
        """Hand over as soon as all answers are out."""
        if not self.leaving and not self.last:
            self.leaving = True
            self.regulate()
            self._settle()

    def end(self):
        """Take no request any more, and `finished` as soon as all answers are out."""
        if not self.leaving:
            self.last = True
            self.reading_since = 0
            self._settle()

    def lost(self):
        """The socket has gone."""
        self.closed = True
        self.detach()

    # --- requests ---------------------------------------------------------------------------------

    cdef int _readable(self) except -1:
        """A turn that is full goes first; what waits in the socket is for the next one."""
        if self._exchanges is not None and self._exchanges._turn_is_full():
            return 0
        return HttpSocket._readable(self)

    cdef int _fed(self) except -1:
        cdef const uint8_t* at
        cdef HttpOutcome outcome
        cdef size_t size
        cdef uint32_t before = self._next
        while not self.leaving and not self.last:
            at = self._input.bytes + self._parsed
            size = self._input.size - self._parsed
            if self._head.size == 0 and not self._recognise(at, size):
                outcome = self._read_head(at, size)
                if outcome == HTTP_MORE:
                    break
                if outcome != HTTP_DONE:
                    self.leave()
                    break
            if size < self._head.size + self._head.body_size:
                break
            if not self._is_current(at):
                self.leave()
                break
            self._take(at)
            self._parsed += self._head.size + self._head.body_size
            http_head_start(&self._head)
            self.reading_since = 0
        if self._next != before:
            self._want_turn(self._access._wake)
            self._settle()
        if self.last:
            self._parsed = self._input.size
        elif self._parsed < self._input.size and self.reading_since == 0:
            self.reading_since = self._access.now
        return 0

    cdef bint _recognise(self, const uint8_t* request, size_t size) noexcept:
        """Peers send the same head again and again. What it says is known then."""
        return (
            self._version == self._access._version
            and (self._known.get or (self._exchanges is not None and self._exchanges._is_open()))
            and self._is_known(request, size)
        )

    cdef HttpOutcome _read_head(self, const uint8_t* request, size_t size) except *:
        cdef HttpOutcome outcome = http_read_request(&self._head, request, size)
        if outcome != HTTP_DONE:
            return outcome
        if not self._head.get:
            self._exchanges = self._access._open(&self._head, request)
            if self._exchanges is None:
                return HTTP_OTHER
        self._version = self._access._version
        self._remember(request)
        return HTTP_DONE

    cdef bint _is_current(self, const uint8_t* request) except -1:
        """Whether the head still opens an account: its body may have come long after it."""
        if self._head.get or (
            self._version == self._access._version and self._exchanges._is_open()
        ):
            return True
        self._exchanges = self._access._open(&self._head, request)
        self._version = self._access._version
        return self._exchanges is not None

    cdef int _take(self, const uint8_t* request) except -1:
        cdef const uint8_t* packet = request + self._head.size
        cdef uint32_t sequence = self._next
        cdef bytes refusal
        if self._next - self._first == <uint32_t>len(self._early):
            self._take_more_at_once()
        self._next += 1
        if self._head.get:
            return self._answer(
                sequence, WHOLE, <const uint8_t*>PyBytes_AS_STRING(_GET_ANSWER),
                PyBytes_GET_SIZE(_GET_ANSWER),
            )
        if self._head.body_size and packet[0] == PACKET_PREPARE:
            return self._exchanges._receive(self, sequence, packet, self._head.body_size)
        refusal = self._access._refusal()
        return self._answer(
            sequence, 400, <const uint8_t*>PyBytes_AS_STRING(refusal), PyBytes_GET_SIZE(refusal)
        )

    cdef int _take_more_at_once(self) except -1:
        """A longer ring. (A shell that pauses reading when `busy` bounds it by one read.)"""
        cdef uint32_t mask = <uint32_t>len(self._early) - 1
        cdef uint32_t wider = 2 * mask + 1
        cdef uint32_t sequence = self._first
        cdef list early = [None] * (wider + 1)
        while sequence != self._next:
            early[sequence & wider] = self._early[sequence & mask]
            sequence += 1
        self._early = early
        return 0

    # --- answers ----------------------------------------------------------------------------------

    cdef int _answer(
        self, uint32_t sequence, uint32_t status, const uint8_t* body, size_t size
    ) except -1:
        cdef uint32_t mask = <uint32_t>len(self._early) - 1
        cdef tuple early
        cdef bytes packet
        if sequence != self._first:
            self._early[sequence & mask] = (
                status, PyBytes_FromStringAndSize(<const char*>body, size)
            )
            return 0
        self._write_answer(status, body, size)
        self._first += 1
        while self._first != self._next and self._early[self._first & mask] is not None:
            early = <tuple>self._early[self._first & mask]
            self._early[self._first & mask] = None
            packet = early[1]
            self._write_answer(
                early[0], <const uint8_t*>PyBytes_AS_STRING(packet), PyBytes_GET_SIZE(packet)
            )
            self._first += 1
        return 0

    cdef int _write_answer(self, uint32_t status, const uint8_t* body, size_t size) except -1:
        cdef bint closes = self.last and self._first + 1 == self._next
        cdef uint8_t* room = arena_room(&self._output, HTTP_ANSWER_HEAD_SIZE_MAX + size)
        cdef size_t line
        if room == NULL:
            raise MemoryError()
        if status != WHOLE:
            self._output.size += http_write_answer(room, status, size, closes)
        elif closes:
            # Behind the status line.
            line = <const uint8_t*>memchr(body, c"\n", size) + 1 - body
            arena_append(&self._output, body, line)
            arena_append(&self._output, <const uint8_t*>PyBytes_AS_STRING(_CLOSE), len(_CLOSE))
            body += line
            size -= line
        arena_append(&self._output, body, size)
        return 0

    cdef int _settle(self) except -1:
        """Write what is ready; then what its absence held up."""
        cdef uint32_t waiting = self._next - self._first
        if self.closed:
            return 0
        if self._output.size:
            self.idle_since = self._access.now
            self._flush_output()
        if (waiting >= self._access._requests_in_flight_max) != self.busy:
            self.busy = not self.busy
            self.regulate()
        if waiting == 0 and self.leaving:
            self.closed = True
            self.hand_over(self._take_rest())
        elif waiting == 0 and self.last:
            self.closed = True
            self.finished()
        return 0
