"""The books: accounts and their counters in memory, and what a packet does to them.

Every account has six counters and `debits_relayed`; money is reserved, then posted or voided,
always on both sides and through the asset's `exchange` account, so that per asset debits equal
credits, pending and posted, after every batch. May import counter and status. Measured: reserve +
post about 20 ns."""

import hashlib

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from fastilp._core.counter cimport (
    counter_add_wide, counter_ceiling_holds, counter_floor_holds, counter_in_flight_holds,
    counter_replace_part, counter_settle_amount, counter_store, counter_t, counter_unsigned,
)
from fastilp._core.prefetch cimport prefetch
from fastilp._core.status cimport (
    STATUS_EXCEEDS_CEILING, STATUS_EXCEEDS_FLOOR, STATUS_EXCEEDS_IN_FLIGHT, STATUS_OK,
)
from fastilp._core.store cimport STORE_ROW_SIZE

cdef extern from "hash.h" nogil:
    uint64_t hash_of_16(const uint8_t* at)

cdef extern from "pages.h" nogil:
    void* pages_get(size_t size)
    void* pages_grow(void* at, size_t size, size_t wanted)
    void pages_free(void* at, size_t size)

cdef enum:
    CAPACITY_MIN = 64
    # Accounts whose memory is asked for ahead of packing.
    PACK_AHEAD = 8

from fastilp._core.account_record import INTERNAL_KINDS as _INTERNAL_KINDS
from fastilp.errors import InternalError, UsageError

_KINDS = ("account", *_INTERNAL_KINDS)
_COUNTER_NAMES = (
    "debits_pending", "debits_posted", "credits_pending", "credits_posted",
    "prepaid_pending", "prepaid_posted", "debits_relayed",
)


# A million of them: nothing in one can lead back to it, so the collector need not look.
@cython.final
@cython.no_gc
cdef class Account:
    @property
    def id(self):
        return PyBytes_FromStringAndSize(<const char*>self._id, ACCOUNT_ID_SIZE)

    @property
    def kind(self):
        return _KINDS[self._kind]

    def __repr__(self):
        return f"<Account {self.name} {self.asset_code}/{self.asset_scale}>"


