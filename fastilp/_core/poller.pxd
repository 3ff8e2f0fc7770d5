# Which of many sockets are readable, asked once for all of them.

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data


cdef class Polled:
    # Subclasses: the socket is readable, or has ended.
    cdef int _readable(self) except -1
    # Ask for the memory behind this object that `_readable` will read.
    cdef void _prefetch(self) noexcept


cdef class Poller:
    cdef int _epoll                 # -1 once it is closed
    cdef list _by_descriptor        # Polled or None
    cdef object _wake
    cdef bint wanted                # rows came in: a turn is asked for once all have been read

    cdef int _prefetch_ahead(self, const epoll_event* events, int count, int i) except -1
    cdef int _rouse(self) except -1
    cdef int _add(self, int descriptor, Polled polled) except -1
    cdef int _remove(self, int descriptor) except -1
