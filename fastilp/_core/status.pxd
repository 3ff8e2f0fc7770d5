# Outcomes of packets, as values. Numbers are in order of precedence: of two faults in one Prepare
# the lower one is answered (design: check the packet, then the sender, then the way, then the
# money). They are never renumbered, so the last ones say where their place is; names, ILP codes and
# messages are the table in status.pyx.

cdef enum:
    STATUS_OK = 0
    # Prepares: the packet and its sender
    STATUS_INVALID_PACKET = 1          # F01
    STATUS_ACCOUNT_CLOSED = 2          # F02
    STATUS_STORE_UNAVAILABLE = 3       # T00
    STATUS_EXPIRED = 4                 # R00
    STATUS_AMOUNT_TOO_LARGE = 5        # F08, data = received, maximum
    STATUS_PACKETS_RATE_LIMITED = 6    # T05
    STATUS_AMOUNT_RATE_LIMITED = 7     # T04
    # Prepares: the way
    STATUS_PEER_ADDRESS = 8            # F01, `peer.` with nobody to take it
    STATUS_WRONG_NETWORK = 9           # F02, `test*` on a live node or the other way round
    STATUS_UNREACHABLE = 10            # F02
    STATUS_REFLECTED = 11              # F02, the route leads back to the sender's account
    STATUS_NO_RATE = 12                # T00
    STATUS_AMOUNT_TOO_SMALL = 13       # R01, converts to nothing
    STATUS_AMOUNT_OVERFLOW = 14        # F08, converts to more than 2**64 - 1
    STATUS_INSUFFICIENT_TIMEOUT = 15   # R02
    STATUS_LINK_DOWN = 16              # T01
    # Prepares: room and money
    STATUS_CONNECTOR_BUSY = 17         # T03, our table or the sender's share of it is full
    STATUS_PEER_BUSY = 18              # T02, the next hop's share is full or its egress over
    STATUS_EXCEEDS_FLOOR = 19          # T04, the sender's min_balance
    STATUS_EXCEEDS_CEILING = 20        # T04, the next hop's max_balance
    STATUS_EXCEEDS_IN_FLIGHT = 21      # T04, the next hop's max_in_flight_amount
    # Answers
    STATUS_FULFILLED = 22
    STATUS_REJECTED = 23               # the next hop's Reject, relayed
    STATUS_WRONG_FULFILLMENT = 24      # F05 upstream
    STATUS_INVALID_ANSWER = 25         # T01 upstream: matched, but not a Fulfill or a Reject
    STATUS_TIMED_OUT = 26              # R00 upstream: no answer in time
    STATUS_UNMATCHED = 27              # an answer to nothing: dropped
    # Counters that are not an answer of their own
    STATUS_FORWARDED = 28              # a Prepare that went on
    STATUS_PUNTED = 29                 # a Prepare handed to control
    STATUS_UNDELIVERABLE = 30          # an answer whose link has no connection any more
    STATUS_FULFILLED_BEFORE_COMMIT = 31
    # Prepares, of accounts that have the limit
    STATUS_DESTINATION_NOT_ALLOWED = 32    # F02, after 7: the sender's allowed_destinations
    STATUS_AMOUNT_OUT_TOO_LARGE = 33       # F08, after 14: the next hop's max_packet_amount_out
    STATUS_AMOUNT_OUT_RATE_LIMITED = 34    # T04, after 15: amount_per_minute_limit_out
    STATUS_NOT_OURS = 35                   # F06 upstream: for this node, and nobody here knows it
    STATUS_COUNT = 36


cdef struct StatusInfo:
    const char* name       # of the counter
    const char* code       # of the Reject that we build, or empty
    const char* message    # of the Reject that we build
    unsigned int message_size


cdef const StatusInfo* status_info(int status) noexcept nogil
