# Requests of ILP-over-HTTP that we send: from a link's egress to connections, and from answers to
# rows.

from libc.stdint cimport uint8_t, uint32_t

from fastilp._core.arena cimport Arena
from fastilp._core.http_socket cimport HttpSocket
from fastilp._core.link cimport Link, LinkOwner


cdef enum:
    EXPIRY_SIZE = 17                # digits of expiresAt (RFC 27)


cdef struct Written:
    # A request whose answer is awaited.
    uint32_t request_id
    uint8_t[EXPIRY_SIZE] expiry


cdef class HttpPool:
    cdef readonly uint32_t depth
    cdef public double now
    cdef dict _idle                 # connections that wait for no answer; the last was used last
    cdef object _waiting            # outlets that would take one of them, in order; a dict too

    cdef int _serve(self) except -1


cdef class HttpOutlet(LinkOwner):
    cdef readonly Link link
    cdef HttpPool _pool
    cdef readonly object owner
    cdef readonly uint32_t carrying
    cdef public str last_error
    cdef bytes _head                # of every request, up to the digits of its length
    cdef object _wake
    cdef uint32_t _connections_max
    cdef bint _is_waiting           # in the pool
    cdef list _open                 # connections of this outlet that can take another request
    cdef Arena _queue               # records as in a link's egress, from _queue_at on
    cdef size_t _queue_at
    cdef readonly size_t queue_count
    cdef size_t _queue_count_max
    cdef size_t _queue_size_max

    cdef HttpClientConnection _next_open(self)
    cdef int _dispatch(self) except -1
    cdef int _wait(self) except -1
    cdef bint _is_full(self, size_t size) noexcept
    cdef int _enqueue(self, const uint8_t* record, size_t size) except -1
    cdef int _answer(self, uint32_t request_id, const uint8_t* packet, size_t size) except -1
    cdef void _forget_sent(self) noexcept


cdef class HttpClientConnection(HttpSocket):
    cdef HttpPool _pool
    cdef readonly HttpOutlet outlet
    cdef Written* _written          # ring of the pool's depth
    cdef uint32_t _first
    cdef readonly uint32_t waiting
    cdef bint _listed               # among the outlet's open ones, or the pool's idle ones
    cdef bint _other                # the full parser reads its answers
    cdef bint _over                 # takes no request any more
    cdef public double idle_since
    cdef public double keep_alive_seconds

    cdef int _send(self, uint32_t request_id, const uint8_t* packet, size_t size) except -1
    cdef uint32_t _pop(self) noexcept
    cdef int _offer(self) except -1
    cdef int _list(self) except -1
    cdef int _unlist(self) except -1
    cdef int _part(self) except -1
    cdef int _take(self, const uint8_t* message) except -1
