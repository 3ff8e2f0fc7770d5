# Accounts' money: counters in memory, reserve / post / void (docs/ledger.md). All 128-bit
# arithmetic is in counter.h.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastilp._core.counter cimport (
    counter_add, counter_equal, counter_prepaid_share, counter_sub_checked, counter_t,
)
from fastilp._core.status cimport STATUS_OK

cdef enum LimitFlag:
    LIMIT_FLOOR = 1
    LIMIT_CEILING = 2
    LIMIT_IN_FLIGHT = 4
    LIMIT_SETTLES = 8

cdef enum DirtyFlag:
    DIRTY_NOW = 1       # this batch's record must carry it
    DIRTY_LATER = 2     # changed, in nothing that a record has to say at once
    DIRTY_LISTED = 4    # in the list of those that are looked at later

cdef enum:
    ACCOUNT_ID_SIZE = 16
    ACCOUNT_NONE = 0xFFFF_FFFF      # no account has this index


cdef struct Guard:
    # What only accounts with LIMIT_IN_FLIGHT or LIMIT_SETTLES need: one cache line.
    counter_t settle_threshold
    counter_t settle_to
    counter_t marked_posted         # credits_posted as of mark_ticket
    uint64_t mark_ticket
    uint64_t max_in_flight_amount


cdef struct AccountState:
    # Three cache lines, in order of use; the array starts at the beginning of one.
    uint32_t exchange               # index of the asset's internal account
    uint8_t limits
    uint8_t dirty                   # DirtyFlag
    Guard* guard                    # NULL before it is needed
    counter_t debits_pending
    counter_t debits_posted
    counter_t credits_pending
    counter_t credits_posted
    counter_t prepaid_pending
    counter_t prepaid_posted
    counter_t debits_relayed        # posted debits whose Fulfill has left
    # the same, as far as the shells have taken them from the links: what a record may say, because
    # what lies in this process dies with it
    counter_t relayed_taken
    # what control set; two's complement, as the two of Guard
    counter_t min_balance
    counter_t max_balance
    # how much of credits_posted is known to be durable (only kept where max_in_flight_amount is
    # set)
    counter_t durable_posted


cdef struct Recorded:
    # Pending money as the account's last record has it; of an exchange account the sums over its
    # asset, so that pending debits equal pending credits in what is on the disk too.
    counter_t debits_pending
    counter_t credits_pending


cdef class Account:
    # 64 bytes with the head of an object.
    cdef readonly uint32_t index
    cdef readonly uint8_t asset_scale
    cdef uint8_t _kind
    cdef uint8_t[ACCOUNT_ID_SIZE] _id
    cdef readonly str name
    cdef readonly str asset_code
    cdef readonly object max_in_flight_amount       # as the store has it


cdef inline counter_t* account_counters(AccountState* account) noexcept nogil:
    """The seven counters, in the order of the record, and relayed_taken behind them."""
    return &account.debits_pending


