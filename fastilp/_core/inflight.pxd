# Forwarded Prepares that await an answer: a table of fixed capacity, the request ids that we send,
# and the expiry wheel. Nothing here allocates after construction.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    SLOT_NONE = 0xFFFF_FFFF

cdef enum InFlightFlag:
    IN_FLIGHT_PUNT = 1              # waits for control, reserved nothing
    IN_FLIGHT_AMOUNT_TAKEN = 2      # give the amount back to the sender's bucket unless fulfilled
    IN_FLIGHT_ANSWERED = 4          # an answer in the present batch has claimed it


cdef struct InFlight:
    uint8_t[32] condition
    uint64_t amount_in
    uint64_t amount_out
    uint64_t prepaid_share          # of amount_in: goes back to where it came from
    int64_t expires_in_ms           # the sender's: later a Fulfill is worth nothing to it
    int64_t expires_out_ms          # what we told the next hop
    int64_t quiet_until_ms          # of the slot: no id of this cycle is used again before
    uint32_t account_in
    uint32_t account_out
    uint32_t link_in
    uint32_t link_out
    uint32_t request_id_in
    uint32_t generation
    uint32_t wheel_next
    uint32_t wheel_previous
    uint8_t used
    uint8_t flags


cdef struct Ring:
    uint32_t* slots                 # longest in it first
    uint32_t head
    uint32_t count


cdef class InFlightTable:
    cdef InFlight* entries
    cdef uint32_t capacity          # power of two
    cdef uint32_t count
    cdef uint32_t _slot_bits
    cdef Ring _free                 # slots that were used and have ids left
    cdef Ring _resting              # slots whose ids are used up until quiet_until_ms
    cdef uint32_t _fresh            # slots from here on were never used
    cdef uint32_t* _bucket_first
    cdef uint32_t* _bucket_last
    cdef uint64_t* _bucket_used     # one bit per bucket
    cdef int64_t _wheel_tick        # the tick that expire() looked at last

    cdef uint32_t _last_generation(self) noexcept nogil
    cdef uint32_t _next_slot(self, int64_t now_ms) noexcept nogil
    # A free slot whose next id has rested long enough, or SLOT_NONE. The caller fills the entry,
    # then calls insert.
    cdef uint32_t acquire(self, int64_t now_ms) noexcept nogil
    cdef void insert(self, uint32_t slot) noexcept nogil
    cdef void release(self, uint32_t slot) noexcept nogil
    cdef uint32_t request_id(self, uint32_t slot) noexcept nogil
    # The slot that an answer with this id on this link belongs to, or SLOT_NONE.
    cdef uint32_t match(self, uint32_t link_out, uint32_t request_id) noexcept nogil
    # Next entry with expires_out_ms <= now_ms in order of tick and sending, or SLOT_NONE; the
    # caller releases it.
    cdef uint32_t expired(self, int64_t now_ms) noexcept nogil
    # When the wheel must turn next: not before the first expiry, at most one tick after it. -1:
    # nothing in flight.
    cdef int64_t next_deadline_ms(self) noexcept nogil
