"""HTTP/1.1 in exactly the shape that ILP peers send (RFC 35, RFC 9112), read in place.

A request is `POST` or `GET` on `/accounts/<username>/ilp`, `/ilp` or `/` (POST), with one Host, one
plain Content-Length, at most one Authorization and Content-Type, and other fields that say nothing
about framing. Lines end with CRLF, names touch their colon, values are printable ASCII. There is no
leniency here: everything else, malformed or merely unusual, is HTTP_OTHER, and the caller hands it
to the full parser. So what could be read in two ways is never read in this file at all. Knows
nothing of the switch. May import limits only."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, memset

from fastilp._core.limits cimport HTTP_BODY_SIZE_MAX, HTTP_HEAD_SIZE_MAX

cdef enum:
    SEEN_HOST = 1
    SEEN_LENGTH = 2
    SEEN_TYPE = 4
    SEEN_AUTHORIZATION = 8
    SEEN_CONNECTION = 16
    SEEN_KEEP_ALIVE = 32

cdef enum:
    TOKEN_CHAR = 1                  # of a field name (RFC 9110 5.6.2)
    UNRESERVED = 2                  # of a username that needs no %-escapes (RFC 3986 2.3)
    VALUE_CHAR = 4                  # of a field value, tab and blank included

cdef uint8_t[256] _classes
cdef uint8_t[256] _lower


def _fill_tables():
    for i in range(256):
        char = chr(i)
        alphanumeric = i < 128 and char.isalnum()
        _lower[i] = ord(char.lower()) if i < 128 else i
        _classes[i] = (
            (TOKEN_CHAR if alphanumeric or (i < 128 and char in "!#$%&'*+-.^_`|~") else 0)
            | (UNRESERVED if alphanumeric or (i < 128 and char in "-._~") else 0)
            | (VALUE_CHAR if 0x20 <= i < 0x7F or i == 9 else 0)
        )


_fill_tables()


cdef inline bint _all(const uint8_t* at, size_t size, uint8_t wanted) noexcept nogil:
    cdef uint8_t every = wanted
    cdef size_t i
    for i in range(size):
        every &= _classes[at[i]]
    return every != 0


cdef inline bint _is(
    const uint8_t* at, size_t size, const char* text, size_t text_size
) noexcept nogil:
    """Equal but for the case of letters; `text` is in lower case."""
    cdef size_t i
    if size != text_size:
        return False
    for i in range(size):
        if _lower[at[i]] != <uint8_t>text[i]:
            return False
    return True


cdef inline bint _digits(
    const uint8_t* at, size_t size, uint32_t value_max, uint32_t* value
) noexcept nogil:
    """A decimal number without sign, blank or leading zero."""
    cdef uint32_t number = 0
    cdef size_t i
    if size == 0 or size > 9 or (at[0] == c"0" and size > 1):
        return False
    for i in range(size):
        if not c"0" <= at[i] <= c"9":
            return False
        number = number * 10 + (at[i] - c"0")
    value[0] = number
    return number <= value_max


cdef void http_head_start(HttpHead* head) noexcept nogil:
    memset(head, 0, sizeof(HttpHead))
    head.keep_alive_seconds = HTTP_KEEP_ALIVE_UNSAID


# --- requests -------------------------------------------------------------------------------------

cdef bint _request_begins_well(const uint8_t* bytes, size_t size) noexcept nogil:
    """Whether an unfinished first line can still become ours: what is not HTTP at all may never
    send a line's end."""
    if bytes[0] == c"P":
        return memcmp(bytes, b"POST /", min(size, <size_t>6)) == 0
    return memcmp(bytes, b"GET /", min(size, <size_t>5)) == 0


cdef bint _request_line(HttpHead* head, const uint8_t* line, size_t size) noexcept nogil:
    cdef size_t start = 5, end = size - 9
    if size < 15 or memcmp(line + end, b" HTTP/1.1", 9) != 0:
        return False
    if memcmp(line, b"POST ", 5) != 0:
        if memcmp(line, b"GET ", 4) != 0:
            return False
        head.get = True
        start = 4
    size = end - start
    line += start
    if size == 1 and line[0] == c"/":
        return not head.get
    if size == 4 and memcmp(line, b"/ilp", 4) == 0:
        return True
    if size <= 14 or memcmp(line, b"/accounts/", 10) != 0:
        return False
    if memcmp(line + size - 4, b"/ilp", 4) != 0 or not _all(line + 10, size - 14, UNRESERVED):
        return False
    head.username = <uint32_t>start + 10
    head.username_size = <uint32_t>size - 14
    return True


cdef bint _authorization(
    HttpHead* head, uint32_t at, const uint8_t* value, size_t size
) noexcept nogil:
    """`Bearer x`, or the bare token as interledger-relay sends it."""
    cdef size_t start = 0
    if size >= 6 and _is(value, 6, b"bearer", 6) and (size == 6 or value[6] == c" "):
        start = 6
        while start < size and value[start] == c" ":
            start += 1
    head.token = at + <uint32_t>start
    head.token_size = <uint32_t>(size - start)
    return memchr(value + start, c"\t", size - start) == NULL


