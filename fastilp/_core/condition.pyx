"""Fulfillments against conditions: SHA-256 of 32-byte messages, a column at a time (RFC 27).

Imports nothing of ours but its own C kernels (sha256.h). Chooses the fastest kernel that this
machine can run, once, at import. FASTILP_SHA256=portable|ni|avx2|avx512 forces one: that is the
core's one look at the environment, and it is there for tests, because the choice is made before
Python could pass anything.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport getenv

cdef extern from "sha256.h" nogil:
    ctypedef void (*sha256_kernel)(
        const uint8_t* const* messages, const uint8_t* const* conditions, uint8_t* matches,
        size_t count,
    ) noexcept nogil
    void sha256_portable(
        const uint8_t* const* messages, const uint8_t* const* conditions, uint8_t* matches,
        size_t count,
    ) noexcept
    int sha256_ni_available() noexcept
    void sha256_ni(
        const uint8_t* const* messages, const uint8_t* const* conditions, uint8_t* matches,
        size_t count,
    ) noexcept
    int sha256_avx2_available() noexcept
    void sha256_avx2(
        const uint8_t* const* messages, const uint8_t* const* conditions, uint8_t* matches,
        size_t count,
    ) noexcept
    int sha256_avx512_available() noexcept
    int sha256_avx512_halved() noexcept
    void sha256_avx512(
        const uint8_t* const* messages, const uint8_t* const* conditions, uint8_t* matches,
        size_t count,
    ) noexcept

cdef enum:
    MESSAGE_SIZE = 32
    AVX2_LANES = 8
    AVX512_LANES = 16
    # A pass of a wide kernel costs the same with one lane in use as with all of them. So many rows
    # at the end of a column are cheaper one by one: measured, 330 ns a pass, 167 ns a row by plain
    # C and 18 ns by the SHA extensions; processors differ, so the latter is set below the 18 rows
    # that this says.
    PORTABLE_REST_MAX = 1
    NI_REST_MAX = 8
    # Rows of one turn through the arrays of `check`.
    CHUNK_COUNT_MAX = 64

# What whole multiples of the lanes are given to, and what the rest is given to if it is small.
cdef sha256_kernel _wide = sha256_portable
cdef sha256_kernel _narrow = sha256_portable
cdef size_t _lanes = 1
cdef size_t _rest_max = 0
cdef str _kernel_name = "portable"


cdef void condition_check(
    const uint8_t** fulfillments, const uint8_t** conditions, uint8_t* matches, size_t count
) noexcept nogil:
    cdef size_t rest = count % _lanes
    if rest > _rest_max:
        rest = 0
    count -= rest
    _wide(fulfillments, conditions, matches, count)
    if rest != 0:
        _narrow(fulfillments + count, conditions + count, matches + count, rest)


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


def count_matches(const uint8_t[::1] fulfillments, const uint8_t[::1] conditions):
    cdef const uint8_t* messages[CHUNK_COUNT_MAX]
    cdef const uint8_t* digests[CHUNK_COUNT_MAX]
    cdef uint8_t[CHUNK_COUNT_MAX] matches
    cdef size_t size = fulfillments.shape[0], start, count, i, found = 0
    if size % MESSAGE_SIZE or size != <size_t>conditions.shape[0]:
        raise ValueError("there must be as many conditions as fulfillments, of 32 bytes each")
    for start in range(0, size // MESSAGE_SIZE, CHUNK_COUNT_MAX):
        count = min(<size_t>CHUNK_COUNT_MAX, size // MESSAGE_SIZE - start)
        for i in range(count):
            messages[i] = &fulfillments[MESSAGE_SIZE * (start + i)]
            digests[i] = &conditions[MESSAGE_SIZE * (start + i)]
        condition_check(messages, digests, matches, count)
        for i in range(count):
            found += matches[i]
    return found


def kernel():
    return _kernel_name


def kernels():
    names = ["portable"]
    if sha256_avx2_available():
        names.insert(0, "avx2")
    if sha256_ni_available():
        names.insert(0, "ni")
    if sha256_avx512_available():
        names.insert(1 if sha256_avx512_halved() and sha256_ni_available() else 0, "avx512")
    return names


cdef void _use(str name):
    global _wide, _narrow, _lanes, _rest_max, _kernel_name
    _kernel_name = name
    if name == "avx512":
        _wide, _lanes = sha256_avx512, AVX512_LANES
        _narrow = sha256_ni if sha256_ni_available() else sha256_portable
        _rest_max = NI_REST_MAX if sha256_ni_available() else PORTABLE_REST_MAX
    elif name == "ni":
        _wide = sha256_ni
    elif name == "avx2":
        # Never with the SHA extensions beside it: those alone would be faster.
        _wide, _lanes, _rest_max = sha256_avx2, AVX2_LANES, PORTABLE_REST_MAX


cdef int _choose() except -1:
    cdef const char* wanted = getenv("FASTILP_SHA256")
    if wanted == NULL:
        _use(kernels()[0])
        return 0
    name = wanted.decode(errors="replace")
    if name not in ("portable", "ni", "avx2", "avx512"):
        raise ImportError(f"FASTILP_SHA256 is {name!r}, must be portable, ni, avx2 or avx512")
    if name not in kernels():
        raise ImportError(f"FASTILP_SHA256 is {name}, which this processor or system cannot run")
    _use(name)
    return 0


_choose()
