"""Readiness of many sockets in one call, without a callback of the event loop for each.

Beside the store's thread this is the only place of the core that asks the system for anything, and
http_socket is the only one that reads and writes sockets; the switch knows of neither. The event
loop watches one descriptor, `Poller.fileno()`, and calls `serve` when it is readable. Imports
nothing of ours but limits."""

cimport cython
from libc.errno cimport errno
from posix.unistd cimport close

from fastilp._core.limits cimport POLL_EVENTS_MAX
from fastilp._core.prefetch cimport PyList_GET_ITEM, prefetch

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLRDHUP
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int count_max, int timeout_ms)


cdef enum:
    # How far ahead of its turn a socket's object is asked for, and then what it points to.
    AHEAD_SOCKET = 4
    AHEAD_BEHIND = 2
    SOCKET_LINES = 5


cdef class Polled:
    cdef int _readable(self) except -1:
        return 0

    cdef void _prefetch(self) noexcept:
        pass


@cython.final
cdef class Poller:
    def __cinit__(self, wake):
        self._wake = wake
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        self._by_descriptor = []
        if self._epoll < 0:
            raise OSError(errno, "epoll_create1")

    def __dealloc__(self):
        if self._epoll >= 0:
            close(self._epoll)

    def fileno(self):
        """Readable when `serve` has something to do."""
        return self._epoll

    def close(self):
        """Nobody is served any more."""
        if self._epoll >= 0:
            close(self._epoll)
            self._epoll = -1
        self._by_descriptor.clear()

    @cython.binding(False)
    def serve(self):
        """Read what is readable, at most once from each socket; the rest is for the next call."""
        cdef epoll_event[POLL_EVENTS_MAX] events
        cdef int i, descriptor
        cdef int count = epoll_wait(self._epoll, events, POLL_EVENTS_MAX, 0)
        try:
            for i in range(count):
                self._prefetch_ahead(events, count, i)
                descriptor = events[i].data.fd
                # One that was served before may have removed this one.
                if descriptor < len(self._by_descriptor):
                    polled = <Polled>self._by_descriptor[descriptor]
                    if polled is not None:
                        polled._readable()
        finally:
            # Whatever one of them raised: rows of the others wait.
            self._rouse()

    cdef int _prefetch_ahead(self, const epoll_event* events, int count, int i) except -1:
        cdef Py_ssize_t known = len(self._by_descriptor)
        cdef const char* at
        cdef int line
        if i + AHEAD_SOCKET < count and events[i + AHEAD_SOCKET].data.fd < known:
            at = <const char*>PyList_GET_ITEM(
                self._by_descriptor, events[i + AHEAD_SOCKET].data.fd
            )
            for line in range(SOCKET_LINES):
                prefetch(at + line * 64)
        if i + AHEAD_BEHIND < count and events[i + AHEAD_BEHIND].data.fd < known:
            polled = <Polled>self._by_descriptor[events[i + AHEAD_BEHIND].data.fd]
            if polled is not None:
                polled._prefetch()
        return 0

    cdef int _rouse(self) except -1:
        if self.wanted:
            self.wanted = False
            self._wake()
        return 0

    cdef int _add(self, int descriptor, Polled polled) except -1:
        cdef epoll_event event
        if descriptor >= len(self._by_descriptor):
            self._by_descriptor += [None] * (descriptor + 1 - len(self._by_descriptor))
        event.events = EPOLLIN | EPOLLRDHUP
        event.data.u64 = 0
        event.data.fd = descriptor
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD, descriptor, &event) < 0:
            raise OSError(errno, "epoll_ctl")
        self._by_descriptor[descriptor] = polled
        return 0

    cdef int _remove(self, int descriptor) except -1:
        cdef epoll_event event
        if descriptor < len(self._by_descriptor):
            self._by_descriptor[descriptor] = None
            # It may be closed already, and then the system has removed it.
            epoll_ctl(self._epoll, EPOLL_CTL_DEL, descriptor, &event)
        return 0
