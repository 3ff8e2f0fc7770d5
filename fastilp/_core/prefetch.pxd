# Asking the processor for memory ahead of its use: no more than a hint, whatever the address.

from cpython.ref cimport PyObject

cdef extern from * nogil:
    void prefetch "__builtin_prefetch"(const void* address) noexcept nogil

cdef extern from "Python.h":
    # Borrowed and not checked: for what is to be asked for.
    PyObject* PyList_GET_ITEM(object items, Py_ssize_t i)
