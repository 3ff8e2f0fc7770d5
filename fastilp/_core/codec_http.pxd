# HTTP/1.1 messages in exactly the shape that ILP-over-HTTP peers send, in place. Whatever is not
# exactly that is HTTP_OTHER, and somebody else's.

from libc.stdint cimport uint8_t, uint32_t


cdef enum HttpOutcome:
    HTTP_MORE = 0                   # the head is not complete
    HTTP_DONE = 1                   # the head is complete and all fields are set
    HTTP_OTHER = 2                  # another shape, well-formed or not


cdef struct HttpHead:
    # Of a head that is read in pieces: where its next line begins, and how far that line was
    # searched for its end.
    size_t line
    size_t searched
    uint32_t seen                   # HTTP_SEEN_* of the fields so far
    # Offsets are from the first byte of the message.
    uint32_t size                   # of the head, the empty line included
    uint32_t body_size
    # request
    uint32_t username
    uint32_t username_size          # 0: the token alone says who it is
    uint32_t token
    uint32_t token_size
    uint8_t get                     # GET on an ILP URL
    # response
    uint8_t closes                  # Connection: close
    uint32_t status
    uint32_t keep_alive_seconds     # HTTP_KEEP_ALIVE_UNSAID if there is none


cdef enum:
    HTTP_KEEP_ALIVE_UNSAID = 0xFFFF_FFFF
    # Room for an answer's head or for the digits and the empty line of a request's.
    HTTP_ANSWER_HEAD_SIZE_MAX = 160
    HTTP_LENGTH_SIZE_MAX = 16


cdef void http_head_start(HttpHead* head) noexcept nogil

# Read on at what was not read yet; `bytes` is the message from its first byte. After HTTP_MORE the
# same head is given again with more bytes.
cdef HttpOutcome http_read_request(
    HttpHead* head, const uint8_t* bytes, size_t size
) noexcept nogil
cdef HttpOutcome http_read_response(
    HttpHead* head, const uint8_t* bytes, size_t size
) noexcept nogil

# The head of an answer that carries a packet; 200 or 400. Returns its size.
cdef size_t http_write_answer(
    uint8_t* out, uint32_t status, size_t body_size, bint closes
) noexcept nogil

# The end of a request's head: the digits of Content-Length and the empty line.
cdef size_t http_write_length(uint8_t* out, size_t body_size) noexcept nogil
