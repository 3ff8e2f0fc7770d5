# Every maximum of the data plane, with its unit and its reason. This file imports nothing.
#
# Numbers that an operator may change are settings of the switch or of an account; the ones here are
# either on the wire or size a fixed structure.

cdef enum:
    # --- ILPv4 packets, bytes -------------------------------------------------------------------
    # Largest packet on any link. A Reject with every field full is about 42,000 bytes (RFC 27), the
    # batch protocol's bin16 ends at 65,535.
    PACKET_SIZE_MAX = 65_535
    # `data` of any packet. RFC 27 says 32,767; peers size their buffers for 32,768, so we take that
    # much and our own senders emit one byte less.
    DATA_SIZE_MAX = 32_768
    DATA_SIZE_EMIT_MAX = 32_767
    # RFC 15: an address has at most 1,023 characters.
    ADDRESS_SIZE_MAX = 1_023
    # `message` of a Reject: 8,191 in the ASN.1 of RFC 27, 8,192 in buffers of peers.
    MESSAGE_SIZE_MAX = 8_192
    # What we put in our own Rejects: short texts, room for an explanation.
    MESSAGE_SIZE_EMIT_MAX = 255
    # Envelope (1 + 3), amount, expiry, condition, address (2 + 3), data (3 + 1): more than any
    # header.
    PREPARE_OVERHEAD_MAX = 4 + 8 + 17 + 32 + 3 + ADDRESS_SIZE_MAX + 4
    # A Reject that we build: code, our address, a short message, 16 bytes of F08 data, lengths.
    REJECT_SIZE_EMIT_MAX = 4 + 3 + 3 + ADDRESS_SIZE_MAX + 3 + MESSAGE_SIZE_EMIT_MAX + 1 + 16

    # --- Addresses ------------------------------------------------------------------------------
    # Segments of a forwarding prefix. An address can hold 512 of them, real ones have 3 to 8; a
    # prefix deeper than this is refused when it is inserted, longer destinations match on their
    # first 32.
    PREFIX_SEGMENTS_MAX = 32

    # --- In flight ------------------------------------------------------------------------------
    # A request id is slot + generation in 32 bits; 20 bits of slot leave 12 of generation.
    IN_FLIGHT_SLOT_BITS_MAX = 20
    # An id that was used is not used again on any link for this long after its Prepare expired, ms.
    REQUEST_ID_QUIET_MS = 60_000
    # Longest time that money is held for one packet, ms (RFC 27 leaves it open; all peers cap at 30
    # s).
    HOLD_MAX_MS = 30_000
    # Expiry wheel: one bucket per tick, enough buckets for the longest hold.
    WHEEL_TICK_MS = 8
    WHEEL_BUCKETS = 4_096

    # --- Durability -----------------------------------------------------------------------------
    # A Fulfill whose commit has not finished leaves this long before the incoming Prepare expires,
    # ms: later it would be worthless to the sender and we would have paid for nothing.
    FULFILL_RELEASE_MARGIN_MS = 250
    # Between the last moment for the next hop's Fulfill and the sender's expiry, ms: room for the
    # commit before the line above applies. Round trip times of 250 ms each have it anyway.
    COMMIT_MARGIN_MS = 500
    # A commit older than this is a stalled disk: new Prepares get T00 until it ends, ms.
    COMMIT_STALL_MS = 1_000
    # What a crash makes void anyway (pending money, what was relayed) waits so long for a record
    # that has to be written, ms.
    RECORD_LATER_MS = 100

    # --- Links ----------------------------------------------------------------------------------
    # Bytes waiting on one link. Above it Prepares to that link get T02 and Prepares from it T03;
    # answers still go out. Shells stop reading at twice as much: the other half is room for answers
    # to what is in flight, 128 bytes for each of 16,384. So two nodes that are full of each other's
    # Prepares do not both stop reading.
    EGRESS_SIZE_MAX = 2 * 1024 * 1024
    # Whoever has more than an eighth of a shared room (in-flight table, next hop's in-flight and
    # egress) leaves its last eighth to others: one flood does not close it to everybody.
    FAIR_SHARE = 8
    # Events that wait for take_events; "settle" comes on top, once for each account.
    EVENTS_MAX = 4_096
    # Control packets (punts) of one account that wait for control at a time.
    PUNTS_PER_ACCOUNT_MAX = 1_000
    # Receive buffer of one batch connection, bytes: what one link may bring into one turn, about
    # 2,000 packets or 1 ms of work. Must hold a whole frame. Pages that were never used cost
    # nothing.
    BATCH_BUFFER_SIZE = 256 * 1024
    # The same before the hello, when the peer is a stranger: a name and a token.
    BATCH_HELLO_SIZE_MAX = 4_096
    # Receive buffer of one BTP connection, bytes: about 1,000 packets a read. Must hold a message.
    BTP_BUFFER_SIZE = 256 * 1024
    # The same before the hello: it grows to one message if it must.
    BTP_HELLO_BUFFER_SIZE = 4_096
    # One BTP message: the largest packet, and room for BTP's own fields and other entries, bytes.
    BTP_MESSAGE_SIZE_MAX = PACKET_SIZE_MAX + 1_024

    # --- HTTP -----------------------------------------------------------------------------------
    # Request line and fields of one message, bytes; what most servers take.
    HTTP_HEAD_SIZE_MAX = 16_384
    # Body of one message: the largest packet, bytes.
    HTTP_BODY_SIZE_MAX = PACKET_SIZE_MAX
    # Requests written to one connection and unanswered; a setting, this is its largest value.
    HTTP_PIPELINE_DEPTH_MAX = 256
    # Bytes asked for by one read of a socket that was read to its end before.
    HTTP_READ_SIZE_MIN = 4_096
    HTTP_READ_SIZE_MAX = 65_536
    # Sockets that are read before anybody else gets a turn; the others are the next turn's.
    POLL_EVENTS_MAX = 512

    # --- Fairness -------------------------------------------------------------------------------
    # What a row costs beside its bytes, in bytes: about 1 us of work.
    ROW_COST = 256
    # What one link's connection brings into a turn at most: about 2,000 packets or 2 ms of work.
    # The rest waits in its buffer and in the socket, while other links have their turn.
    LINK_TURN_SIZE_MAX = 1024 * 1024
    # Prepares of all connections in a turn: a bound of about 10 ms on how long an answer waits.
    TURN_SIZE_MAX = 4 * 1024 * 1024
