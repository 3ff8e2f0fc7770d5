"""The table of outcomes: one name, one ILP code and one message for each, used by every reject we
build and by every counter we show. Imports nothing."""

from libc.string cimport strlen

cdef StatusInfo[STATUS_COUNT] _table


cdef void _set(int status, const char* name, const char* code, const char* message) noexcept:
    _table[status].name = name
    _table[status].code = code
    _table[status].message = message
    _table[status].message_size = <unsigned int>strlen(message)


cdef void _fill() noexcept:
    _set(STATUS_OK, b"ok", b"", b"")
    _set(STATUS_INVALID_PACKET, b"invalid_packet", b"F01", b"not a valid ILPv4 Prepare")
    _set(STATUS_ACCOUNT_CLOSED, b"account_closed", b"F02", b"account is closed")
    _set(STATUS_STORE_UNAVAILABLE, b"store_unavailable", b"T00", b"balances cannot be recorded now")
    _set(STATUS_EXPIRED, b"expired", b"R00", b"packet had expired on arrival")
    _set(STATUS_AMOUNT_TOO_LARGE, b"amount_too_large", b"F08", b"amount exceeds max_packet_amount")
    _set(
        STATUS_PACKETS_RATE_LIMITED, b"packets_rate_limited", b"T05",
        b"too many packets per minute",
    )
    _set(STATUS_AMOUNT_RATE_LIMITED, b"amount_rate_limited", b"T04", b"too much value per minute")
    _set(STATUS_PEER_ADDRESS, b"peer_address", b"F01", b"unknown peer. address")
    _set(STATUS_WRONG_NETWORK, b"wrong_network", b"F02", b"destination is on another network")
    _set(STATUS_UNREACHABLE, b"unreachable", b"F02", b"no route to the destination")
    _set(STATUS_REFLECTED, b"reflected", b"F02", b"the route leads back to the sender")
    _set(STATUS_NO_RATE, b"no_rate", b"T00", b"no exchange rate between these assets")
    _set(STATUS_AMOUNT_TOO_SMALL, b"amount_too_small", b"R01", b"amount converts to zero")
    _set(STATUS_AMOUNT_OVERFLOW, b"amount_overflow", b"F08", b"converted amount is too large")
    _set(
        STATUS_INSUFFICIENT_TIMEOUT, b"insufficient_timeout", b"R02",
        b"too little time left to forward",
    )
    _set(STATUS_LINK_DOWN, b"link_down", b"T01", b"next hop is not connected")
    _set(STATUS_CONNECTOR_BUSY, b"connector_busy", b"T03", b"too many packets in flight")
    _set(STATUS_PEER_BUSY, b"peer_busy", b"T02", b"next hop has too many packets in flight")
    # ilp-connector's alerts match this text to the letter.
    _set(STATUS_EXCEEDS_FLOOR, b"exceeds_floor", b"T04", b"exceeded maximum balance.")
    _set(
        STATUS_EXCEEDS_CEILING, b"exceeds_ceiling", b"T04",
        b"next hop's balance is at its maximum",
    )
    _set(
        STATUS_EXCEEDS_IN_FLIGHT, b"exceeds_in_flight", b"T04",
        b"next hop's value in flight is at its maximum",
    )
    _set(STATUS_FULFILLED, b"fulfilled", b"", b"")
    _set(STATUS_REJECTED, b"rejected", b"", b"")
    _set(
        STATUS_WRONG_FULFILLMENT, b"wrong_fulfillment", b"F05",
        b"fulfillment does not match the condition",
    )
    _set(
        STATUS_INVALID_ANSWER, b"invalid_answer", b"T01",
        b"next hop's answer is not a valid packet",
    )
    _set(STATUS_TIMED_OUT, b"timed_out", b"R00", b"no answer before the packet expired")
    _set(STATUS_UNMATCHED, b"unmatched", b"", b"")
    _set(STATUS_FORWARDED, b"forwarded", b"", b"")
    _set(STATUS_PUNTED, b"punted", b"", b"")
    _set(STATUS_UNDELIVERABLE, b"undeliverable", b"", b"")
    _set(STATUS_FULFILLED_BEFORE_COMMIT, b"fulfilled_before_commit", b"", b"")
    _set(
        STATUS_DESTINATION_NOT_ALLOWED, b"destination_not_allowed", b"F02",
        b"destination is not allowed for this account",
    )
    _set(
        STATUS_AMOUNT_OUT_TOO_LARGE, b"amount_out_too_large", b"F08",
        b"amount exceeds what the next hop takes in a packet",
    )
    _set(
        STATUS_AMOUNT_OUT_RATE_LIMITED, b"amount_out_rate_limited", b"T04",
        b"too much value per minute to the next hop",
    )
    _set(STATUS_NOT_OURS, b"not_ours", b"F06", b"nobody here can make use of the packet")


cdef int _check() except -1:
    """Every number has a name, and every Reject that we build a code and a message."""
    cdef int i
    cdef size_t code_size
    for i in range(<int>STATUS_COUNT):
        if _table[i].name == NULL:
            raise ImportError(f"status {i} has no name")
        code_size = strlen(_table[i].code)
        if code_size != (3 if _table[i].message_size else 0):
            raise ImportError(f"status {i} has a code without a message, or none with one")
        if (STATUS_OK < i < STATUS_FULFILLED or i > STATUS_FULFILLED_BEFORE_COMMIT) and (
            code_size == 0
        ):
            raise ImportError(f"status {i} refuses a Prepare and has no code")
    return 0


cdef const StatusInfo* status_info(int status) noexcept nogil:
    return &_table[status]


def table():
    """Return every outcome as `(number, name, code, message)`, in order of precedence."""
    return [
        (i, _table[i].name.decode(), _table[i].code.decode(), _table[i].message.decode())
        for i in range(<int>STATUS_COUNT)
    ]


_fill()
_check()
