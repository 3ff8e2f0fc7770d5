"""The ledger of the reference model: dictionaries of integers, and every rule spelled out once.

Imports the standard library and fastilp.errors. It promises the same Python calls as
fastilp.Ledger; what LMDB keeps on disk is here a dictionary per path, so that a restart can be
played.
"""

import hashlib
from collections.abc import Iterable
from typing import ClassVar

from fastilp.errors import ConflictError, UsageError

COUNTERS = (
    "debits_pending",
    "debits_posted",
    "credits_pending",
    "credits_posted",
    "prepaid_pending",
    "prepaid_posted",
    "debits_relayed",
)
PENDING = ("debits_pending", "credits_pending", "prepaid_pending")
SUMMED = ("debits_pending", "credits_pending", "debits_posted", "credits_posted")
KINDS = ("exchange", "settlement", "written_off")
RECORDS_MAX = 500
COMMIT_STALL_MS = 1_000
RECORD_LATER_MS = 100

Asset = tuple[str, int]


class Row:
    """One account's counters, seen by the account's holder."""

    def __init__(self, asset: Asset, counters: dict[str, int] | None = None) -> None:
        self.asset = asset
        self.counters = dict.fromkeys(COUNTERS, 0) | (counters or {})
        # What `max_in_flight_amount` believes to be on disk: credits_posted as of a ticket.
        self.mark_ticket = 0
        self.marked_posted = 0
        self.durable_posted = 0
        # A threshold is looked at whenever the account is recorded.
        self.settles = False

    def add(self, counter: str, amount: int) -> None:
        self.counters[counter] += amount
        assert self.counters[counter] >= 0, f"{counter} below zero"

    @property
    def balance(self) -> int:
        counters = self.counters
        return counters["credits_posted"] - counters["debits_posted"] - counters["debits_pending"]

    @property
    def prepaid_free(self) -> int:
        return self.counters["prepaid_posted"] - self.counters["prepaid_pending"]

    @property
    def clearing(self) -> int:
        return self.balance - self.prepaid_free


