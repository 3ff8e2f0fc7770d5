# What control writes and the pipeline reads: accounts, links, routes, rates.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from fastilp._core.choices cimport RouteChoices
from fastilp._core.forwarding cimport ForwardingTable
from fastilp._core.books cimport Account
from fastilp._core.ledger cimport Ledger
from fastilp._core.limits cimport EGRESS_SIZE_MAX, FAIR_SHARE
from fastilp._core.link cimport Link, LinkState
from fastilp._core.policy cimport Policy
from fastilp._core.prefetch cimport prefetch
from fastilp._core.rates cimport RateTable
from fastilp._core.row cimport Batch


cdef enum:
    CONTROL_LINK = 0                # index of the link that punts go to


cdef enum WayFlag:
    WAY_CLOSED = 1                  # nothing new from or to it
    WAY_RESTRICTED = 2              # has limits that most accounts do not have
    WAY_PUNTED = 4                  # what it sends is for control to decide
    WAY_ADMISSION = 7               # those that admission asks for
    WAY_SUSPENDED = 64              # has a link that is not used for a while


cdef struct Tally:
    # What went wrong with an account since the start: as next hop, and by its limits.
    uint64_t link_failures          # T01 of our own transports: nobody there, connection lost
    uint64_t refused_balance        # T04 of the peer: by its books we owe it too much
    uint64_t timed_out
    uint32_t limit_hits             # Prepares that a limit of the account refused, modulo 2**32
    uint8_t last_limit              # STATUS_* of the last one


cdef struct Way:
    # What the pipeline knows of an account beside its money; same index as in the ledger. One cache
    # line.
    LinkState* egress               # NULL = none
    uint32_t asset
    uint32_t round_trip_ms
    uint32_t in_flight_in           # its Prepares that wait for an answer
    uint32_t in_flight_in_max
    uint32_t in_flight_out          # Prepares sent to it that wait for an answer
    uint32_t in_flight_out_max
    uint16_t punts
    uint8_t opened                  # an account of this switch
    uint8_t special                 # WayFlags; 0 for nearly all
    uint32_t sent                   # Prepares since the start, modulo 2**32
    Policy policy


cdef class Tables:
    cdef readonly Ledger ledger
    cdef readonly Link control
    cdef RateTable _rates
    cdef ForwardingTable _forwarding
    cdef RouteChoices _choices      # of prefixes with several next hops
    cdef ForwardingTable _marked    # prefixes of destinations that control decides about
    cdef size_t _marked_count
    cdef Way* ways
    cdef Tally* tallies             # by account index
    cdef dict _suspended            # Account -> Link, its egress but for the suspension
    cdef uint32_t _way_capacity
    cdef uint32_t _tally_capacity   # of tallies; at least _way_capacity
    cdef LinkState** link_states    # by link index; each lies in its Link
    cdef uint32_t _link_capacity
    cdef uint32_t* dirty_indexes    # links with something to take since the last dirty_links()
    cdef uint32_t dirty_count
    cdef uint32_t* relay_indexes    # links with Fulfills that were not known to be taken
    cdef uint32_t relay_count
    cdef list _links                # Link by index; [0] is control
    cdef dict _accounts             # name -> Account
    cdef dict _settings             # Account -> those of its settings that are not the default
    cdef Batch batch
    cdef bytes _address
    cdef const uint8_t* _own        # bytes of _address
    cdef size_t _own_size
    cdef int _own_network           # 1 live, 2 test, 0 neither (RFC 34: never both)
    cdef int64_t now_ms             # of the last process()

    cdef Link _open(self, Account account, str kind, str name, bint local)
    cdef int _receive_one(self, triple) except -1
    cdef tuple _indexes_of(self, Account first, others)
    # The account of this switch with an index, or None.
    cdef Account _handle(self, uint32_t index)
    cdef int _apply_restrictions(
        self, Account account, Way* way, dict before, dict settings
    ) except -1
    # The link that it is, or would be without a suspension.
    cdef Link _egress(self, Account account)
    cdef int _room_for_way(self, uint32_t index) except -1
    cdef int _check(self, Account account) except -1
    cdef int _apply_settings(self, Account account, dict changes) except -1
    cdef Account _add(self, str name, bytes account_id, str code, int scale, dict settings)


# 1 live (`g.`), 2 test (`test`, `test1` ...), 0 neither.
cdef inline int address_network(const uint8_t* address, size_t size) noexcept nogil:
    if size >= 2 and address[0] == c"g" and address[1] == c".":
        return 1
    return 2 if size >= 4 and memcmp(address, b"test", 4) == 0 else 0


cdef inline void prefetch_link(const LinkState* link) noexcept nogil:
    """Ask for what sending on a link will look at."""
    prefetch(link)
    prefetch(<const char*>link + 48)


cdef inline void prefetch_account(Tables tables, uint32_t index) noexcept nogil:
    """Ask for what a stage to come will read of an account: its way and its counters."""
    cdef const char* counters = <const char*>&tables.ledger.accounts[index]
    prefetch(&tables.ways[index])
    prefetch(counters)
    prefetch(counters + 64)
    prefetch(counters + 128)


cdef inline bint way_is_up(const Way* way) noexcept nogil:
    """Whether a Prepare could be sent there."""
    return way.egress != NULL and way.egress.up and not way.special & WAY_CLOSED


# Whoever has more than a share of a room that others need too leaves the last share of it to them:
# `used` of `room` are taken.
cdef inline bint way_leaves_rest(const Way* sender, uint32_t used, uint32_t room) noexcept nogil:
    return (
        used > room - room // FAIR_SHARE and sender.in_flight_in > room // FAIR_SHARE
    )


# Whether an account takes no more Prepares on a link from this sender (NULL: control).
cdef inline bint way_is_full(
    const Way* way, const LinkState* link, const Way* sender
) noexcept nogil:
    cdef size_t waiting = link.egress.size
    cdef uint32_t maximum = way.in_flight_out_max
    if way.in_flight_out >= maximum or waiting > EGRESS_SIZE_MAX:
        return True
    if (
        way.in_flight_out <= maximum - maximum // FAIR_SHARE
        and waiting <= EGRESS_SIZE_MAX - EGRESS_SIZE_MAX // FAIR_SHARE
    ):
        return False
    return sender != NULL and sender.in_flight_in > way.in_flight_out // FAIR_SHARE
