"""Fulfillments against conditions: SHA-256 of 32-byte messages, a column at a time (RFC 27).

Imports nothing of ours but its own C kernels (sha256.h). Chooses the fastest kernel that this
machine can run, once, at import. FASTILP_SHA256=portable|ni forces one: that is the core's one look
at the environment, and it is there for tests, because the choice is made before Python could pass
anything.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport getenv
from libc.string cimport memcmp, strcmp

cdef extern from "sha256.h" nogil:
    ctypedef void (*sha256_kernel)(
        const uint8_t* const* messages, uint8_t* digests, size_t count
    ) noexcept nogil
    void sha256_portable(const uint8_t* const* messages, uint8_t* digests, size_t count) noexcept
    int sha256_ni_available() noexcept
    void sha256_ni(const uint8_t* const* messages, uint8_t* digests, size_t count) noexcept

cdef enum:
    MESSAGE_SIZE = 32
    # Digests of one call to a kernel stay on the stack; wide kernels hash 8 or 16 at once.
    CHUNK_COUNT_MAX = 64

cdef sha256_kernel _kernel = sha256_portable
cdef str _kernel_name = "portable"


cdef void condition_check(
    const uint8_t** fulfillments, const uint8_t** conditions, uint8_t* matches, size_t count
) noexcept nogil:
    cdef uint8_t[CHUNK_COUNT_MAX * MESSAGE_SIZE] digests
    cdef size_t chunk, i
    while count != 0:
        chunk = count if count < CHUNK_COUNT_MAX else CHUNK_COUNT_MAX
        _kernel(fulfillments, digests, chunk)
        for i in range(chunk):
            matches[i] = memcmp(digests + MESSAGE_SIZE * i, conditions[i], MESSAGE_SIZE) == 0
        fulfillments += chunk
        conditions += chunk
        matches += chunk
        count -= chunk


cdef void condition_of(const uint8_t* message, uint8_t* digest) noexcept nogil:
    _kernel(&message, digest, 1)


cdef bytes _checked(object value):
    if not isinstance(value, bytes) or len(value) != MESSAGE_SIZE:
        raise ValueError(f"fulfillments and conditions are 32 bytes each, not {value!r}")
    return value


def check(fulfillments, conditions):
    cdef const uint8_t* messages[CHUNK_COUNT_MAX]
    cdef const uint8_t* digests[CHUNK_COUNT_MAX]
    cdef uint8_t[CHUNK_COUNT_MAX] matches
    cdef size_t count, start, i
    # Own tuples keep every object alive and in place while the pointers are in use.
    cdef tuple message_objects = tuple(_checked(value) for value in fulfillments)
    cdef tuple digest_objects = tuple(_checked(value) for value in conditions)
    if len(message_objects) != len(digest_objects):
        raise ValueError("there must be as many conditions as fulfillments")
    result = []
    for start in range(0, len(message_objects), CHUNK_COUNT_MAX):
        count = min(<size_t>CHUNK_COUNT_MAX, <size_t>len(message_objects) - start)
        for i in range(count):
            messages[i] = <const uint8_t*><bytes>message_objects[start + i]
            digests[i] = <const uint8_t*><bytes>digest_objects[start + i]
        condition_check(messages, digests, matches, count)
        for i in range(count):
            result.append(bool(matches[i]))
    return result


def kernel():
    return _kernel_name


cdef int _choose() except -1:
    global _kernel, _kernel_name
    cdef const char* wanted = getenv("FASTILP_SHA256")
    if wanted != NULL and strcmp(wanted, b"portable") == 0:
        return 0
    if wanted != NULL and strcmp(wanted, b"ni") != 0:
        raise ImportError(f"FASTILP_SHA256 is {wanted!r}, must be portable or ni")
    if sha256_ni_available():
        _kernel = sha256_ni
        _kernel_name = "ni"
    elif wanted != NULL:
        raise ImportError("FASTILP_SHA256 is ni, but this processor has no SHA extensions")
    return 0


_choose()