class ModelLedger:
    """Same calls as fastilp.Ledger."""

    _reports: ClassVar[dict[str, list[dict[str, object]]]] = {}
    _disks: ClassVar[dict[str, dict[bytes, tuple[Asset, dict[str, int]]]]] = {}

    def __init__(self, manual_commit: bool, path: str = "") -> None:
        self.manual_commit = manual_commit
        self.store = None
        self.path = path
        self.ticket = 0
        self.committed_ticket = 0
        self.rows: dict[bytes, Row] = {}
        self.touched: list[bytes] = []
        # Changed in nothing that a record has to say at once; `listed` until the next look.
        self.later: set[bytes] = set()
        self.listed: set[bytes] = set()
        self.later_ms: int | None = None
        # The stall rule: since when no commit has ended, and which one ended last.
        self.waiting_since_ms: int | None = None
        self.progress_ticket = 0
        self.blocked_until_ticket = 0
        self.records: dict[bytes, bytes] = {}
        self.report: list[dict[str, object]] = list(self._reports.get(path, []))
        for key, (asset, kept) in self._disks.get(path, {}).items():
            self.load(key, Row(asset, kept))

    @classmethod
    def memory(cls, manual_commit: bool = False) -> "ModelLedger":
        return cls(manual_commit)

    @classmethod
    def open(cls, path: str) -> "ModelLedger":
        return cls(True, path)

    def close(self) -> None:
        self.release()
        if self.path:
            kept = {key: (row.asset, dict(row.counters)) for key, row in self.rows.items()}
            self._disks[self.path] = kept
            self._reports[self.path] = self.report

    def forget_crash_report(self) -> int:
        self.report = []
        self.ticket += 1
        if not self.manual_commit:
            self.committed_ticket = self.ticket
        return self.ticket

    @property
    def immediate(self) -> bool:
        return not self.manual_commit

    def load(self, key: bytes, row: Row) -> None:
        """Report what was open, then make it final: nothing pending, what was posted stays."""
        counters = row.counters
        left = {
            "in_flight_out": counters["credits_pending"],
            "in_flight_in": counters["debits_pending"],
            "not_relayed": counters["debits_posted"] - counters["debits_relayed"],
        }
        self.rows[key] = row
        row.durable_posted = row.marked_posted = counters["credits_posted"]
        counters.update(dict.fromkeys(PENDING, 0))
        if key not in self.internal_ids():
            counters["debits_relayed"] = counters["debits_posted"]
            if any(left.values()):
                self.report.append({"account_id": key, **left})

    def internal_ids(self) -> set[bytes]:
        assets = {row.asset for row in self.rows.values()}
        return {self.internal_id(*asset, kind) for asset in assets for kind in KINDS}

    def crash_report(self) -> list[dict[str, object]]:
        return [dict(entry) for entry in self.report]

    # --- rows -----------------------------------------------------------------------------------

    def internal_id(self, asset_code: str, asset_scale: int, kind: str) -> bytes:
        assert kind in KINDS
        return hashlib.sha256(f"{asset_code}/{asset_scale}/{kind}".encode()).digest()[:16]

    def open_row(self, key: bytes, asset: Asset) -> Row:
        if key not in self.rows:
            self.rows[key] = Row(asset)
            for kind in KINDS:
                self.rows.setdefault(self.internal_id(*asset, kind), Row(asset))
            # The account's own record is a control record, under a ticket like all of them.
            self.next_ticket()
        return self.rows[key]

    def internal(self, asset: Asset, kind: str) -> Row:
        return self.rows[self.internal_id(*asset, kind)]

    def counters(self, account_id: bytes) -> dict[str, int] | None:
        row = self.rows.get(account_id)
        return dict(row.counters) if row else None

    def sums(self) -> dict[Asset, dict[str, int]]:
        total: dict[Asset, dict[str, int]] = {}
        for row in self.rows.values():
            asset = total.setdefault(row.asset, dict.fromkeys(SUMMED, 0))
            for name in SUMMED:
                asset[name] += row.counters[name]
        return total

    def touch(self, key: bytes) -> None:
        if key not in self.touched:
            self.touched.append(key)

    def touch_later(self, key: bytes) -> None:
        if self.rows[key].settles:
            self.touch(key)
        else:
            self.later.add(key)
            self.listed.add(key)

    # --- the three movements --------------------------------------------------------------------

    def reserve_debit(self, key: bytes, amount: int) -> int:
        """Hold `amount` of a sender; returns the share taken from the prepaid bucket."""
        row = self.rows[key]
        share = min(row.prepaid_free, amount)
        row.add("debits_pending", amount)
        row.add("prepaid_pending", share)
        self.internal(row.asset, "exchange").add("credits_pending", amount)
        self.touch_later(key)
        return share

    def finish_debit(self, key: bytes, amount: int, share: int, *, post: bool) -> None:
        row = self.rows[key]
        exchange = self.internal(row.asset, "exchange")
        row.add("debits_pending", -amount)
        row.add("prepaid_pending", -share)
        exchange.add("credits_pending", -amount)
        if post:
            row.add("debits_posted", amount)
            row.add("prepaid_posted", -share)
            exchange.add("credits_posted", amount)
        (self.touch if post else self.touch_later)(key)

    def reserve_credit(self, key: bytes, amount: int) -> None:
        row = self.rows[key]
        row.add("credits_pending", amount)
        self.internal(row.asset, "exchange").add("debits_pending", amount)
        self.touch_later(key)

    def finish_credit(self, key: bytes, amount: int, *, post: bool) -> None:
        row = self.rows[key]
        exchange = self.internal(row.asset, "exchange")
        row.add("credits_pending", -amount)
        exchange.add("debits_pending", -amount)
        if post:
            row.add("credits_posted", amount)
            exchange.add("debits_posted", amount)
        (self.touch if post else self.touch_later)(key)

    def relayed(self, key: bytes, amount: int) -> None:
        """Not in a record before the shells have taken it."""
        self.rows[key].add("debits_relayed", amount)

    # --- tickets --------------------------------------------------------------------------------

    def submit(self, now_ms: int) -> None:
        """End of a batch: what was touched goes under one new ticket, if anything was."""
        self.look_at_later(now_ms)
        if not self.touched:
            return
        if self.waiting_since_ms is None:
            self.waiting_since_ms = now_ms
        self.next_ticket()

    def look_at_later(self, now_ms: int) -> None:
        if not self.listed:
            return
        if self.later_ms is None:
            self.later_ms = now_ms + RECORD_LATER_MS
        elif self.later_ms <= now_ms:
            for key in self.later:
                self.touch(key)
            self.later, self.listed, self.later_ms = set(), set(), None

    def next_ticket(self) -> int:
        self.end_batch()
        self.ticket += 1
        if not self.manual_commit:
            self.release()
        return self.ticket

    def end_batch(self) -> None:
        self.later -= set(self.touched)
        self.touched = []

    def release(self, ticket: int | None = None) -> None:
        target = self.ticket if ticket is None else min(ticket, self.ticket)
        self.committed_ticket = max(self.committed_ticket, target)

    def accepts(self, now_ms: int) -> bool:
        """False after a Fulfill left before its commit, or when none ended for over a second."""
        if self.committed_ticket == self.ticket:
            self.progress_ticket, self.waiting_since_ms = self.committed_ticket, None
            return True
        if self.committed_ticket > self.progress_ticket:
            self.progress_ticket, self.waiting_since_ms = self.committed_ticket, now_ms
        if self.committed_ticket < self.blocked_until_ticket:
            return False
        return self.waiting_since_ms is None or now_ms - self.waiting_since_ms <= COMMIT_STALL_MS

    def start_mark(self, key: bytes) -> None:
        """`max_in_flight_amount` was set: posted so far counts once its ticket is committed."""
        row = self.rows[key]
        row.mark_ticket, row.marked_posted = self.ticket, row.counters["credits_posted"]

    def durable_posted(self, key: bytes) -> int:
        """Posted credits that are known to be on disk; may lag, never leads."""
        row = self.rows[key]
        posted = row.counters["credits_posted"]
        if not self.manual_commit:
            row.durable_posted = posted
        elif row.mark_ticket <= self.committed_ticket:
            row.durable_posted = row.marked_posted
            row.marked_posted, row.mark_ticket = posted, self.ticket + (key in self.touched)
            if row.mark_ticket <= self.committed_ticket:
                row.durable_posted = posted
        return row.durable_posted

    # --- control's door -------------------------------------------------------------------------

    def transact(
        self,
        adjustments: Iterable[tuple[bytes, str, int]] = (),
        puts: Iterable[tuple[bytes, bytes]] = (),
        deletes: Iterable[bytes] = (),
        expect: Iterable[tuple[bytes, bytes | None]] = (),
    ) -> int:
        moves, writes, removals = list(adjustments), list(puts), list(deletes)
        if len(moves) + len(writes) + len(removals) > RECORDS_MAX:
            raise UsageError("more than 500 records")
        if any(key not in self.rows or kind not in KINDS for key, kind, _ in moves):
            raise UsageError("unknown account")
        for key, value in expect:
            if self.records.get(key) != value:
                raise ConflictError(f"{key!r} is not as expected")
        for key, kind, amount in moves:
            self.adjust(key, kind, amount)
        self.records.update(writes)
        for key in removals:
            self.records.pop(key, None)
        return self.next_ticket()

    def adjust(self, key: bytes, kind: str, amount: int) -> None:
        row = self.rows[key]
        other = self.internal(row.asset, kind)
        if amount < 0:
            # There is no Fulfill to wait for, so it counts as relayed.
            row.add("debits_posted", -amount)
            row.add("debits_relayed", -amount)
            other.add("credits_posted", -amount)
        else:
            owed = max(0, -row.clearing)
            if kind == "settlement":
                row.add("prepaid_posted", amount - min(owed, amount))
            row.add("credits_posted", amount)
            other.add("debits_posted", amount)
        self.touch(key)
