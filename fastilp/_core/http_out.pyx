"""ILP-over-HTTP, the sending side (RFC 35): Prepares of one link become requests on the connections
of a pool, and answers become rows.

`HttpOutlet` is one account's link with what waits for a connection; `HttpClientConnection` is one
socket; `HttpPool` has those that wait for no answer, for all accounts at one host and port. As long
as a connection carries requests they are of one account, so that nobody waits behind another's.
Their subclasses and owners in the shell open and close, and say what becomes of everything that is
not a packet with status 200. A request is written once: nobody knows whether the next hop has taken
one that was lost. May import codec_http, link and row."""

from collections import OrderedDict

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove

from fastilp._core.arena cimport arena_append, arena_free, arena_room
from fastilp._core.codec_http cimport (
    HTTP_DONE, HTTP_KEEP_ALIVE_UNSAID, HTTP_LENGTH_SIZE_MAX, HTTP_MORE, HttpOutcome,
    http_head_start, http_read_response, http_write_length,
)
from fastilp._core.limits cimport HTTP_PIPELINE_DEPTH_MAX
from fastilp._core.link cimport MESSAGE_HEAD, Link, LinkOwner
from fastilp._core.packet cimport PACKET_FULFILL, PACKET_PREPARE, PACKET_REJECT
from fastilp._core.prefetch cimport prefetch
from fastilp._core.row cimport batch_append

from fastilp.errors import UsageError

cdef enum:
    AMOUNT_SIZE = 8                 # before the expiry in a Prepare

# Closing this much before the server says it will keeps a request from crossing the server's FIN.
cdef double KEEP_ALIVE_MARGIN_SECONDS = 1.0


cdef inline const uint8_t* _expiry(const uint8_t* prepare) noexcept nogil:
    """The switch has parsed it: it is long enough."""
    return prepare + 2 + (prepare[1] & 0x7F if prepare[1] >= 0x80 else 0) + AMOUNT_SIZE


cdef class HttpPool:
    def __init__(self, *, uint32_t depth):
        if not 1 <= depth <= HTTP_PIPELINE_DEPTH_MAX:
            raise UsageError(
                f"requests at a time on a connection: 1 to {HTTP_PIPELINE_DEPTH_MAX}, not {depth}"
            )
        self.depth = depth
        self._idle = {}
        self._waiting = OrderedDict()

    def waiting_owners(self):
        """See http_out.pyi."""
        return [outlet.owner for outlet in self._waiting]

    cdef int _serve(self) except -1:
        cdef HttpOutlet outlet
        while self._idle and self._waiting:
            outlet = <HttpOutlet>self._waiting.popitem(False)[0]
            outlet._is_waiting = False
            outlet._dispatch()
        return 0


