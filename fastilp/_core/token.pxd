# Tokens of connections that end at this node: the last segment of their addresses. A body and a
# check of it under the node's key, so that the switch knows them without asking anybody.

from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    # 16 random bytes as base64url; and with the nonce and secret of receipts, encrypted (80 bytes).
    TOKEN_BODY_SIZE = 22
    TOKEN_BODY_RECEIPTS_SIZE = 107
    TOKEN_CHECK_SIZE = 11

cdef extern from "siphash.h" nogil:
    uint64_t siphash(const uint64_t* key, const uint8_t* at, size_t size)

cdef void token_check_write(const uint64_t* key, const uint8_t* body, size_t size, uint8_t* out) \
    noexcept nogil
# Whether the last segment of a valid address is a token made with this key.
cdef bint token_found(const uint64_t* key, const uint8_t* address, size_t size) noexcept nogil