cdef class Books:
    cdef AccountState* accounts
    cdef Recorded* _recorded
    cdef size_t _recorded_capacity
    cdef uint32_t count
    cdef uint32_t _capacity
    cdef size_t _ids_capacity       # of _ids; at least _capacity
    cdef uint8_t* _ids              # ACCOUNT_ID_SIZE bytes for each account
    # Open-addressing table: id -> index + 1, 0 = the slot is empty.
    cdef uint32_t* _id_slots
    cdef uint32_t _id_mask
    cdef uint32_t _id_used
    cdef readonly uint64_t ticket   # the newest one given out
    cdef uint32_t* _dirty           # accounts that this batch's record carries
    cdef uint32_t _dirty_count
    cdef uint32_t* _later           # accounts with DIRTY_LISTED
    cdef uint32_t _later_count
    cdef uint8_t* _packed           # their records
    cdef uint32_t settlers          # accounts with LIMIT_SETTLES
    cdef readonly uint64_t underflows       # our own bug, if it is ever above 0
    cdef list _handles              # Account by index
    cdef dict _internal             # (code, scale) -> index of its exchange account

    cdef inline void _touch(self, AccountState* account) noexcept nogil:
        if not account.dirty & DIRTY_NOW:
            account.dirty |= DIRTY_NOW
            self._dirty[self._dirty_count] = <uint32_t>(account - self.accounts)
            self._dirty_count += 1

    # Pending money and what has been relayed are void after a crash: records carry them with the
    # account's next posting, or a little later (docs/ledger.md, Tickets).
    cdef inline void _touch_later(self, AccountState* account) noexcept nogil:
        if account.limits & LIMIT_SETTLES:
            self._touch(account)    # for the look at its threshold at the end of the batch
        elif account.dirty & DIRTY_LISTED:
            account.dirty |= DIRTY_LATER
        else:
            account.dirty |= DIRTY_LATER | DIRTY_LISTED
            self._later[self._later_count] = <uint32_t>(account - self.accounts)
            self._later_count += 1

    # Money. An index may be ROW_NONE when both amounts are 0. Returns a Status.
    cdef inline int reserve(
        self, uint32_t account_in, uint32_t account_out, uint64_t amount_in, uint64_t amount_out,
        uint64_t* prepaid_share,
    ) noexcept nogil:
        cdef AccountState* sender
        cdef AccountState* receiver
        cdef int status
        prepaid_share[0] = 0
        if amount_in == 0 and amount_out == 0:
            return STATUS_OK
        sender = &self.accounts[account_in]
        receiver = &self.accounts[account_out]
        if (sender.limits & LIMIT_FLOOR) | (receiver.limits & (LIMIT_CEILING | LIMIT_IN_FLIGHT)):
            status = self._limits_hold(sender, receiver, amount_in, amount_out)
            if status != STATUS_OK:
                return status
        if not counter_equal(&sender.prepaid_posted, &sender.prepaid_pending):
            prepaid_share[0] = counter_prepaid_share(
                &sender.prepaid_posted, &sender.prepaid_pending, amount_in
            )
            counter_add(&sender.prepaid_pending, prepaid_share[0])
        counter_add(&sender.debits_pending, amount_in)
        counter_add(&self.accounts[sender.exchange].credits_pending, amount_in)
        counter_add(&receiver.credits_pending, amount_out)
        counter_add(&self.accounts[receiver.exchange].debits_pending, amount_out)
        self._touch_later(sender)
        self._touch_later(receiver)
        return STATUS_OK

    cdef inline void void(
        self, uint32_t account_in, uint32_t account_out, uint64_t amount_in, uint64_t amount_out,
        uint64_t prepaid_share,
    ) noexcept nogil:
        if amount_in == 0 and amount_out == 0:
            return
        self._give_back(account_in, account_out, amount_in, amount_out, prepaid_share)
        self._touch_later(&self.accounts[account_in])
        self._touch_later(&self.accounts[account_out])

    cdef inline void _give_back(
        self, uint32_t account_in, uint32_t account_out, uint64_t amount_in, uint64_t amount_out,
        uint64_t prepaid_share,
    ) noexcept nogil:
        cdef AccountState* sender = &self.accounts[account_in]
        cdef AccountState* receiver = &self.accounts[account_out]
        cdef uint64_t faults
        faults = counter_sub_checked(&sender.debits_pending, amount_in) != 0
        if prepaid_share:
            faults += counter_sub_checked(&sender.prepaid_pending, prepaid_share) != 0
        faults += counter_sub_checked(
            &self.accounts[sender.exchange].credits_pending, amount_in
        ) != 0
        faults += counter_sub_checked(&receiver.credits_pending, amount_out) != 0
        faults += counter_sub_checked(
            &self.accounts[receiver.exchange].debits_pending, amount_out
        ) != 0
        self.underflows += faults

    cdef inline void post(
        self, uint32_t account_in, uint32_t account_out, uint64_t amount_in, uint64_t amount_out,
        uint64_t prepaid_share,
    ) noexcept nogil:
        cdef AccountState* sender
        cdef AccountState* receiver
        if amount_in == 0 and amount_out == 0:
            return
        self._give_back(account_in, account_out, amount_in, amount_out, prepaid_share)
        sender = &self.accounts[account_in]
        receiver = &self.accounts[account_out]
        counter_add(&sender.debits_posted, amount_in)
        if prepaid_share:
            self.underflows += counter_sub_checked(&sender.prepaid_posted, prepaid_share) != 0
        counter_add(&self.accounts[sender.exchange].credits_posted, amount_in)
        counter_add(&receiver.credits_posted, amount_out)
        counter_add(&self.accounts[receiver.exchange].debits_posted, amount_out)
        self._touch(sender)
        self._touch(receiver)

    # Nothing of it is in a record before the shells have taken it.
    cdef inline void relayed(self, uint32_t account_in, uint64_t amount_in) noexcept nogil:
        counter_add(&self.accounts[account_in].debits_relayed, amount_in)

    # Floor, ceiling and what may be in flight, in that order of Status.
    cdef int _limits_hold(
        self, AccountState* sender, AccountState* receiver, uint64_t amount_in,
        uint64_t amount_out,
    ) noexcept nogil
    cdef void taken(self, uint32_t account_in, const counter_t* amount) noexcept nogil

    # Highest ticket that is durable.
    cdef uint64_t committed(self) noexcept nogil
    # A ticket is committed as soon as it is given out: memory only.
    cdef bint immediate(self) noexcept nogil
    # Amount to settle down to settle_to, 0 = below the threshold.
    cdef uint64_t to_settle(self, uint32_t account) noexcept nogil

    cdef void _clean(self) noexcept nogil
    # What was to be recorded later is due: this batch's record carries it.
    cdef void _touch_listed(self) noexcept nogil

    cdef void _pack(self) noexcept nogil
    cdef void _pack_row(
        self, uint32_t place, const counter_t* debits_pending, const counter_t* credits_pending
    ) noexcept nogil
    cdef void _prefetch_row(self, uint32_t index) noexcept nogil
    cdef bint _in_flight_holds(self, AccountState* account, uint64_t amount) noexcept nogil
    # Index of the account with an id, ACCOUNT_NONE if there is none.
    cdef uint32_t index_of(self, bytes account_id) noexcept
    cdef uint32_t* _id_slot(self, const uint8_t* account_id) noexcept nogil
    cdef int _resize_ids(self) except -1
    cdef int _resize(self, size_t capacity) except -1
    # Of an account that has limits for which it needs one; never moves.
    cdef Guard* guard_of(self, AccountState* account) except NULL
    cdef dict counters_at(self, uint32_t index)
    cdef Account _append(self, bytes account_id, str name, str code, int scale, str kind)
    cdef _forget_from(self, uint32_t count)
