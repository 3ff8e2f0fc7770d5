"""The ledger: who owes whom, in memory, made to last by the store.

Every account has six counters and `debits_relayed`; money is reserved, then posted or voided,
always on both sides and through the asset's `exchange` account, so that per asset debits equal
credits, pending and posted, after every batch. The counters here are authoritative; `commit` hands
changed rows to the store under a ticket and never waits. May import counter, store, limits and
status. Measured: reserve + post about 20 ns."""

import hashlib

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastilp._core.counter cimport (
    counter_add, counter_add_wide, counter_ceiling_holds, counter_equal, counter_floor_holds,
    counter_from_int, counter_in_flight_holds, counter_load, counter_prepaid_share,
    counter_settle_amount, counter_store, counter_sub_checked, counter_t, counter_unsigned,
)
from fastilp._core.limits cimport COMMIT_STALL_MS
from fastilp._core.status cimport (
    STATUS_EXCEEDS_CEILING, STATUS_EXCEEDS_FLOOR, STATUS_EXCEEDS_IN_FLIGHT, STATUS_OK,
)
from fastilp._core.store cimport STORE_HEALTHY, STORE_ROW_SIZE, Store

from fastilp._core.account_record import (
    ACCOUNT_KEY as _ACCOUNT_KEY, account_decode, account_record, crash_entry,
)
from fastilp.errors import ConflictError, InternalError, StorageError, UsageError

_INTERNAL_KINDS = ("exchange", "settlement", "written_off")
_TRANSACT_RECORDS_MAX = 500
_COUNTER_NAMES = (
    "debits_pending", "debits_posted", "credits_pending", "credits_posted",
    "prepaid_pending", "prepaid_posted", "debits_relayed",
)


def account_id_of(name: str):
    """The default account id: 16 bytes that follow from the name."""
    return hashlib.sha256(b"account:" + name.encode()).digest()[:16]


@cython.final
cdef class Account:
    def __repr__(self):
        return f"<Account {self.name} {self.asset_code}/{self.asset_scale}>"


cdef inline counter_t* _counters(AccountState* account) noexcept nogil:
    """The seven counters, in the order of _COUNTER_NAMES and of the record."""
    return &account.debits_pending


