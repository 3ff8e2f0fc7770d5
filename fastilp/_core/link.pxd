# Links and connections: id spaces, egress, and the way of packets into a batch.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastilp._core.arena cimport Arena, ArenaPool, pool_room
from fastilp._core.counter cimport counter_t
from fastilp._core.books cimport Account
from fastilp._core.limits cimport EGRESS_SIZE_MAX, LINK_TURN_SIZE_MAX, ROW_COST, TURN_SIZE_MAX
from fastilp._core.row cimport ROW_ANSWER, Batch, Row
from fastilp._core.status cimport STATUS_CONNECTOR_BUSY

cdef enum LinkKind:
    LINK_MESSAGE = 0
    LINK_BTP = 1
    LINK_BATCH = 2

cdef enum:
    MESSAGE_HEAD = 8                # request id and size, of a packet in a message link's egress


cdef struct LinkState:
    # in order of use: what a message link needs for each packet comes first
    uint32_t index
    uint32_t account                # ROW_NONE for control
    uint8_t kind
    uint8_t up
    uint8_t local                   # packets end in this process
    uint8_t masked                  # we are the WebSocket client
    uint8_t closed
    uint8_t dirty
    uint8_t relaying                # unrelayed is not zero
    uint32_t in_flight              # Prepares sent and unanswered
    uint32_t answers                # in egress
    Arena egress
    counter_t unrelayed             # amounts of the Fulfills in egress, until they are taken
    uint32_t mask                   # of the last masked frame


cdef class Link:
    cdef Batch* _batch              # of the switch; NULL once the switch has gone
    cdef LinkState state
    cdef readonly Account account
    cdef readonly str name
    cdef public object owner
    cdef Connection _connection

    cdef int _take_into(self, list packets, Link named) except -1
    cdef void _emptied(self) noexcept
    cdef void _drop(self) noexcept
    cdef int _check_open(self) except -1
    cdef int _append(self, uint32_t request_id, bytes packet, Account egress) except -1

    @staticmethod
    cdef Link make(Batch* batch, uint32_t index, Account account, str kind, str name, bint local)


# An owner that the core itself has: HTTP's. Others are Python objects with `flush(link)`.
cdef class LinkOwner:
    # Take what waits on the link.
    cdef int _flush(self, Link link) except -1
    # Ask for the memory that this will read.
    cdef void _prefetch(self) noexcept


# Have the owner of each of these links flush it; `failed(link)` while an exception is handled.
cdef int links_flush(list links, failed) except -1


cdef class Connection:
    cdef readonly Link link
    cdef uint64_t _turn             # of the batch that the two below belong to
    cdef size_t _turn_prepares      # what this connection brought into it, bytes and ROW_COST each
    cdef size_t _turn_answers

    cdef int _attach(self, Link link, uint8_t kind) except -1


# Append one packet to a link's egress, framed for its kind. `answer`: not a Prepare. False when
# memory is exhausted or nobody is there to take an answer.
cdef inline bint link_send(
    LinkState* link, ArenaPool* pool, uint32_t request_id, const uint8_t* packet, size_t size,
    bint answer,
) noexcept nogil:
    cdef uint8_t* room
    cdef uint32_t[2] head
    if link.closed or link.kind != LINK_MESSAGE:
        return link_send_frame(link, pool, request_id, packet, size, answer)
    room = pool_room(pool, &link.egress, MESSAGE_HEAD + size)
    if room == NULL:
        return False
    head[0], head[1] = request_id, <uint32_t>size
    memcpy(room, head, MESSAGE_HEAD)
    memcpy(room + MESSAGE_HEAD, packet, size)
    link.egress.size += MESSAGE_HEAD + size
    link.answers += answer
    return True


cdef bint link_send_frame(
    LinkState* link, ArenaPool* pool, uint32_t request_id, const uint8_t* packet, size_t size,
    bint answer,
) noexcept nogil


# What a row from a connection begins with. A Prepare needs room for its answer, where that will
# wait.
cdef inline void connection_marks(Connection connection, Row* row, bint answer) noexcept nogil:
    if answer:
        row.flags = ROW_ANSWER
    elif connection.link.state.egress.size > EGRESS_SIZE_MAX:
        row.status = STATUS_CONNECTOR_BUSY


# Whether a packet of `size` bytes that waits on a connection fits into this turn, and then it
# counts. One connection brings a bounded share of it, and all of them together a bounded lot of
# Prepares; answers are no part of that lot, so that they go first when more waits than fits.
cdef inline bint connection_may_bring(
    Connection connection, size_t size, bint answer
) noexcept nogil:
    cdef Batch* batch = connection.link._batch
    if connection._turn != batch.turn:
        connection._turn = batch.turn
        connection._turn_prepares = connection._turn_answers = 0
    if answer:
        if connection._turn_answers >= LINK_TURN_SIZE_MAX:
            return False
        connection._turn_answers += size + ROW_COST
        return True
    if connection._turn_prepares >= LINK_TURN_SIZE_MAX or batch.turn_prepares >= TURN_SIZE_MAX:
        return False
    connection._turn_prepares += size + ROW_COST
    batch.turn_prepares += size + ROW_COST
    return True