cdef class Books:
    def __cinit__(self):
        self._handles = []
        self._internal = {}
        self._resize_ids()

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            pages_free(self.accounts[i].guard, sizeof(Guard))
        pages_free(self.accounts, self._capacity * sizeof(AccountState))
        pages_free(self._ids, self._ids_capacity * ACCOUNT_ID_SIZE)
        pages_free(self._recorded, self._recorded_capacity * sizeof(Recorded))
        free(self._id_slots)
        free(self._dirty)
        free(self._later)
        free(self._packed)

    # --- accounts ---------------------------------------------------------------------------------

    cdef Account _append(self, bytes account_id, str name, str code, int scale, str kind):
        """A new account; `account_id` has 16 bytes."""
        cdef Account handle = Account.__new__(Account)
        cdef const uint8_t* octets = account_id
        if self.count == self._capacity:
            self._resize(self._capacity * 2 if self._capacity else CAPACITY_MIN)
        if self._id_used * 2 > self._id_mask:
            self._resize_ids()
        self._handles.append(handle)
        memset(&self.accounts[self.count], 0, sizeof(AccountState))
        memcpy(self._ids + <size_t>self.count * ACCOUNT_ID_SIZE, octets, ACCOUNT_ID_SIZE)
        memcpy(handle._id, octets, ACCOUNT_ID_SIZE)
        handle.index, handle.name, handle._kind = self.count, name, _KINDS.index(kind)
        handle.asset_code, handle.asset_scale = code, scale
        self._id_slot(octets)[0] = self.count + 1
        self._id_used += 1
        self.count += 1
        return handle

    cdef int _resize(self, size_t capacity) except -1:
        """The accounts come last: `_capacity` is theirs, and whatever grew before memory was
        exhausted stays larger than it need be."""
        cdef void* grown = realloc(self._dirty, capacity * sizeof(uint32_t))
        if grown == NULL:
            raise MemoryError()
        self._dirty = <uint32_t*>grown
        grown = realloc(self._later, capacity * sizeof(uint32_t))
        if grown == NULL:
            raise MemoryError()
        self._later = <uint32_t*>grown
        grown = realloc(self._packed, capacity * STORE_ROW_SIZE)
        if grown == NULL:
            raise MemoryError()
        self._packed = <uint8_t*>grown
        if self._ids_capacity < capacity:
            grown = pages_grow(
                self._ids, self._ids_capacity * ACCOUNT_ID_SIZE, capacity * ACCOUNT_ID_SIZE
            )
            if grown == NULL:
                raise MemoryError()
            self._ids = <uint8_t*>grown
            self._ids_capacity = capacity
        if self._recorded_capacity < capacity:
            grown = pages_grow(
                self._recorded, self._recorded_capacity * sizeof(Recorded),
                capacity * sizeof(Recorded),
            )
            if grown == NULL:
                raise MemoryError()
            self._recorded = <Recorded*>grown
            self._recorded_capacity = capacity
        grown = pages_grow(
            self.accounts, self._capacity * sizeof(AccountState), capacity * sizeof(AccountState)
        )
        if grown == NULL:
            raise MemoryError()
        self.accounts = <AccountState*>grown
        self._capacity = <uint32_t>capacity
        return 0

    cdef _forget_from(self, uint32_t count):
        """Take back the newest accounts, down to `count`: their records were not written."""
        cdef uint32_t i
        for i in range(count, self.count):
            pages_free(self.accounts[i].guard, sizeof(Guard))
            self.accounts[i].guard = NULL
            memset(&self._recorded[i], 0, sizeof(Recorded))
        self._internal = {
            asset: index for asset, index in self._internal.items() if index < count
        }
        del self._handles[count:]
        # Their slots stay until the table is made anew: they name an index that is free, or another
        # id's.
        self.count = count

    cdef uint32_t index_of(self, bytes account_id) noexcept:
        cdef uint32_t* slot
        if account_id is None or len(account_id) != ACCOUNT_ID_SIZE:
            return ACCOUNT_NONE
        slot = self._id_slot(<const uint8_t*>account_id)
        return slot[0] - 1 if slot[0] else ACCOUNT_NONE

    cdef uint32_t* _id_slot(self, const uint8_t* account_id) noexcept nogil:
        """The slot that holds the id, or the empty one where it would go."""
        cdef uint32_t i = <uint32_t>hash_of_16(account_id) & self._id_mask
        cdef uint32_t entry
        while True:
            entry = self._id_slots[i]
            if entry == 0 or (entry <= self.count and memcmp(
                self._ids + <size_t>(entry - 1) * ACCOUNT_ID_SIZE, account_id, ACCOUNT_ID_SIZE
            ) == 0):
                return &self._id_slots[i]
            i = (i + 1) & self._id_mask

    cdef int _resize_ids(self) except -1:
        cdef size_t capacity = 2 * CAPACITY_MIN
        cdef uint32_t* slots
        cdef uint32_t i
        while capacity < 4 * <size_t>self.count:
            capacity *= 2
        slots = <uint32_t*>calloc(capacity, sizeof(uint32_t))
        if slots == NULL:
            raise MemoryError()
        free(self._id_slots)
        self._id_slots = slots
        self._id_mask = <uint32_t>(capacity - 1)
        for i in range(self.count):
            self._id_slot(self._ids + <size_t>i * ACCOUNT_ID_SIZE)[0] = i + 1
        self._id_used = self.count
        return 0

    cdef Guard* guard_of(self, AccountState* account) except NULL:
        if account.guard == NULL:
            account.guard = <Guard*>pages_get(sizeof(Guard))
            if account.guard == NULL:
                raise MemoryError()
        return account.guard

    def internal_id(self, asset_code, asset_scale, kind):
        """Id of an asset's internal account: "exchange", "settlement" or "written_off"."""
        if kind not in _INTERNAL_KINDS:
            raise UsageError(f"internal accounts are {', '.join(_INTERNAL_KINDS)}, not {kind!r}")
        return hashlib.sha256(f"internal:{asset_code}/{asset_scale}:{kind}".encode()).digest()[:16]

    # --- money ------------------------------------------------------------------------------------

    cdef int _limits_hold(
        self, AccountState* sender, AccountState* receiver, uint64_t amount_in,
        uint64_t amount_out,
    ) noexcept nogil:
        if sender.limits & LIMIT_FLOOR and not counter_floor_holds(
            &sender.credits_posted, &sender.debits_posted, &sender.debits_pending, amount_in,
            &sender.min_balance,
        ):
            return STATUS_EXCEEDS_FLOOR
        if receiver.limits & LIMIT_CEILING and not counter_ceiling_holds(
            &receiver.credits_posted, &receiver.credits_pending, &receiver.debits_posted,
            amount_out, &receiver.max_balance,
        ):
            return STATUS_EXCEEDS_CEILING
        if receiver.limits & LIMIT_IN_FLIGHT and not self._in_flight_holds(receiver, amount_out):
            return STATUS_EXCEEDS_IN_FLIGHT
        return STATUS_OK

    cdef void taken(self, uint32_t account_in, const counter_t* amount) noexcept nogil:
        counter_add_wide(&self.accounts[account_in].relayed_taken, amount)
        self._touch_later(&self.accounts[account_in])

    cdef bint _in_flight_holds(self, AccountState* account, uint64_t amount) noexcept nogil:
        """What a crash could leave in doubt: sent, and not durably posted. The durable part of
        credits_posted lags: a mark is taken, and counts once its ticket is committed."""
        cdef Guard* guard = account.guard
        if self.immediate():
            account.durable_posted = account.credits_posted
        elif guard.mark_ticket <= self.committed():
            account.durable_posted = guard.marked_posted
            guard.marked_posted = account.credits_posted
            # What the present batch changed gets the next ticket, the rest has one already: else an
            # account whose Prepares are all refused would wait for a ticket that never comes.
            guard.mark_ticket = self.ticket + (account.dirty & DIRTY_NOW)
            if guard.mark_ticket <= self.committed():
                account.durable_posted = guard.marked_posted
        return counter_in_flight_holds(
            &account.credits_posted, &account.credits_pending, &account.durable_posted, amount,
            guard.max_in_flight_amount,
        )

    cdef uint64_t to_settle(self, uint32_t index) noexcept nogil:
        cdef AccountState* account = &self.accounts[index]
        if not account.limits & LIMIT_SETTLES:
            return 0
        return counter_settle_amount(
            &account.credits_posted, &account.debits_posted, &account.debits_pending,
            &account.prepaid_posted, &account.prepaid_pending,
            &account.guard.settle_threshold, &account.guard.settle_to,
        )

    cdef void _pack(self) noexcept nogil:
        cdef uint32_t i = 0, index
        cdef AccountState* account
        cdef Recorded* sums
        while i < self._dirty_count:
            if i + PACK_AHEAD < self._dirty_count:
                self._prefetch_row(self._dirty[i + PACK_AHEAD])
            index = self._dirty[i]
            account = &self.accounts[index]
            if account.exchange != index:
                sums = &self._recorded[account.exchange]
                counter_replace_part(
                    &sums.credits_pending, &self._recorded[index].debits_pending,
                    &account.debits_pending,
                )
                counter_replace_part(
                    &sums.debits_pending, &self._recorded[index].credits_pending,
                    &account.credits_pending,
                )
                self._pack_row(i, &account.debits_pending, &account.credits_pending)
                self._touch(&self.accounts[account.exchange])
            i += 1
        for i in range(self._dirty_count):
            index = self._dirty[i]
            if self.accounts[index].exchange == index:
                sums = &self._recorded[index]
                self._pack_row(i, &sums.debits_pending, &sums.credits_pending)

    cdef void _prefetch_row(self, uint32_t index) noexcept nogil:
        """By now other packets' accounts have taken its place in the nearest cache."""
        cdef AccountState* account = &self.accounts[index]
        prefetch(account)
        prefetch(&account.credits_posted)
        prefetch(&account.relayed_taken)
        prefetch(&self._recorded[index])
        prefetch(self._ids + <size_t>index * ACCOUNT_ID_SIZE)

    cdef void _pack_row(
        self, uint32_t place, const counter_t* debits_pending, const counter_t* credits_pending
    ) noexcept nogil:
        cdef uint32_t index = self._dirty[place]
        cdef AccountState* account = &self.accounts[index]
        cdef uint8_t* record = self._packed + <size_t>place * STORE_ROW_SIZE
        memcpy(record, self._ids + <size_t>index * ACCOUNT_ID_SIZE, ACCOUNT_ID_SIZE)
        counter_store(record + 16, debits_pending)
        counter_store(record + 32, &account.debits_posted)
        counter_store(record + 48, credits_pending)
        counter_store(record + 64, &account.credits_posted)
        counter_store(record + 80, &account.prepaid_pending)
        counter_store(record + 96, &account.prepaid_posted)
        counter_store(record + 112, &account.relayed_taken)

    cdef void _clean(self) noexcept nogil:
        cdef uint32_t i
        for i in range(self._dirty_count):
            self.accounts[self._dirty[i]].dirty &= DIRTY_LISTED
        self._dirty_count = 0

    cdef void _touch_listed(self) noexcept nogil:
        cdef uint32_t i
        cdef AccountState* account
        for i in range(self._later_count):
            account = &self.accounts[self._later[i]]
            account.dirty &= ~DIRTY_LISTED
            if account.dirty & DIRTY_LATER:
                self._touch(account)
        self._later_count = 0

    cdef uint64_t committed(self) noexcept nogil:
        return self.ticket

    cdef bint immediate(self) noexcept nogil:
        return True

    # --- looking at it ----------------------------------------------------------------------------

    def find(self, account_id):
        """The handle of an account by its id; see books.pyi."""
        cdef uint32_t index = ACCOUNT_NONE
        if len(account_id) == ACCOUNT_ID_SIZE:
            index = self.index_of(account_id)
        return None if index == ACCOUNT_NONE else self._handles[index]

    def counters(self, account_id):
        """The seven counters of an account by name, None if there is no such id."""
        cdef uint32_t index = self.index_of(account_id)
        return None if index == ACCOUNT_NONE else self.counters_at(index)

    cdef dict counters_at(self, uint32_t index):
        cdef counter_t* counters = account_counters(&self.accounts[index])
        return {_COUNTER_NAMES[i]: counter_unsigned(counters + <size_t>i) for i in range(7)}

    def sums(self):
        """Per asset the sums of debits and credits over all accounts, internal ones included."""
        cdef Account handle
        sums = {}
        for handle in self._handles:
            asset = sums.setdefault(
                (handle.asset_code, handle.asset_scale), dict.fromkeys(_COUNTER_NAMES[:4], 0)
            )
            counters = self.counters_at(handle.index)
            for name in asset:
                asset[name] += counters[name]
        return sums

    def check(self):
        """InternalError unless debits equal credits per asset, pending and posted."""
        if self.underflows:
            raise InternalError(f"{self.underflows} times a counter was to fall below zero")
        for asset, sums in self.sums().items():
            for phase in ("pending", "posted"):
                if sums[f"debits_{phase}"] != sums[f"credits_{phase}"]:
                    raise InternalError(f"{phase} sums of {asset} differ: {sums}")