cdef class Ledger:
    def __cinit__(self):
        self._handles = []
        self._index = {}
        self._internal = {}
        self._crash_report = []
        self._waiting_since_ms = -1

    def __dealloc__(self):
        free(self.accounts)
        free(self._dirty)
        free(self._packed)

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
        rows = {row[:16]: row for row in self.store.rows()}
        for key, value in self.store.items(_ACCOUNT_KEY):
            name, code, scale, kind, max_in_flight_amount = account_decode(value)
            handle = self._append(key[len(_ACCOUNT_KEY):], name, code, scale, kind)
            handle.max_in_flight_amount = max_in_flight_amount
            if kind == "exchange":
                self._internal[code, scale] = handle.index
        for handle in self._handles:
            account = &self.accounts[handle.index]
            account.exchange = self._internal[handle.asset_code, handle.asset_scale]
            if handle.id in rows:
                self._load_row(handle.index, rows.pop(handle.id))
        if rows:
            raise StorageError(
                f"{self.store.path}: {len(rows)} balance rows belong to no known account; "
                "restore a backup"
            )
        self._close_last_run()

    def _load_row(self, index, row):
        cdef AccountState* account = &self.accounts[<uint32_t>index]
        cdef const uint8_t* record = row
        cdef int i
        for i in range(7):
            counter_load(_counters(account) + i, record + 16 + 16 * i)
        account.durable_posted = account.marked_posted = account.credits_posted
        account.relayed_before = account.debits_relayed

    def _close_last_run(self):
        """Report what was open, then make it final: nothing is pending, what was posted stays
        posted."""
        cdef AccountState* account
        cdef Account handle
        for handle in self._handles:
            account = &self.accounts[handle.index]
            counters = self.counters(handle.id)
            entry = crash_entry(handle, counters, self.store.was_clean)
            if entry is not None:
                self._crash_report.append(entry)
            memset(&account.debits_pending, 0, sizeof(counter_t))
            memset(&account.credits_pending, 0, sizeof(counter_t))
            memset(&account.prepaid_pending, 0, sizeof(counter_t))
            if handle.kind == "account":
                account.debits_relayed = account.relayed_before = account.debits_posted
            if self.counters(handle.id) != counters:
                self._touch(account)
        self.commit(-1)

    def crash_report(self):
        """What the last run left open, one entry per account that has anything to say; empty after
        a clean end."""
        return [dict(entry) for entry in self._crash_report]

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

    cdef Account add(self, str name, bytes account_id, str code, int scale):
        """The account's handle, made if it is new; with the counters that the store has for it."""
        cdef Account handle
        if len(account_id) != 16:
            raise UsageError(f"account_id must be 16 bytes, not {len(account_id)}")
        puts = self._add_asset(code, scale)
        if account_id in self._index:
            handle = self._handles[self._index[account_id]]
            if (handle.name, handle.asset_code, handle.asset_scale) != (name, code, scale):
                handle = self._change(handle, name, code, scale)
                puts.append(account_record(handle))
        else:
            handle = self._append(account_id, name, code, scale, "account")
            puts.append(account_record(handle))
        self.accounts[handle.index].exchange = self._internal[code, scale]
        if puts:
            self._all_or_nothing([], puts, [])
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

    def _change(self, Account handle, name, code, scale):
        asset = (handle.asset_code, handle.asset_scale)
        if handle.kind != "account":
            raise UsageError(f"account id {handle.id.hex()} belongs to {handle.name}")
        if asset != (code, scale) and any(self.counters(handle.id).values()):
            raise UsageError(
                f"account {name}: asset {asset[0]}/{asset[1]} cannot become {code}/{scale}, its "
                "counters are not zero; close the account and open another one"
            )
        handle.name, handle.asset_code, handle.asset_scale = name, code, scale
        return handle

    def internal_id(self, asset_code, asset_scale, kind):
        """Id of an asset's internal account: "exchange", "settlement" or "written_off"."""
        if kind not in _INTERNAL_KINDS:
            raise UsageError(f"internal accounts are {', '.join(_INTERNAL_KINDS)}, not {kind!r}")
        return hashlib.sha256(f"internal:{asset_code}/{asset_scale}:{kind}".encode()).digest()[:16]

    cdef int set_limits(self, Account handle, dict settings) except -1:
        cdef AccountState* account = &self.accounts[handle.index]
        cdef uint8_t limits = 0
        if settings["min_balance"] is not None:
            counter_from_int(&account.min_balance, settings["min_balance"])
            limits |= LIMIT_FLOOR
        if settings["max_balance"] is not None:
            counter_from_int(&account.max_balance, settings["max_balance"])
            limits |= LIMIT_CEILING
        if settings["max_in_flight_amount"] is not None:
            account.max_in_flight_amount = settings["max_in_flight_amount"]
            if not account.limits & LIMIT_IN_FLIGHT:
                # What is posted so far may not be durable yet: counted as in flight until its
                # ticket is.
                account.marked_posted = account.credits_posted
                account.mark_ticket = self.ticket
            limits |= LIMIT_IN_FLIGHT
        if settings["settle_threshold"] is not None and settings["settle_to"] is not None:
            counter_from_int(&account.settle_threshold, settings["settle_threshold"])
            counter_from_int(&account.settle_to, settings["settle_to"])
            limits |= LIMIT_SETTLES
        account.limits = limits
        if handle.max_in_flight_amount != settings["max_in_flight_amount"]:
            # The next start has to know what this run could leave in doubt.
            handle.max_in_flight_amount = settings["max_in_flight_amount"]
            self._all_or_nothing([], [account_record(handle)], [])
        return 0

    # --- money ------------------------------------------------------------------------------------

    cdef void _touch(self, AccountState* account) noexcept nogil:
        if not account.dirty:
            account.dirty = 1
            self._dirty[self._dirty_count] = <uint32_t>(account - self.accounts)
            self._dirty_count += 1

    cdef int reserve(
        self, uint32_t account_in, uint32_t account_out, uint64_t amount_in, uint64_t amount_out,
        uint64_t* prepaid_share,
    ) noexcept nogil:
        cdef AccountState* sender
        cdef AccountState* receiver
        prepaid_share[0] = 0
        if amount_in == 0 and amount_out == 0:
            return STATUS_OK
        sender = &self.accounts[account_in]
        receiver = &self.accounts[account_out]
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
        prepaid_share[0] = counter_prepaid_share(
            &sender.prepaid_posted, &sender.prepaid_pending, amount_in
        )
        counter_add(&sender.prepaid_pending, prepaid_share[0])
        counter_add(&sender.debits_pending, amount_in)
        counter_add(&self.accounts[sender.exchange].credits_pending, amount_in)
        counter_add(&receiver.credits_pending, amount_out)
        counter_add(&self.accounts[receiver.exchange].debits_pending, amount_out)
        self._touch_all(sender, receiver)
        return STATUS_OK

    cdef void post(
        self, uint32_t account_in, uint32_t account_out, uint64_t amount_in, uint64_t amount_out,
        uint64_t prepaid_share,
    ) noexcept nogil:
        if amount_in == 0 and amount_out == 0:
            return
        cdef AccountState* sender = &self.accounts[account_in]
        cdef AccountState* receiver = &self.accounts[account_out]
        self.void(account_in, account_out, amount_in, amount_out, prepaid_share)
        counter_add(&sender.debits_posted, amount_in)
        counter_sub_checked(&sender.prepaid_posted, prepaid_share)
        counter_add(&self.accounts[sender.exchange].credits_posted, amount_in)
        counter_add(&receiver.credits_posted, amount_out)
        counter_add(&self.accounts[receiver.exchange].debits_posted, amount_out)

    cdef void void(
        self, uint32_t account_in, uint32_t account_out, uint64_t amount_in, uint64_t amount_out,
        uint64_t prepaid_share,
    ) noexcept nogil:
        if amount_in == 0 and amount_out == 0:
            return
        cdef AccountState* sender = &self.accounts[account_in]
        cdef AccountState* receiver = &self.accounts[account_out]
        counter_sub_checked(&sender.debits_pending, amount_in)
        counter_sub_checked(&sender.prepaid_pending, prepaid_share)
        counter_sub_checked(&self.accounts[sender.exchange].credits_pending, amount_in)
        counter_sub_checked(&receiver.credits_pending, amount_out)
        counter_sub_checked(&self.accounts[receiver.exchange].debits_pending, amount_out)
        self._touch_all(sender, receiver)

    cdef void _touch_all(self, AccountState* sender, AccountState* receiver) noexcept nogil:
        self._touch(sender)
        self._touch(receiver)
        self._touch(&self.accounts[sender.exchange])
        self._touch(&self.accounts[receiver.exchange])

    cdef void relayed(self, uint32_t account_in, uint64_t amount_in) noexcept nogil:
        counter_add(&self.accounts[account_in].debits_relayed, amount_in)
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

    # --- tickets ----------------------------------------------------------------------------------

    cdef uint64_t next_ticket(self) noexcept nogil:
        return self.ticket + 1

    cdef uint64_t commit(self, int64_t now_ms) noexcept nogil:
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
                counter_store(record + 16 + 16 * j, _counters(account) + j)
            counter_store(record + 16 + 16 * 6, &account.relayed_before)

    cdef void _clean(self) noexcept nogil:
        """The batch is over. Where Fulfills have left in it, the next one has a record to write."""
        cdef uint32_t i
        cdef uint32_t kept = 0
        cdef AccountState* account
        for i in range(self._dirty_count):
            account = &self.accounts[self._dirty[i]]
            account.dirty = (
                self.store is not None
                and not counter_equal(&account.relayed_before, &account.debits_relayed)
            )
            account.relayed_before = account.debits_relayed
            if account.dirty:
                self._dirty[kept] = self._dirty[i]
                kept += 1
        self._dirty_count = kept

    cdef bint unfinished(self) noexcept nogil:
        return self._dirty_count > 0

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
            if not self._dirty_count:
                self.ticket += 1
                self._released = self._released if self._manual else self.ticket
                return self.ticket
            return self.commit(-1)
        self.ticket += 1
        self._pack()
        self.store.submit_records(
            self._packed, self._dirty, self._dirty_count, self.ticket, puts, deletes
        )
        self._clean()
        return self.ticket

    def _snapshot(self, uint32_t index):
        cdef const uint8_t* counters = <const uint8_t*>_counters(&self.accounts[index])
        return counters[:8 * sizeof(counter_t)]     # relayed_before too

    def _restore(self, uint32_t index, bytes counters):
        memcpy(_counters(&self.accounts[index]), <const uint8_t*>counters, 8 * sizeof(counter_t))

    def _check_expected(self, expect):
        for key, value in expect:
            found = None if self.store is None else self.store.get(key)
            if found != value:
                raise ConflictError(f"record {key!r} is not as expected")

    def _checked_move(self, account_id, kind, amount):
        if account_id not in self._index:
            raise UsageError(f"no account with id {account_id.hex()}")
        if not -(1 << 64) < amount < 1 << 64:
            raise UsageError(f"amount {amount} is beyond 64 bits")
        cdef Account handle = self._handles[self._index[account_id]]
        internal = self._index[self.internal_id(handle.asset_code, handle.asset_scale, kind)]
        return handle.index, internal, amount, kind == "settlement"

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
        cdef counter_t size
        counter_from_int(&size, abs(amount))
        if amount >= 0:
            counter_add_wide(&account.credits_posted, &size)
            counter_add_wide(&other.debits_posted, &size)
            counter_add(&account.prepaid_posted, prepaid)
        else:
            counter_add_wide(&account.debits_posted, &size)
            # There is no Fulfill to wait for.
            counter_add_wide(&account.debits_relayed, &size)
            counter_add_wide(&account.relayed_before, &size)
            counter_add_wide(&other.credits_posted, &size)
        self._touch(account)
        self._touch(other)

    # --- looking at it ----------------------------------------------------------------------------

    def counters(self, account_id):
        """The seven counters of an account by name, None if there is no such id."""
        if account_id not in self._index:
            return None
        cdef AccountState* account = &self.accounts[<uint32_t>self._index[account_id]]
        return {
            _COUNTER_NAMES[i]: counter_unsigned(_counters(account) + <size_t>i) for i in range(7)
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
        for asset, sums in self.sums().items():
            for phase in ("pending", "posted"):
                if sums[f"debits_{phase}"] != sums[f"credits_{phase}"]:
                    raise InternalError(f"{phase} sums of {asset} differ: {sums}")

    def close(self):
        """Commit what changed and close the store. Idempotent."""
        if self.store is not None:
            while self._dirty_count:
                self.commit(-1)
            self.store.close()
