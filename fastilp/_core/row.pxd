# One packet of a batch as a fixed-size record, and the batch. Rows hold offsets, no pointers and no
# Python objects; stages write their own columns only (docs/data-path.md).

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from fastilp._core.arena cimport Arena, ArenaPool, arena_free, arena_room, pool_free

cdef enum:
    ROW_NONE = 0xFFFF_FFFF          # no account, no link, no slot

cdef enum RowFlag:
    ROW_ANSWER = 1                  # came in an answer's place, whatever its type byte says
    ROW_EGRESS_GIVEN = 2            # an in-process link named the next account
    ROW_REINJECTED = 4              # control's Prepare in place of a punted one
    ROW_AMOUNT_TAKEN = 8            # its amount was taken from the sender's amount bucket
    ROW_PUNT = 16                   # goes to control
    ROW_AMOUNT_OUT_TAKEN = 32       # the outgoing amount, from the next hop's bucket
    ROW_MARKED = 64                 # a punt because its account or prefix is marked so
    ROW_RESTRICTED = 128            # the next hop has limits beside the usual ones


cdef struct Row:
    # filled by the link
    size_t offset                   # of the packet in the batch's arena
    uint32_t link_in
    uint32_t request_id
    uint32_t account_in
    # parse
    uint8_t type                    # PACKET_*; 0 = none of them
    uint8_t status                  # first fault, or the outcome
    uint8_t flags
    uint8_t canonical
    uint16_t size                   # as it came in, then without what follows the packet
    uint16_t content                # where the amount of a Prepare is, the fulfillment of a Fulfill
    uint16_t destination
    uint16_t destination_size
    # route (Prepares), match (answers)
    uint32_t account_out
    uint32_t slot
    uint64_t amount
    int64_t expires_at_ms
    # convert (Prepares)
    uint64_t amount_out             # of an F08: the maximum
    int64_t expires_out_ms


cdef struct Batch:
    Row* rows
    size_t count
    size_t capacity
    Arena packets
    ArenaPool egress                # buffers for links that have something to send
    uint64_t undeliverable          # answers that links dropped since the last process()
    uint64_t turn                   # how many batches there were before this one
    size_t turn_prepares            # what connections brought of Prepares, bytes and ROW_COST each


cdef inline int _batch_grow(Batch* batch) noexcept nogil:
    cdef size_t capacity = batch.capacity * 2 if batch.capacity else 64
    cdef Row* grown = <Row*>realloc(batch.rows, capacity * sizeof(Row))
    if grown == NULL:
        return -1
    batch.rows = grown
    batch.capacity = capacity
    return 0


cdef inline Row* batch_append(
    Batch* batch, uint32_t link_in, uint32_t account_in, uint32_t request_id,
    const uint8_t* packet, uint16_t size,
) noexcept nogil:
    """The new row, or NULL when memory is exhausted. Written field by field: half of a row is
    never looked at before a stage has filled it."""
    cdef Row* row
    cdef uint8_t* room
    if batch.count == batch.capacity and _batch_grow(batch) < 0:
        return NULL
    room = arena_room(&batch.packets, size)
    if room == NULL:
        return NULL
    memcpy(room, packet, size)
    row = &batch.rows[batch.count]
    row.offset = batch.packets.size
    row.link_in = link_in
    row.request_id = request_id
    row.account_in = account_in
    row.type = row.status = row.flags = row.canonical = 0
    row.size = size
    row.account_out = ROW_NONE
    row.amount = row.amount_out = 0
    batch.packets.size += size
    batch.count += 1
    return row


cdef inline void batch_clear(Batch* batch) noexcept nogil:
    batch.count = 0
    batch.packets.size = 0
    batch.turn += 1
    batch.turn_prepares = 0


cdef inline void batch_free(Batch* batch) noexcept nogil:
    free(batch.rows)
    batch.rows = NULL
    batch.count = batch.capacity = 0
    arena_free(&batch.packets)
    pool_free(&batch.egress)
