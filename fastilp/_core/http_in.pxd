# Requests of ILP-over-HTTP: from a connection's bytes to rows, and from a link's egress to answers
# in the order of their requests.

from libc.stdint cimport uint8_t, uint32_t

from fastilp._core.codec_http cimport HttpHead, HttpOutcome
from fastilp._core.http_socket cimport HttpSocket
from fastilp._core.link cimport Link, LinkOwner


cdef enum:
    # A request id is slot and generation; the top bit marks ids that the shell gave out itself.
    EXCHANGE_SLOT_BITS = 20
    EXCHANGE_SLOT_MASK = (1 << EXCHANGE_SLOT_BITS) - 1
    EXCHANGE_GENERATION_MASK = (1 << (31 - EXCHANGE_SLOT_BITS)) - 1
    EXCHANGE_FOREIGN = 1 << 31


cdef struct Exchange:
    uint32_t sequence               # of the request on its connection; while free: the next free
    uint32_t generation
    uint8_t waiting


cdef class HttpExchanges(LinkOwner):
    cdef readonly Link link
    cdef object _is_invalid
    cdef object _take_others
    cdef list _connections          # by slot; None while it is free
    cdef Exchange* _slots
    cdef uint32_t _capacity
    cdef uint32_t _free             # first free slot, EXCHANGE_SLOT_MASK = none
    cdef readonly uint32_t waiting

    cdef bint _is_open(self) noexcept
    cdef bint _turn_is_full(self) noexcept
    cdef int _grow(self) except -1
    cdef int _receive(
        self, HttpConnection connection, uint32_t sequence, const uint8_t* packet, size_t size
    ) except -1
    cdef HttpConnection _release(self, uint32_t slot)
    cdef uint32_t _status_of(self, const uint8_t* packet, size_t size) except 0


cdef class HttpAccess:
    cdef dict _credentials          # username, NUL, token -> HttpExchanges
    cdef uint32_t _version          # changes with every token
    cdef object _find
    cdef object _refusal
    cdef object _wake
    cdef size_t _head_size_max
    cdef size_t _body_size_max
    cdef uint32_t _requests_in_flight_max
    cdef public double now

    cdef HttpExchanges _open(self, const HttpHead* head, const uint8_t* request)


cdef class HttpConnection(HttpSocket):
    cdef HttpAccess _access
    cdef HttpExchanges _exchanges   # whose the request is whose head was read last
    cdef uint32_t _version          # of the access, when that was found out
    cdef list _early                # answers whose turn has not come, by sequence; None = not yet
    cdef uint32_t _first            # sequence of the oldest request without an answer
    cdef uint32_t _next
    cdef readonly bint closed
    cdef readonly bint last         # no request is taken any more
    cdef readonly bint leaving      # the rest is somebody else's, once all answers are out
    cdef readonly bint busy         # too many requests wait
    cdef public double idle_since
    cdef public double reading_since        # 0 between requests

    cdef bint _recognise(self, const uint8_t* request, size_t size) noexcept
    cdef HttpOutcome _read_head(self, const uint8_t* request, size_t size) except *
    cdef bint _is_current(self, const uint8_t* request) except -1
    cdef int _take(self, const uint8_t* request) except -1
    cdef int _take_more_at_once(self) except -1
    cdef int _answer(
        self, uint32_t sequence, uint32_t status, const uint8_t* body, size_t size
    ) except -1
    cdef int _write_answer(self, uint32_t status, const uint8_t* body, size_t size) except -1
    cdef int _settle(self) except -1