@cython.final
cdef class HttpOutlet(LinkOwner):
    def __init__(
        self, Link link not None, HttpPool pool not None, owner, bytes head not None, wake, *,
        uint32_t connections_max, size_t queue_count_max, size_t queue_size_max,
    ):
        self.link = link
        self._pool = pool
        self.owner = owner
        self.last_error = ""
        self._head = head
        self._wake = wake
        self._open = []
        self._connections_max = connections_max
        self._queue_count_max = queue_count_max
        self._queue_size_max = queue_size_max

    def __dealloc__(self):
        arena_free(&self._queue)

    cdef void _prefetch(self) noexcept:
        cdef const char* head = PyBytes_AS_STRING(self._head)
        cdef Py_ssize_t at
        for at in range(0, PyBytes_GET_SIZE(self._head), 64):
            prefetch(head + at)

    cdef int _flush(self, Link link) except -1:
        """Give each Prepare to a connection, or let it wait."""
        cdef const uint8_t* at = link.state.egress.bytes
        cdef const uint8_t* end = at + link.state.egress.size
        cdef uint32_t[2] head
        cdef HttpClientConnection connection
        cdef list touched = []
        cdef list refused = []
        while at < end:
            memcpy(head, at, MESSAGE_HEAD)
            # An answer to something that came in here: nothing ever does.
            if at[MESSAGE_HEAD] == PACKET_PREPARE:
                connection = self._next_open() if self.queue_count == 0 else None
                if connection is not None:
                    connection._send(head[0], at + MESSAGE_HEAD, head[1])
                    touched.append(connection)
                elif self._is_full(head[1]):
                    refused.append(head[0])
                else:
                    self._enqueue(at, MESSAGE_HEAD + head[1])
            at += MESSAGE_HEAD + head[1]
        link._emptied()
        for connection in touched:
            connection._flush_output()
        if refused:
            self.owner.refused(refused)
        if self.queue_count:
            self._wait()
            self.owner.open_more()
        return 0

    cdef int _dispatch(self) except -1:
        """Give what waits to the connections that can take it."""
        cdef const uint8_t* record
        cdef uint32_t[2] head
        cdef HttpClientConnection connection
        cdef list touched = []
        while self.queue_count:
            connection = self._next_open()
            if connection is None:
                break
            record = self._queue.bytes + self._queue_at
            memcpy(head, record, MESSAGE_HEAD)
            connection._send(head[0], record + MESSAGE_HEAD, head[1])
            self._queue_at += MESSAGE_HEAD + head[1]
            self.queue_count -= 1
            touched.append(connection)
        self._forget_sent()
        for connection in touched:
            connection._flush_output()
        if self.queue_count:
            self._wait()
        return 0

    cdef int _wait(self) except -1:
        """Take an idle connection as soon as there is one, if this account may have one more."""
        if not self._is_waiting and self.carrying < self._connections_max:
            self._is_waiting = True
            self._pool._waiting[self] = None
        return 0

    def close(self):
        """See http_out.pyi."""
        if self._is_waiting:
            del self._pool._waiting[self]
            self._is_waiting = False
        self.owner = None

    def drop_queue(self, bytes expired_before=None):
        """Forget what waits for a connection, or of it what expired before this time (17 digits).
        Returns the request ids."""
        cdef uint32_t[2] head
        cdef const uint8_t* record
        cdef size_t at = self._queue_at, end = self._queue.size, size
        cdef const char* digits = NULL
        cdef list dropped = []
        if expired_before is not None:
            digits = expired_before
        self._queue_at = self._queue.size = self.queue_count = 0
        while at < end:
            record = self._queue.bytes + at
            memcpy(head, record, MESSAGE_HEAD)
            size = MESSAGE_HEAD + head[1]
            at += size
            if digits == NULL or memcmp(
                _expiry(record + MESSAGE_HEAD), digits, EXPIRY_SIZE
            ) < 0:
                dropped.append(head[0])
            else:
                memmove(self._queue.bytes + self._queue.size, record, size)
                self._queue.size += size
                self.queue_count += 1
        return dropped

    cdef HttpClientConnection _next_open(self):
        """The one used last: the others may grow old and be closed. It leaves the list when it is
        full."""
        cdef HttpClientConnection connection
        if self._open:
            connection = <HttpClientConnection>self._open[len(self._open) - 1]
            if connection.waiting + 1 == self._pool.depth:
                self._open.pop()
                connection._listed = False
            return connection
        if not self._pool._idle or self.carrying >= self._connections_max:
            return None
        connection = <HttpClientConnection>self._pool._idle.popitem()[0]
        connection._listed = False
        connection.outlet = self
        self.carrying += 1
        if self._pool.depth > 1:
            self._open.append(connection)
            connection._listed = True
        return connection

    cdef bint _is_full(self, size_t size) noexcept:
        return (
            self.queue_count >= self._queue_count_max
            or self._queue.size - self._queue_at + size > self._queue_size_max
        )

    cdef int _enqueue(self, const uint8_t* record, size_t size) except -1:
        if arena_append(&self._queue, record, size) < 0:
            raise MemoryError()
        self.queue_count += 1
        return 0

    cdef void _forget_sent(self) noexcept:
        """Not at each record: moving what is left costs no more than what has gone did."""
        cdef size_t rest = self._queue.size - self._queue_at
        if self._queue_at < rest:
            return
        if rest:
            memmove(self._queue.bytes, self._queue.bytes + self._queue_at, rest)
        self._queue.size = rest
        self._queue_at = 0

    cdef int _answer(self, uint32_t request_id, const uint8_t* packet, size_t size) except -1:
        if self.link.state.closed or self.link._batch == NULL:
            return 0
        if batch_append(
            self.link._batch, self.link.state.index, self.link.state.account, request_id, packet,
            <uint16_t>size,
        ) == NULL:
            raise MemoryError()
        return 0


