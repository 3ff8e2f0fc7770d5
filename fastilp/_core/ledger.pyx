"""The ledger: the books, made to last by the store.

The counters in memory are authoritative; `commit` hands changed rows to the store under a ticket
and never waits. At start the books come back from the store, and what the last run left open is
reported. May import books, counter, store and limits."""

import sys
from hashlib import sha256 as _sha256

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastilp._core.books cimport (
    ACCOUNT_NONE, LIMIT_CEILING, LIMIT_FLOOR, LIMIT_IN_FLIGHT, LIMIT_SETTLES, Account, AccountState,
    Books, Guard, account_counters,
)
from fastilp._core.counter cimport (
    counter_add_wide, counter_equal, counter_from_int, counter_is_zero, counter_load,
    counter_t,
)
from fastilp._core.limits cimport COMMIT_STALL_MS, RECORD_LATER_MS
from fastilp._core.store cimport STORE_HEALTHY, Store

from fastilp._core.account_record import (
    ACCOUNT_KEY as _ACCOUNT_KEY, INTERNAL_KINDS as _INTERNAL_KINDS, REPORT_KEY as _REPORT_KEY,
    account_decode, account_record, crash_entry, report_decode, report_record,
)
from fastilp.errors import ConflictError, StorageError, UsageError

_TRANSACT_RECORDS_MAX = 500
# Some units of a settlement do not fit 64 bits at scale 18; 2**28 of these fit a counter.
_AMOUNT_MAX = (1 << 100) - 1


def account_id_of(name: str):
    """The default account id: 16 bytes that follow from the name."""
    return _sha256(b"account:" + name.encode()).digest()[:16]


cdef bint _is_settled(AccountState* account) noexcept nogil:
    """Nothing was open when the last run ended: most accounts of a large ledger."""
    return (
        counter_is_zero(&account.debits_pending) and counter_is_zero(&account.credits_pending)
        and counter_is_zero(&account.prepaid_pending)
        and counter_equal(&account.debits_relayed, &account.debits_posted)
    )