cdef bint _is_packet_type(const uint8_t* value, size_t size) noexcept nogil:
    return (
        _is(value, size, b"application/octet-stream", 24)
        # quilt and the Java connector.
        or _is(value, size, b"application/ilp+octet-stream", 28)
    )


cdef uint32_t _request_field(
    HttpHead* head, const uint8_t* name, size_t name_size, const uint8_t* value, size_t size,
    uint32_t at,
) noexcept nogil:
    """The bit of a field that may come once; 0 for one that says nothing to us; -1 if it makes the
    request another shape."""
    if name_size == 4 and _is(name, 4, b"host", 4):
        return SEEN_HOST
    if name_size == 14 and _is(name, 14, b"content-length", 14):
        return SEEN_LENGTH if _digits(value, size, HTTP_BODY_SIZE_MAX, &head.body_size) else -1
    if name_size == 13 and _is(name, 13, b"authorization", 13):
        return SEEN_AUTHORIZATION if _authorization(head, at, value, size) else -1
    if name_size == 12 and _is(name, 12, b"content-type", 12):
        return SEEN_TYPE if _is_packet_type(value, size) else -1
    if name_size == 10 and _is(name, 10, b"connection", 10):
        return SEEN_CONNECTION if _is(value, size, b"keep-alive", 10) else -1
    if (
        (name_size == 17 and _is(name, 17, b"transfer-encoding", 17))
        or (name_size == 7 and _is(name, 7, b"upgrade", 7))
        or (name_size == 6 and _is(name, 6, b"expect", 6))
        or (name_size == 16 and _is(name, 16, b"content-encoding", 16))
    ):
        return -1
    return 0


cdef bint _request_is_whole(const HttpHead* head) noexcept nogil:
    if not head.seen & SEEN_HOST:
        return False
    if head.get:
        return head.body_size == 0
    return head.seen & SEEN_LENGTH and head.token_size != 0


# --- responses ------------------------------------------------------------------------------------

cdef bint _status_line(HttpHead* head, const uint8_t* line, size_t size) noexcept nogil:
    if size < 12 or memcmp(line, b"HTTP/1.1 ", 9) != 0 or (size > 12 and line[12] != c" "):
        return False
    # Below 200 another head follows, and 204 and 304 never have a body whatever they say.
    if not _digits(line + 9, 3, 599, &head.status) or head.status < 200:
        return False
    return head.status != 204 and head.status != 304 and _all(line, size, VALUE_CHAR)


cdef bint _keep_alive(HttpHead* head, const uint8_t* value, size_t size) noexcept nogil:
    """`timeout=5`, perhaps with `, max=1000` behind it."""
    cdef const uint8_t* end = <const uint8_t*>memchr(value, c",", size)
    if end != NULL:
        size = end - value
    if size > 8 and _is(value, 8, b"timeout=", 8):
        return _digits(value + 8, size - 8, 999_999_999, &head.keep_alive_seconds)
    # Whatever it says, the full parser knows.
    return False


cdef uint32_t _response_field(
    HttpHead* head, const uint8_t* name, size_t name_size, const uint8_t* value, size_t size
) noexcept nogil:
    if name_size == 14 and _is(name, 14, b"content-length", 14):
        return SEEN_LENGTH if _digits(value, size, HTTP_BODY_SIZE_MAX, &head.body_size) else -1
    if name_size == 10 and _is(name, 10, b"connection", 10):
        head.closes = _is(value, size, b"close", 5)
        return SEEN_CONNECTION if head.closes or _is(value, size, b"keep-alive", 10) else -1
    if name_size == 10 and _is(name, 10, b"keep-alive", 10):
        return SEEN_KEEP_ALIVE if _keep_alive(head, value, size) else -1
    if (
        (name_size == 17 and _is(name, 17, b"transfer-encoding", 17))
        or (name_size == 7 and _is(name, 7, b"upgrade", 7))
    ):
        return -1
    return 0


# --- both -----------------------------------------------------------------------------------------

cdef bint _field(
    HttpHead* head, const uint8_t* line, size_t size, bint response
) noexcept nogil:
    cdef const uint8_t* colon = <const uint8_t*>memchr(line, c":", size)
    cdef size_t name_size, start, end = size
    cdef uint32_t bit
    if colon == NULL or colon == line:
        return False
    name_size = colon - line
    # A blank before the colon, or a folded line, is no name.
    start = name_size + 1
    if not _all(line, name_size, TOKEN_CHAR) or not _all(line + start, size - start, VALUE_CHAR):
        return False
    while start < end and (line[start] == c" " or line[start] == c"\t"):
        start += 1
    while end > start and (line[end - 1] == c" " or line[end - 1] == c"\t"):
        end -= 1
    if response:
        bit = _response_field(head, line, name_size, line + start, end - start)
    else:
        bit = _request_field(
            head, line, name_size, line + start, end - start, <uint32_t>(head.line + start)
        )
    if bit & head.seen:
        # Two of one kind, or -1 after any other.
        return False
    head.seen |= bit
    return bit != <uint32_t>-1