cdef class HttpClientConnection(HttpSocket):
    def __init__(self, HttpPool pool not None):
        self._pool = pool
        self._written = <Written*>calloc(pool.depth, sizeof(Written))
        if self._written == NULL:
            raise MemoryError()
        self.keep_alive_seconds = float("inf")

    def __dealloc__(self):
        free(self._written)

    cdef void _prefetch(self) noexcept:
        cdef const char* at = <const char*><void*>self.outlet
        prefetch(at)
        prefetch(at + 64)
        prefetch(self._written)

    # --- what a subclass says ---------------------------------------------------------------------

    def answered(self, uint32_t request_id, uint32_t status, bytes body):
        """An answer that is no packet, or not with status 200."""

    def other(self, bytes received):
        """Bytes of answers that are for the full parser: these and all that follow."""

    def failed(self, str error):
        """The peer broke the protocol: hang up."""

    def retire(self):
        """The peer will close this connection: hang up."""

    # --- what the shell tells ---------------------------------------------------------------------

    def opened(self):
        """It can take requests."""
        self._offer()

    def pop(self):
        """The id of the oldest request without an answer, which is being answered. IndexError."""
        if self.waiting == 0:
            raise IndexError("no request waits")
        return self._pop()

    def offer(self):
        """The next request may come."""
        self._offer()

    def withdraw(self):
        """It takes no request any more."""
        self._over = True
        self._unlist()

    def lost(self):
        """The socket has gone. Returns the ids of the requests that were written and not
        answered."""
        cdef HttpOutlet outlet = self.outlet
        cdef list ids = []
        self.withdraw()
        self.detach()
        while self.waiting:
            ids.append(self._pop())
        self._part()
        if outlet is not None and outlet.queue_count:
            # It may have one in the place of this one.
            outlet._wait()
            self._pool._serve()
        return ids

    @property
    def expiry(self):
        """Of the oldest request without an answer, 17 digits; empty if there is none."""
        if self.waiting == 0:
            return b""
        return (<const uint8_t*>self._written[self._first].expiry)[:EXPIRY_SIZE]

    # --- requests ---------------------------------------------------------------------------------

    cdef int _send(self, uint32_t request_id, const uint8_t* packet, size_t size) except -1:
        cdef bytes head = self.outlet._head
        cdef size_t head_size = PyBytes_GET_SIZE(head)
        cdef uint8_t* room = arena_room(&self._output, head_size + HTTP_LENGTH_SIZE_MAX + size)
        cdef Written* written = &self._written[
            (self._first + self.waiting) % self._pool.depth
        ]
        if room == NULL:
            raise MemoryError()
        memcpy(room, PyBytes_AS_STRING(head), head_size)
        head_size += http_write_length(room + head_size, size)
        memcpy(room + head_size, packet, size)
        self._output.size += head_size + size
        written.request_id = request_id
        memcpy(written.expiry, _expiry(packet), EXPIRY_SIZE)
        self.waiting += 1
        return 0

    # --- answers ----------------------------------------------------------------------------------

    cdef uint32_t _pop(self) noexcept:
        cdef uint32_t request_id = self._written[self._first].request_id
        self._first = (self._first + 1) % self._pool.depth
        self.waiting -= 1
        return request_id

    cdef int _offer(self) except -1:
        """The next request may come: of its account while it carries others of it, else of whoever
        waits first."""
        cdef HttpOutlet outlet = self.outlet
        self.idle_since = self._pool.now
        if self._over:
            return 0
        if self.waiting:
            self._list()
            outlet._dispatch()
            return 0
        self._unlist()
        self._part()
        self._list()
        if outlet is not None and outlet.queue_count:
            outlet._wait()
        return self._pool._serve()

    cdef int _list(self) except -1:
        if not self._listed:
            self._listed = True
            if self.outlet is None:
                self._pool._idle[self] = None
            else:
                self.outlet._open.append(self)
        return 0

    cdef int _unlist(self) except -1:
        if self._listed:
            self._listed = False
            if self.outlet is None:
                del self._pool._idle[self]
            else:
                self.outlet._open.remove(self)
        return 0

    cdef int _ended(self) except -1:
        # Before a request of whoever comes next is written to it.
        if self.waiting == 0:
            self.withdraw()
        return 0

    cdef int _part(self) except -1:
        """It carries nothing of its account any more."""
        if self.outlet is not None:
            self.outlet.carrying -= 1
            self.outlet = None
        return 0

    cdef int _fed(self) except -1:
        cdef const uint8_t* at
        cdef HttpOutcome outcome
        cdef size_t size
        cdef uint32_t before = self.waiting
        if self._other:
            self.other(self._take_rest())
            return 0
        while self._parsed < self._input.size and not self._over:
            if self.waiting == 0:
                self.failed("peer sent an answer to nothing")
                return 0
            at = self._input.bytes + self._parsed
            size = self._input.size - self._parsed
            if self._head.size == 0 and not self._is_known(at, size):
                outcome = http_read_response(&self._head, at, size)
                if outcome == HTTP_MORE:
                    break
                if outcome != HTTP_DONE:
                    self._other = True
                    self.other(self._take_rest())
                    return 0
                self._remember(at)
            if size < self._head.size + self._head.body_size:
                break
            if self.waiting == 1 and size > self._head.size + self._head.body_size:
                # Whose answer would the second one be?
                self.failed("peer sent more than one answer")
                return 0
            self._take(at)
        if self._over:
            self._parsed = self._input.size
        elif self.waiting != before:
            self._offer()
        return 0

    cdef int _take(self, const uint8_t* message) except -1:
        cdef const uint8_t* packet = message + self._head.size
        cdef size_t size = self._head.body_size
        cdef uint32_t request_id = self._pop()
        self._parsed += self._head.size + size
        if self._head.keep_alive_seconds != HTTP_KEEP_ALIVE_UNSAID:
            self.keep_alive_seconds = max(
                self._head.keep_alive_seconds - KEEP_ALIVE_MARGIN_SECONDS, 0.0
            )
        if self._head.status == 200 and size and (
            packet[0] == PACKET_FULFILL or packet[0] == PACKET_REJECT
        ):
            self.outlet.last_error = ""
            self.outlet._answer(request_id, packet, size)
            self._want_turn(self.outlet._wake)
        else:
            self.answered(request_id, self._head.status, packet[:size])
        if self._head.closes:
            self.retire()
        http_head_start(&self._head)
        return 0
