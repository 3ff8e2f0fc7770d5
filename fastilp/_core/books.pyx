"""The books: accounts and their counters in memory, and what a packet does to them.

Every account has six counters and `debits_relayed`; money is reserved, then posted or voided,
always on both sides and through the asset's `exchange` account, so that per asset debits equal
credits, pending and posted, after every batch. May import counter and status. Measured: reserve +
post about 20 ns."""

import hashlib

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastilp._core.counter cimport (
    counter_add_wide, counter_ceiling_holds, counter_floor_holds, counter_in_flight_holds,
    counter_settle_amount, counter_store, counter_t, counter_unsigned,
)
from fastilp._core.status cimport (
    STATUS_EXCEEDS_CEILING, STATUS_EXCEEDS_FLOOR, STATUS_EXCEEDS_IN_FLIGHT, STATUS_OK,
)
from fastilp._core.store cimport STORE_ROW_SIZE

from fastilp._core.account_record import INTERNAL_KINDS as _INTERNAL_KINDS
from fastilp.errors import InternalError, UsageError

_COUNTER_NAMES = (
    "debits_pending", "debits_posted", "credits_pending", "credits_posted",
    "prepaid_pending", "prepaid_posted", "debits_relayed",
)


@cython.final
cdef class Account:
    def __repr__(self):
        return f"<Account {self.name} {self.asset_code}/{self.asset_scale}>"


cdef class Books:
    def __cinit__(self):
        self._handles = []
        self._index = {}
        self._internal = {}

    def __dealloc__(self):
        free(self.accounts)
        free(self._dirty)
        free(self._packed)

    # --- accounts ---------------------------------------------------------------------------------

    cdef Account _append(self, bytes account_id, str name, str code, int scale, str kind):
        cdef Account handle = Account.__new__(Account)
        cdef uint32_t capacity
        if self.count == self._capacity:
            capacity = self._capacity * 2 if self._capacity else 64
            self._resize(capacity)
        memset(&self.accounts[self.count], 0, sizeof(AccountState))
        memcpy(self.accounts[self.count].id, <const uint8_t*>account_id, 16)
        handle.index, handle.id, handle.name = self.count, account_id, name
        handle.asset_code, handle.asset_scale, handle.kind = code, scale, kind
        self._handles.append(handle)
        self._index[account_id] = handle.index
        self.count += 1
        return handle

    def _resize(self, capacity):
        cdef size_t rows = capacity
        cdef void* accounts = realloc(self.accounts, rows * sizeof(AccountState))
        if accounts == NULL:
            raise MemoryError()
        self.accounts = <AccountState*>accounts
        cdef void* dirty = realloc(self._dirty, rows * sizeof(uint32_t))
        if dirty == NULL:
            raise MemoryError()
        self._dirty = <uint32_t*>dirty
        cdef void* packed = realloc(self._packed, rows * STORE_ROW_SIZE)
        if packed == NULL:
            raise MemoryError()
        self._packed = <uint8_t*>packed
        self._capacity = capacity

    cdef _forget_from(self, uint32_t count):
        """Take back the newest accounts, down to `count`: their records were not written."""
        for handle in self._handles[count:]:
            del self._index[handle.id]
        self._internal = {
            asset: index for asset, index in self._internal.items() if index < count
        }
        del self._handles[count:]
        self.count = count

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
        self._touch(&self.accounts[account_in])

    cdef bint _in_flight_holds(self, AccountState* account, uint64_t amount) noexcept nogil:
        """What a crash could leave in doubt: sent, and not durably posted. The durable part of
        credits_posted lags: a mark is taken, and counts once its ticket is committed."""
        if self.immediate():
            account.durable_posted = account.credits_posted
        elif account.mark_ticket <= self.committed():
            account.durable_posted = account.marked_posted
            account.marked_posted = account.credits_posted
            # What the present batch changed gets the next ticket, the rest has one already: else an
            # account whose Prepares are all refused would wait for a ticket that never comes.
            account.mark_ticket = self.ticket + account.dirty
            if account.mark_ticket <= self.committed():
                account.durable_posted = account.marked_posted
        return counter_in_flight_holds(
            &account.credits_posted, &account.credits_pending, &account.durable_posted, amount,
            account.max_in_flight_amount,
        )

    cdef uint64_t to_settle(self, uint32_t index) noexcept nogil:
        cdef AccountState* account = &self.accounts[index]
        if not account.limits & LIMIT_SETTLES:
            return 0
        return counter_settle_amount(
            &account.credits_posted, &account.debits_posted, &account.debits_pending,
            &account.prepaid_posted, &account.prepaid_pending,
            &account.settle_threshold, &account.settle_to,
        )

    cdef void _pack(self) noexcept nogil:
        cdef uint32_t i
        cdef int j
        cdef AccountState* account
        cdef uint8_t* record
        for i in range(self._dirty_count):
            account = &self.accounts[self._dirty[i]]
            record = self._packed + <size_t>i * STORE_ROW_SIZE
            memcpy(record, account.id, 16)
            for j in range(6):
                counter_store(record + 16 + 16 * j, account_counters(account) + j)
            counter_store(record + 16 + 16 * 6, &account.relayed_taken)

    cdef void _clean(self) noexcept nogil:
        cdef uint32_t i
        for i in range(self._dirty_count):
            self.accounts[self._dirty[i]].dirty = 0
        self._dirty_count = 0

    cdef uint64_t committed(self) noexcept nogil:
        return self.ticket

    cdef bint immediate(self) noexcept nogil:
        return True

    # --- looking at it ----------------------------------------------------------------------------

    def counters(self, account_id):
        """The seven counters of an account by name, None if there is no such id."""
        if account_id not in self._index:
            return None
        cdef AccountState* account = &self.accounts[<uint32_t>self._index[account_id]]
        return {
            _COUNTER_NAMES[i]: counter_unsigned(account_counters(account) + <size_t>i)
            for i in range(7)
        }

    def sums(self):
        """Per asset the sums of debits and credits over all accounts, internal ones included."""
        cdef Account handle
        sums = {}
        for handle in self._handles:
            asset = sums.setdefault(
                (handle.asset_code, handle.asset_scale), dict.fromkeys(_COUNTER_NAMES[:4], 0)
            )
            counters = self.counters(handle.id)
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