cdef inline HttpOutcome _read(
    HttpHead* head, const uint8_t* bytes, size_t size, bint response
) noexcept nogil:
    cdef const uint8_t* found
    cdef const uint8_t* line
    cdef size_t end
    while True:
        found = <const uint8_t*>memchr(bytes + head.searched, c"\n", size - head.searched)
        if found == NULL:
            head.searched = size
            return HTTP_OTHER if size > HTTP_HEAD_SIZE_MAX else HTTP_MORE
        end = found - bytes
        if end == head.line or bytes[end - 1] != c"\r" or end >= HTTP_HEAD_SIZE_MAX:
            return HTTP_OTHER
        line = bytes + head.line
        if head.line == 0:
            if not (
                _status_line(head, line, end - 1) if response
                else _request_line(head, line, end - 1)
            ):
                return HTTP_OTHER
        elif end - 1 == head.line:
            head.size = <uint32_t>end + 1
            return HTTP_DONE
        elif not _field(head, line, end - 1 - head.line, response):
            return HTTP_OTHER
        head.line = head.searched = end + 1


cdef HttpOutcome http_read_request(
    HttpHead* head, const uint8_t* bytes, size_t size
) noexcept nogil:
    cdef HttpOutcome outcome
    if size == 0:
        return HTTP_MORE
    outcome = _read(head, bytes, size, False)
    if outcome == HTTP_DONE and not _request_is_whole(head):
        return HTTP_OTHER
    if outcome == HTTP_MORE and head.line == 0 and not _request_begins_well(bytes, size):
        return HTTP_OTHER
    return outcome


cdef HttpOutcome http_read_response(
    HttpHead* head, const uint8_t* bytes, size_t size
) noexcept nogil:
    cdef HttpOutcome outcome = _read(head, bytes, size, True) if size else HTTP_MORE
    if outcome == HTTP_DONE and not head.seen & SEEN_LENGTH:
        # Its body ends with the connection.
        return HTTP_OTHER
    return outcome


# --- writing --------------------------------------------------------------------------------------

cdef size_t http_write_length(uint8_t* out, size_t body_size) noexcept nogil:
    cdef uint8_t[8] digits
    cdef size_t count = 0, i
    while True:
        digits[count] = <uint8_t>(c"0" + body_size % 10)
        body_size //= 10
        count += 1
        if body_size == 0 or count == 8:
            break
    for i in range(count):
        out[i] = digits[count - 1 - i]
    memcpy(out + count, b"\r\n\r\n", 4)
    return count + 4


cdef const char* _ANSWER_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
)
cdef const char* _ANSWER_BAD = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/octet-stream\r\n"
)
cdef size_t _ANSWER_OK_SIZE = len(_ANSWER_OK)
cdef size_t _ANSWER_BAD_SIZE = len(_ANSWER_BAD)


cdef size_t http_write_answer(
    uint8_t* out, uint32_t status, size_t body_size, bint closes
) noexcept nogil:
    cdef size_t size = _ANSWER_OK_SIZE if status == 200 else _ANSWER_BAD_SIZE
    memcpy(out, _ANSWER_OK if status == 200 else _ANSWER_BAD, size)
    if closes:
        memcpy(out + size, b"Connection: close\r\n", 19)
        size += 19
    memcpy(out + size, b"Content-Length: ", 16)
    return size + 16 + http_write_length(out + size + 16, body_size)


# --- for tests and tools --------------------------------------------------------------------------

def _outcome(HttpOutcome outcome):
    return ("more", "done", "other")[outcome]


def read_request(bytes message, *, tuple pieces=()):
    """See codec_http.pyi."""
    cdef HttpHead head
    cdef HttpOutcome outcome = HTTP_MORE
    cdef const uint8_t* at = message
    http_head_start(&head)
    for size in (*pieces, len(message)):
        outcome = http_read_request(&head, at, size)
        if outcome != HTTP_MORE:
            break
    if outcome != HTTP_DONE:
        return _outcome(outcome), {}
    return "done", {
        "size": head.size,
        "body_size": head.body_size,
        "get": bool(head.get),
        "username": message[head.username:head.username + head.username_size],
        "token": message[head.token:head.token + head.token_size],
    }


def read_response(bytes message, *, tuple pieces=()):
    """See codec_http.pyi."""
    cdef HttpHead head
    cdef HttpOutcome outcome = HTTP_MORE
    cdef const uint8_t* at = message
    http_head_start(&head)
    for size in (*pieces, len(message)):
        outcome = http_read_response(&head, at, size)
        if outcome != HTTP_MORE:
            break
    if outcome != HTTP_DONE:
        return _outcome(outcome), {}
    unsaid = head.keep_alive_seconds == HTTP_KEEP_ALIVE_UNSAID
    return "done", {
        "size": head.size,
        "body_size": head.body_size,
        "status": head.status,
        "closes": bool(head.closes),
        "keep_alive_seconds": None if unsaid else head.keep_alive_seconds,
    }


def write_answer(uint32_t status, size_t body_size, *, bint closes=False):
    """The head of an answer."""
    cdef uint8_t[HTTP_ANSWER_HEAD_SIZE_MAX] out
    return out[:http_write_answer(out, status, body_size, closes)]