cdef class Ledger(Books):
    def __cinit__(self):
        self._crash_report = []
        self._waiting_since_ms = self._later_ms = -1

    @classmethod
    def open(cls, path, *, durability="commit", map_size=1 << 30, preallocate=16 << 20):
        """Open or create the LMDB directory `path`; `durability` is "commit" or "process". Raises
        StorageError."""
        if durability not in ("commit", "process"):
            raise UsageError(f'durability must be "commit" or "process", not {durability!r}')
        store = Store(
            str(path), sync=durability == "commit", map_size=map_size, preallocate=preallocate
        )
        cdef Ledger ledger = cls()
        ledger.store = store
        try:
            ledger._load()
        except BaseException:
            store.close()
            raise
        return ledger

    @classmethod
    def memory(cls, manual_commit=False):
        """A ledger that keeps nothing. With `manual_commit`, `release` says what is committed."""
        cdef Ledger ledger = cls()
        ledger._manual = manual_commit
        return ledger

    # --- what a last run left ---------------------------------------------------------------------

    def _load(self):
        cdef Account handle
        cdef AccountState* account
        cdef uint32_t index
        for key, value in self.store.items(_ACCOUNT_KEY):
            name, code, scale, kind, max_in_flight_amount = account_decode(value)
            # One string for all accounts of an asset.
            code = sys.intern(code)
            handle = self._append(key[len(_ACCOUNT_KEY):], name, code, scale, kind)
            handle.max_in_flight_amount = max_in_flight_amount
            if kind == "exchange":
                self._internal[code, scale] = handle.index
        for handle in self._handles:
            account = &self.accounts[handle.index]
            asset = (handle.asset_code, handle.asset_scale)
            if asset not in self._internal:
                raise StorageError(f"{self.store.path}: no exchange account of {asset}")
            account.exchange = self._internal[asset]
        strangers = 0
        for row in self.store.rows():
            index = self.index_of(row[:16])
            if index == ACCOUNT_NONE:
                strangers += 1
            else:
                self._load_row(index, row)
        if strangers:
            raise StorageError(
                f"{self.store.path}: {strangers} balance rows belong to no known account; "
                "restore a backup"
            )
        self._close_last_run()

    cdef int _load_row(self, uint32_t index, bytes row) except -1:
        cdef AccountState* account = &self.accounts[index]
        cdef const uint8_t* record = row
        cdef int i
        for i in range(7):
            counter_load(account_counters(account) + i, record + 16 + 16 * i)
        account.durable_posted = account.credits_posted
        account.relayed_taken = account.debits_relayed
        return 0

    def _close_last_run(self):
        """Report what was open, then make it final: nothing is pending, what was posted stays
        posted."""
        cdef AccountState* account
        cdef Account handle
        self._crash_report = report_decode(self.store.get(_REPORT_KEY))
        for handle in self._handles:
            account = &self.accounts[handle.index]
            if handle.max_in_flight_amount is None and _is_settled(account):
                continue
            counters = self.counters_at(handle.index)
            entry = crash_entry(handle, counters, self.store.was_clean)
            if entry is not None:
                self._crash_report.append(entry)
            memset(&account.debits_pending, 0, sizeof(counter_t))
            memset(&account.credits_pending, 0, sizeof(counter_t))
            memset(&account.prepaid_pending, 0, sizeof(counter_t))
            if handle.kind == "account":
                account.debits_relayed = account.relayed_taken = account.debits_posted
            if self.counters_at(handle.index) != counters:
                self._touch(account)
        # In the record that makes it final: another crash must not lose the report.
        if self._crash_report:
            self._all_or_nothing([], [report_record(self._crash_report)], [])
        self.commit(-1)

    def crash_report(self):
        """What runs that did not end cleanly left open, one entry per account that has anything to
        say, until forget_crash_report()."""
        return [dict(entry) for entry in self._crash_report]

    def forget_crash_report(self):
        """Somebody has read it. Returns the ticket."""
        self._crash_report = []
        return self._all_or_nothing([], [], [_REPORT_KEY] if self.store is not None else [])

    # --- accounts ---------------------------------------------------------------------------------

    cdef Account add(self, str name, bytes account_id, str code, int scale):
        """The account's handle, made if it is new; with the counters that the store has for it."""
        cdef Account handle
        cdef uint32_t index
        if len(account_id) != 16:
            raise UsageError(f"account_id must be 16 bytes, not {len(account_id)}")
        index = self.index_of(account_id)
        if index != ACCOUNT_NONE:
            handle = self._handles[index]
            if handle.name == name and handle.asset_code == code and handle.asset_scale == scale:
                handle.name = name      # the caller's string, instead of a second one
                return handle
        elif self.store is None:
            return self._add_unrecorded(name, account_id, code, scale)
        before = self.count
        puts = self._add_asset(code, scale)
        try:
            handle = self._add_account(name, account_id, code, scale, puts)
            if puts:
                self._all_or_nothing([], puts, [])
        except BaseException:
            self._forget_from(before)
            raise
        return handle

    cdef Account _add_unrecorded(self, str name, bytes account_id, str code, int scale):
        """To a ledger that keeps nothing: no record to write, and nothing that may fail."""
        cdef Account handle, exchange
        index = self._internal.get((code, scale))
        if index is None:
            self._add_asset(code, scale)
            index = self._internal[code, scale]
        exchange = self._handles[index]
        handle = self._append(account_id, name, exchange.asset_code, scale, "account")
        self.accounts[handle.index].exchange = exchange.index
        self._next_unrecorded()
        return handle

    def _add_account(self, name, account_id, code, scale, puts):
        cdef Account handle
        cdef uint32_t index = self.index_of(account_id)
        if index != ACCOUNT_NONE:
            handle = self._handles[index]
            if (handle.name, handle.asset_code, handle.asset_scale) != (name, code, scale):
                self._check_change(handle, name, code, scale)
                puts.append(account_record(handle, name, code, scale))
                self._all_or_nothing([], puts, [])
                puts.clear()
                handle.name, handle.asset_code, handle.asset_scale = name, code, scale
        else:
            handle = self._append(account_id, name, code, scale, "account")
            puts.append(account_record(handle))
        self.accounts[handle.index].exchange = self._internal[code, scale]
        return handle

    def _add_asset(self, code, scale):
        """Records of the asset's internal accounts, [] if they are there already."""
        cdef Account handle
        puts = []
        if (code, scale) not in self._internal:
            self._internal[code, scale] = self.count
            for kind in _INTERNAL_KINDS:
                handle = self._append(
                    self.internal_id(code, scale, kind), f"{code}/{scale} {kind}", code, scale, kind
                )
                self.accounts[handle.index].exchange = self._internal[code, scale]
                puts.append(account_record(handle))
        return puts

    def _check_change(self, Account handle, name, code, scale):
        asset = (handle.asset_code, handle.asset_scale)
        if handle.kind != "account":
            raise UsageError(f"account id {handle.id.hex()} belongs to {handle.name}")
        if asset != (code, scale) and any(self.counters_at(handle.index).values()):
            raise UsageError(
                f"account {name}: asset {asset[0]}/{asset[1]} cannot become {code}/{scale}, its "
                "counters are not zero; take another username, the old balance stays as it is"
            )

    cdef int set_limits(self, Account handle, dict settings) except -1:
        cdef AccountState* account = &self.accounts[handle.index]
        cdef Guard* guard
        cdef uint8_t limits = 0
        if settings["min_balance"] is not None:
            counter_from_int(&account.min_balance, settings["min_balance"])
            limits |= LIMIT_FLOOR
        if settings["max_balance"] is not None:
            counter_from_int(&account.max_balance, settings["max_balance"])
            limits |= LIMIT_CEILING
        if settings["max_in_flight_amount"] is not None:
            self.guard_of(account).max_in_flight_amount = settings["max_in_flight_amount"]
            if not account.limits & LIMIT_IN_FLIGHT:
                # What is posted so far may not be durable yet: counted as in flight until its
                # ticket is.
                account.guard.marked_posted = account.credits_posted
                account.guard.mark_ticket = self.ticket
            limits |= LIMIT_IN_FLIGHT
        if settings["settle_threshold"] is not None and settings["settle_to"] is not None:
            guard = self.guard_of(account)
            counter_from_int(&guard.settle_threshold, settings["settle_threshold"])
            counter_from_int(&guard.settle_to, settings["settle_to"])
            limits |= LIMIT_SETTLES
        self.settlers += ((limits & LIMIT_SETTLES) != 0) - ((account.limits & LIMIT_SETTLES) != 0)
        account.limits = limits
        if handle.max_in_flight_amount != settings["max_in_flight_amount"]:
            # The next start has to know what this run could leave in doubt.
            handle.max_in_flight_amount = settings["max_in_flight_amount"]
            if self.store is not None:
                self._all_or_nothing([], [account_record(handle)], [])
        return 0

    # --- tickets ----------------------------------------------------------------------------------

    cdef uint64_t next_ticket(self) noexcept nogil:
        return self.ticket + 1

    cdef uint64_t commit(self, int64_t now_ms) noexcept nogil:
        if self._later_count and self._is_later(now_ms):
            self._touch_listed()
        if self._dirty_count == 0:
            return self.ticket
        if now_ms >= 0 and self._waiting_since_ms < 0:
            self._waiting_since_ms = now_ms
        self.ticket += 1
        if self.store is None:
            if not self._manual:
                self._released = self.ticket
            self._clean()
            return self.ticket
        self._pack()
        self.store.submit(self._packed, self._dirty, self._dirty_count, self.ticket)
        self._clean()
        return self.ticket

    cdef bint _is_later(self, int64_t now_ms) noexcept nogil:
        """Whether what waits to be recorded is due; -1: now or never."""
        if now_ms < 0 or 0 <= self._later_ms <= now_ms:
            self._later_ms = -1
            return True
        if self._later_ms < 0:
            self._later_ms = now_ms + RECORD_LATER_MS
        return False

    cdef int64_t later_ms(self) noexcept nogil:
        return self._later_ms if self._later_count and self.store is not None else -1

    cdef uint64_t committed(self) noexcept nogil:
        return self._released if self.store is None else self.store.committed()

    cdef bint immediate(self) noexcept nogil:
        return self.store is None and not self._manual

    cdef bint accepts(self, int64_t now_ms) noexcept nogil:
        cdef uint64_t committed = self.committed()
        if self.store is not None and self.store.health() != STORE_HEALTHY:
            return False
        if committed == self.ticket:
            self._progress = committed
            self._waiting_since_ms = -1
            return True
        if committed > self._progress:
            self._progress = committed
            self._waiting_since_ms = now_ms
        if committed < self._blocked_until:
            return False
        return self._waiting_since_ms < 0 or now_ms - self._waiting_since_ms <= COMMIT_STALL_MS

    cdef void block_until(self, uint64_t ticket) noexcept nogil:
        self._blocked_until = max(self._blocked_until, ticket)

    def release(self, ticket=None):
        """Commit up to `ticket` (default: everything) of a memory ledger with manual_commit."""
        if not self._manual:
            raise UsageError("release is for Ledger.memory(manual_commit=True)")
        if ticket is not None and ticket > self.ticket:
            raise UsageError(f"ticket {ticket} has not been given out, the newest is {self.ticket}")
        self._released = max(self._released, self.ticket if ticket is None else ticket)

    @property
    def committed_ticket(self):
        return self.committed()

    @property
    def node_id(self):
        return b"" if self.store is None else self.store.node_id

    @property
    def incarnation(self):
        return 0 if self.store is None else self.store.incarnation

    def transact(self, adjustments=(), puts=(), deletes=(), expect=()):
        """All or nothing: adjustments of balances and control records in one journal record
        (ledger.pyi). Returns the ticket to wait for. Raises UsageError, ConflictError."""
        adjustments, puts, deletes = list(adjustments), list(puts), list(deletes)
        if len(adjustments) + len(puts) + len(deletes) > _TRANSACT_RECORDS_MAX:
            raise UsageError(f"a transact call takes at most {_TRANSACT_RECORDS_MAX} records")
        self._check_expected(expect)
        for key in [*(key for key, _ in puts), *deletes]:
            if key.startswith(_ACCOUNT_KEY):
                raise UsageError(f"record {key!r} is the ledger's own")
        moves = [self._checked_move(*adjustment) for adjustment in adjustments]
        return self._all_or_nothing(moves, puts, deletes)

    def _all_or_nothing(self, moves, puts, deletes):
        before = [(i, self._snapshot(i)) for move in moves for i in move[:2]]
        ticket = self.ticket
        try:
            return self._transact(moves, puts, deletes)
        except BaseException:
            # Nothing was queued, so nobody may see these numbers, or wait for this ticket.
            for i, counters in before:
                self._restore(i, counters)
            self.ticket = ticket
            raise

    def _transact(self, moves, puts, deletes):
        for index, internal, amount, settles in moves:
            self._move(index, internal, amount, settles)
        if self.store is None:
            self._clean()
            return self._next_unrecorded()
        self.ticket += 1
        self._pack()
        self.store.submit_records(
            self._packed, self._dirty, self._dirty_count, self.ticket, puts, deletes
        )
        self._clean()
        return self.ticket

    cdef uint64_t _next_unrecorded(self) noexcept nogil:
        """The ticket of a change that no record says anything of."""
        self.ticket += 1
        if not self._manual:
            self._released = self.ticket
        return self.ticket

    def _snapshot(self, uint32_t index):
        cdef const uint8_t* counters = <const uint8_t*>account_counters(&self.accounts[index])
        return counters[:8 * sizeof(counter_t)]     # relayed_taken too

    def _restore(self, uint32_t index, bytes counters):
        cdef counter_t* into = account_counters(&self.accounts[index])
        memcpy(into, <const uint8_t*>counters, 8 * sizeof(counter_t))

    def _check_expected(self, expect):
        for key, value in expect:
            found = None if self.store is None else self.store.get(key)
            if found != value:
                raise ConflictError(f"record {key!r} is not as expected")

    def _checked_move(self, account_id, kind, amount):
        cdef uint32_t index = self.index_of(account_id)
        if index == ACCOUNT_NONE:
            raise UsageError(f"no account with id {account_id.hex()}")
        if abs(amount) > _AMOUNT_MAX:
            raise UsageError(f"amount {amount} is beyond {_AMOUNT_MAX}")
        cdef Account handle = self._handles[index]
        account_kind = "settlement" if kind == "refund" else kind
        internal = self.index_of(
            self.internal_id(handle.asset_code, handle.asset_scale, account_kind)
        )
        return index, internal, amount, kind == "settlement"

    def _prepaid_part(self, index, amount):
        """What is left of a settlement once it has paid a negative clearing balance."""
        counters = self.counters(self._handles[index].id)
        unused = counters["prepaid_posted"] - counters["prepaid_pending"]
        balance = (
            counters["credits_posted"] - counters["debits_posted"] - counters["debits_pending"]
        )
        return max(0, amount + min(0, balance - unused))

    def _move(self, index, internal, amount, settles):
        prepaid = self._prepaid_part(index, amount) if settles and amount > 0 else 0
        cdef AccountState* account = &self.accounts[<uint32_t>index]
        cdef AccountState* other = &self.accounts[<uint32_t>internal]
        cdef counter_t size, prepaid_size
        counter_from_int(&size, abs(amount))
        counter_from_int(&prepaid_size, prepaid)
        if amount >= 0:
            counter_add_wide(&account.credits_posted, &size)
            counter_add_wide(&other.debits_posted, &size)
            counter_add_wide(&account.prepaid_posted, &prepaid_size)
        else:
            counter_add_wide(&account.debits_posted, &size)
            # There is no Fulfill to wait for.
            counter_add_wide(&account.debits_relayed, &size)
            counter_add_wide(&account.relayed_taken, &size)
            counter_add_wide(&other.credits_posted, &size)
        self._touch(account)
        self._touch(other)

    def close(self):
        """Commit what changed and close the store. Idempotent."""
        if self.store is not None:
            self._settle_relays()
            self.commit(-1)
            self.store.close()

    def _settle_relays(self):
        """At a clean end everything that left has been taken: the node drains before it closes."""
        cdef AccountState* account
        cdef uint32_t i
        for i in range(self.count):
            account = &self.accounts[i]
            if not counter_equal(&account.relayed_taken, &account.debits_relayed):
                account.relayed_taken = account.debits_relayed
                self._touch(account)
