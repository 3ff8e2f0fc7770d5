"""Tokens of connections that end at this node (STREAM, RFC 29): how they are made and known.

A token is the last segment of an address that we gave out: a body, which only the receiver reads,
and 11 characters of SipHash of it. The hash keeps other people's packets from being handed to the
receiver; that a packet is genuine is told by its decryption alone. Imports errors."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from fastilp.errors import UsageError

cdef const char* _ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

BODY_SIZE = TOKEN_BODY_SIZE
BODY_RECEIPTS_SIZE = TOKEN_BODY_RECEIPTS_SIZE
CHECK_SIZE = TOKEN_CHECK_SIZE


cdef void token_check_write(
    const uint64_t* key, const uint8_t* body, size_t size, uint8_t* out
) noexcept nogil:
    cdef uint64_t check = siphash(key, body, size)
    cdef int i
    for i in range(TOKEN_CHECK_SIZE):
        out[i] = <uint8_t>_ALPHABET[check & 63]
        check >>= 6


cdef bint _ends_with(
    const uint64_t* key, const uint8_t* address, size_t size, size_t body_size
) noexcept nogil:
    cdef size_t token_size = body_size + TOKEN_CHECK_SIZE
    cdef uint8_t[TOKEN_CHECK_SIZE] check
    cdef const uint8_t* token
    if size <= token_size or address[size - token_size - 1] != c".":
        return False
    token = address + size - token_size
    token_check_write(key, token, body_size, check)
    return memcmp(check, token + body_size, TOKEN_CHECK_SIZE) == 0


cdef bint token_found(const uint64_t* key, const uint8_t* address, size_t size) noexcept nogil:
    return (
        _ends_with(key, address, size, TOKEN_BODY_SIZE)
        or _ends_with(key, address, size, TOKEN_BODY_RECEIPTS_SIZE)
    )


cdef int _key_words(bytes key, uint64_t* words) except -1:
    if key is None or len(key) != 16:
        raise UsageError("a token key has 16 bytes")
    memcpy(words, <const char*>key, 16)
    return 0


def token_check(bytes key not None, bytes body not None):
    """The 11 characters that follow a token's body."""
    cdef uint64_t[2] words
    cdef uint8_t[TOKEN_CHECK_SIZE] check
    _key_words(key, words)
    token_check_write(words, <const uint8_t*><const char*>body, len(body), check)
    return PyBytes_FromStringAndSize(<const char*>check, TOKEN_CHECK_SIZE)


def has_token(bytes key not None, bytes address not None):
    """Whether the last segment of an address is a token made with this key."""
    cdef uint64_t[2] words
    _key_words(key, words)
    return token_found(words, <const uint8_t*><const char*>address, len(address))
