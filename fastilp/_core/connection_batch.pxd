# One socket of the batch protocol: the buffer that it receives into, and the way into the batch.

from libc.stdint cimport uint8_t

from fastilp._core.codec_batch cimport BatchFrame
from fastilp._core.link cimport Connection


cdef class BatchConnection(Connection):
    cdef uint8_t* _bytes            # what came and was not read yet lies at its start
    cdef size_t _size
    cdef size_t _capacity
    cdef size_t _kept               # of it: whole frames with Prepares that wait for the next turn
    cdef int _exports               # memoryviews that look into it
    cdef int _fault                 # BATCH_*; nothing more is read
    cdef bint _bound                # was bound once

    cdef int _grow(self, size_t capacity) except -1
    cdef bint _read(self) noexcept nogil
    cdef bint _take(self, const BatchFrame* frame, const uint8_t* packet) noexcept nogil
