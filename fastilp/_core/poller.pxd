# Which of many sockets are readable, asked once for all of them.

cdef class Polled:
    # Subclasses: the socket is readable, or has ended.
    cdef int _readable(self) except -1


cdef class Poller:
    cdef int _epoll                 # -1 once it is closed
    cdef list _by_descriptor        # Polled or None
    cdef object _wake
    cdef bint wanted                # rows came in: a turn is asked for once all have been read

    cdef int _rouse(self) except -1
    cdef int _add(self, int descriptor, Polled polled) except -1
    cdef int _remove(self, int descriptor) except -1
