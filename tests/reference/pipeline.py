"""What the reference switch does with packets: the stages of docs/data-path.md, one loop each.

Imports its neighbours here. A stage looks at rows whose outcome is not decided yet and writes
either an outcome (a name from outcomes.py) or what the next stage needs.
"""

import hashlib
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.outcomes import OUTCOMES
from tests.reference.packets import (
    FULFILL,
    PREPARE,
    REJECT,
    Fulfill,
    Malformed,
    Prepare,
    Reject,
    decode,
    encode,
    packet_size,
)
from tests.reference.parts import Entry, ModelAccount, ModelLink, Row, Waiting

if TYPE_CHECKING:
    from tests.reference.books import ModelLedger

U64_MAX = 2**64 - 1
PREFIX_SEGMENTS_MAX = 32
WHEEL_TICK_MS = 8
FULFILL_RELEASE_MARGIN_MS = 250
COMMIT_MARGIN_MS = 500
EGRESS_SIZE_MAX = 2 * 1024 * 1024
# Whoever has more than 1/8 of a shared room leaves the last 1/8 of it to others.
FAIR_SHARE = 8
PUNTS_PER_ACCOUNT_MAX = 1_000
LIVE, TEST = (b"g",), (b"test", b"test1", b"test2", b"test3")

# What goes to a link: (link, request id, packet).
Output = tuple[ModelLink, int, bytes]


class Pipeline:
    """The part of ModelSwitch that `process` runs."""

    if TYPE_CHECKING:
        ledger: ModelLedger
        address: str
        in_flight_max: int
        hold_max_ms: int
        window_min_ms: int
        control: ModelLink
        now_ms: int
        inbox: list[Row]
        prefixes: dict[str, ModelAccount]
        marked: set[str]
        rates: dict[str, Fraction]
        spread: Fraction
        pair_spreads: dict[tuple[str, str], Fraction]
        entries: dict[int, Entry]
        waiting: list[Waiting]
        events: list[tuple[str, ModelAccount | None, int]]
        counts: dict[str, int]
        dirty: list[ModelLink]
        links: list[ModelLink]
        dropped: int
        last_id: int
        draining: bool
        accepting: bool

    def process(self, now_ms: int) -> None:
        self.now_ms = max(self.now_ms, now_ms)
        rows, self.inbox = self.inbox, []
        self.note_acceptance()
        self.note_taken()
        self.release()
        self.parse(rows)
        self.match(rows)
        prepares = [row for row in rows if row.upstream is not None]
        self.admit(prepares)
        self.route(prepares)
        self.convert(prepares)
        for row in rows:
            if row.entry is not None:
                self.apply_answer(row)
        self.apply_expired()
        for row in prepares:
            self.apply_prepare(row)
        self.settle()
        self.ledger.submit(self.now_ms)

    def note_acceptance(self) -> None:
        accepts = self.ledger.accepts(self.now_ms)
        if accepts != self.accepting:
            self.accepting = accepts
            self.events.append(("store", None, 0 if accepts else 1))

    def note_taken(self) -> None:
        """What was taken since the last call has left: the next record says so."""
        self.counts["undeliverable"] += self.dropped
        self.dropped = 0
        for link in self.links:
            if link.relaying and not link.egress and link.account is not None:
                link.relaying = False
                self.ledger.touch(link.account.id)

    # --- 0 release ------------------------------------------------------------------------------

    def release(self) -> None:
        for one in list(self.waiting):
            if one.ticket > self.ledger.committed_ticket:
                if self.now_ms < one.entry.expires_in_ms - FULFILL_RELEASE_MARGIN_MS:
                    continue
                self.relay_early(one)
            self.waiting.remove(one)
            self.relay(one)

    def relay_early(self, one: Waiting) -> None:
        """Later it would be worthless to the sender. No new money until the disk caught up."""
        self.ledger.blocked_until_ticket = self.ledger.ticket
        self.accepting = False
        self.count("fulfilled_before_commit")
        self.events.append(("fulfilled_before_commit", one.entry.sender, one.entry.amount_in))

    def relay(self, one: Waiting) -> None:
        if one.entry.sender is not None and one.entry.amount_in:
            self.ledger.relayed(one.entry.sender.id, one.entry.amount_in)
            one.entry.upstream.relaying |= bool(self.ledger.path) and not one.entry.upstream.closed
        self.send(one.entry.upstream, one.entry.upstream_id, one.packet)

    # --- 1 parse, 2 match -----------------------------------------------------------------------

    def parse(self, rows: Iterable[Row]) -> None:
        for row in rows:
            try:
                row.packet = decode(row.raw)
            except Malformed:
                row.packet = None

    def match(self, rows: Iterable[Row]) -> None:
        """Answers, and Prepares in place of punts, find their entry; the first one wins."""
        taken: set[int] = set()
        for row in rows:
            if row.raw[:1] in (bytes([FULFILL]), bytes([REJECT])):
                self.match_answer(row, self.find(row, taken))
            elif not isinstance(row.packet, Prepare):
                row.outcome = "invalid_packet"
                self.take_prepare(row)
            elif row.link is self.control:
                self.match_control(row, row.packet, taken)
            else:
                row.prepare = row.packet
                self.take_prepare(row)

    def find(self, row: Row, taken: set[int]) -> Entry | None:
        entry = self.entries.get(row.request_id)
        if entry is None or entry.link is not row.link or entry.request_id in taken:
            return None
        taken.add(entry.request_id)
        return entry

    def take_prepare(self, row: Row) -> None:
        row.sender, row.upstream, row.upstream_id = row.link.account, row.link, row.request_id

    def match_answer(self, row: Row, entry: Entry | None) -> None:
        row.entry = entry
        if entry is None:
            row.outcome = "unmatched"
            self.count("unmatched")
        elif self.now_ms >= entry.expires_out_ms:
            row.outcome = "timed_out"
        elif row.packet is None:
            row.outcome = "invalid_answer"
        elif isinstance(row.packet, Reject):
            row.outcome = "rejected"
        elif isinstance(row.packet, Fulfill):
            row.outcome = self.judge(row.packet, entry)

    def match_control(self, row: Row, prepare: Prepare, taken: set[int]) -> None:
        """Control's own packets name their egress and move no money; others take a punt's place."""
        if row.egress is not None:
            row.prepare = prepare
            row.outcome = "invalid_packet" if prepare.amount else ""
            self.take_prepare(row)
            return
        entry = self.find(row, taken)
        if entry is None or self.now_ms >= entry.expires_out_ms:
            self.match_answer(row, entry)
            return
        row.reinjected, row.sender = True, entry.sender
        row.upstream, row.upstream_id = entry.upstream, entry.upstream_id
        row.prepare = prepare._replace(
            expires_at_ms=min(prepare.expires_at_ms, entry.expires_in_ms)
        )
        row.outcome = "" if prepare.amount == entry.amount_in else "invalid_packet"
        # The place is free from now on; its tokens stay with the Prepare that takes it.
        row.tokens, entry.tokens = entry.tokens, 0
        row.marked = entry.marked
        self.finish(entry, post=False)

    # --- 3 condition ----------------------------------------------------------------------------

    def judge(self, fulfill: Fulfill, entry: Entry) -> str:
        if entry.punt and entry.amount_in:
            return "invalid_answer"
        if hashlib.sha256(fulfill.fulfillment).digest() != entry.condition:
            return "wrong_fulfillment"
        return "fulfilled"

    # --- 4 admit --------------------------------------------------------------------------------

    def admit(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.prepare is None or row.outcome:
                continue
            if row.reinjected:
                refuses = self.draining or not self.accepting
                row.outcome = "store_unavailable" if refuses else self.check_destination(row)
            else:
                row.outcome = self.admit_one(row, row.prepare, row.sender)

    def admit_one(self, row: Row, prepare: Prepare, sender: ModelAccount | None) -> str:
        if sender is not None and sender.closing:
            return "account_closed"
        if self.draining or not self.accepting:
            return "store_unavailable"
        if prepare.expires_at_ms <= self.now_ms:
            return "expired"
        if sender is not None:
            maximum = sender.settings["max_packet_amount"]
            if maximum is not None and prepare.amount > maximum:
                row.maximum = maximum
                return "amount_too_large"
            if not sender.packets.take(1, self.now_ms):
                return "packets_rate_limited"
            if not sender.amounts.take(prepare.amount, self.now_ms):
                return "amount_rate_limited"
            row.tokens = prepare.amount if sender.amounts.limit is not None else 0
        special = self.is_own(prepare) or prepare.destination.startswith(b"peer.")
        row.punt = special and row.egress is None and self.control.up
        if row.punt:
            return ""
        outcome = self.check_destination(row)
        row.punt = row.marked = (
            not outcome
            and row.egress is None
            and (
                (sender is not None and sender.punted)
                or any(begins(prepare.destination, prefix) for prefix in self.marked)
            )
        )
        return outcome

    def check_destination(self, row: Row) -> str:
        allowed = row.sender.settings["allowed_destinations"] if row.sender is not None else None
        assert row.prepare is not None
        if allowed is None or self.is_own(row.prepare):
            return ""
        destination = row.prepare.destination
        if begins(destination, "peer") or any(begins(destination, prefix) for prefix in allowed):
            return ""
        return "destination_not_allowed"

    def is_own(self, prepare: Prepare) -> bool:
        return prepare.destination == self.address.encode()

    # --- 5 route --------------------------------------------------------------------------------

    def route(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.prepare is not None and not row.outcome and not row.punt:
                row.outcome = self.route_one(row, row.prepare)

    def route_one(self, row: Row, prepare: Prepare) -> str:
        if row.egress is not None:
            row.next_hop = row.egress
            return "unreachable" if row.egress.closing else ""
        if prepare.destination.startswith(b"peer."):
            return "peer_address"
        if self.wrong_network(prepare.destination):
            return "wrong_network"
        row.next_hop = self.longest_prefix(prepare.destination)
        if self.is_own(prepare) or row.next_hop is None or row.next_hop.closing:
            return "unreachable"
        if row.next_hop is row.sender and (row.marked or not row.reinjected):
            return "reflected"
        return ""

    def wrong_network(self, destination: bytes) -> bool:
        ours, theirs = self.address.encode().split(b".")[0], destination.split(b".")[0]
        return (ours in LIVE and theirs in TEST) or (ours in TEST and theirs in LIVE)

    def longest_prefix(self, destination: bytes) -> ModelAccount | None:
        segments = destination.decode().split(".")[:PREFIX_SEGMENTS_MAX]
        for count in range(len(segments), -1, -1):
            if (account := self.prefixes.get(".".join(segments[:count]))) is not None:
                return account
        return None

    # --- 6 convert ------------------------------------------------------------------------------

    def convert(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.prepare is None or row.outcome:
                continue
            if row.punt:
                row.expires_out_ms = self.held_until(row.prepare.expires_at_ms)
            else:
                row.outcome = self.convert_one(row, row.prepare)

    def convert_one(self, row: Row, prepare: Prepare) -> str:
        assert row.next_hop is not None
        row.expires_out_ms = self.expires_out(row, prepare.expires_at_ms)
        outcome = self.convert_amount(row, prepare) if prepare.amount else ""
        outcome = outcome or self.check_amount_out(row, row.next_hop)
        if outcome:
            return outcome
        if prepare.amount and not self.ledger.immediate:
            latest_ms = prepare.expires_at_ms - COMMIT_MARGIN_MS
            row.expires_out_ms = min(row.expires_out_ms, latest_ms)
        if row.expires_out_ms - self.now_ms < self.window_min_ms:
            return "insufficient_timeout"
        if not row.next_hop.amounts_out.take(row.amount_out, self.now_ms):
            return "amount_out_rate_limited"
        limited = row.next_hop.amounts_out.limit is not None
        row.tokens_out = row.amount_out if limited else 0
        return ""

    def check_amount_out(self, row: Row, next_hop: ModelAccount) -> str:
        maximum = next_hop.settings["max_packet_amount_out"]
        if maximum is None or row.amount_out <= maximum:
            return ""
        rate = self.rate(row.sender, next_hop)
        assert rate is not None
        row.maximum = min(U64_MAX, maximum * rate.denominator // rate.numerator)
        return "amount_out_too_large"

    def convert_amount(self, row: Row, prepare: Prepare) -> str:
        assert row.next_hop is not None
        rate = self.rate(row.sender, row.next_hop)
        if rate is None:
            return "no_rate"
        row.amount_out = prepare.amount * rate.numerator // rate.denominator
        if row.amount_out == 0:
            return "amount_too_small"
        if row.amount_out > U64_MAX:
            row.maximum = U64_MAX * rate.denominator // rate.numerator
            return "amount_overflow"
        return ""

    def rate(self, sender: ModelAccount | None, next_hop: ModelAccount) -> Fraction | None:
        """Units of the next hop's asset for one unit of the sender's; None if there is no rate."""
        if sender is None:
            return Fraction(1)
        scale = Fraction(10) ** (next_hop.asset_scale - sender.asset_scale)
        if sender.asset_code == next_hop.asset_code:
            return scale
        rate_in = self.rates.get(sender.asset_code)
        rate_out = self.rates.get(next_hop.asset_code)
        if rate_in is None or rate_out is None:
            return None
        pair = sender.asset_code, next_hop.asset_code
        spread = sender.settings["spread"]
        if spread is None:
            spread = self.pair_spreads.get(pair, self.spread)
        return rate_in / rate_out * (1 - spread) * scale

    def expires_out(self, row: Row, expires_in_ms: int) -> int:
        assert row.next_hop is not None
        egress = row.next_hop.egress
        if egress is not None and egress.local:
            return self.held_until(expires_in_ms)
        shorter = expires_in_ms - (row.next_hop.settings["round_trip_time"] or 0)
        if row.sender is not None:
            shorter -= row.sender.settings["round_trip_time"] or 0
        return self.held_until(shorter)

    def held_until(self, expires_ms: int) -> int:
        return min(expires_ms, self.now_ms + self.hold_max_ms)

    # --- 7 apply: answers -----------------------------------------------------------------------

    def apply_answer(self, row: Row) -> None:
        assert row.entry is not None
        entry = row.entry
        self.finish(entry, post=row.outcome == "fulfilled")
        self.count(row.outcome)
        if row.outcome == "fulfilled":
            assert row.packet is not None
            # `submit` at the end of this batch gives out this ticket.
            one = Waiting(self.ledger.ticket + 1, entry, encode(row.packet))
            if self.ledger.manual_commit and entry.amount_in:
                self.waiting.append(one)
            else:
                self.relay(one)
        elif row.outcome == "rejected":
            assert row.packet is not None
            self.send(entry.upstream, entry.upstream_id, encode(row.packet))
        else:
            self.refuse(entry.upstream, entry.upstream_id, row.outcome)

    def finish(self, entry: Entry, *, post: bool) -> None:
        """Post or void what an entry holds, and forget it."""
        del self.entries[entry.request_id]
        entry.link.in_flight -= 1
        if entry.sender is not None:
            entry.sender.in_flight_in -= 1
            entry.sender.punts -= entry.punt
            if not post:
                entry.sender.amounts.give_back(entry.tokens, self.now_ms)
            if entry.amount_in and not entry.punt:
                self.ledger.finish_debit(entry.sender.id, entry.amount_in, entry.prepaid, post=post)
        if entry.next_hop is not None:
            entry.next_hop.in_flight_out -= 1
            if not post:
                entry.next_hop.amounts_out.give_back(entry.tokens_out, self.now_ms)
            if entry.amount_out:
                self.ledger.finish_credit(entry.next_hop.id, entry.amount_out, post=post)

    def apply_expired(self) -> None:
        due = [entry for entry in self.entries.values() if self.tick_end_ms(entry) <= self.now_ms]
        for entry in sorted(due, key=lambda one: (self.tick_end_ms(one), one.order)):
            self.finish(entry, post=False)
            self.count("timed_out")
            self.refuse(entry.upstream, entry.upstream_id, "timed_out")

    def tick_end_ms(self, entry: Entry) -> int:
        """When the wheel has turned past the tick that the expiry lies in."""
        return (entry.expires_out_ms // WHEEL_TICK_MS + 1) * WHEEL_TICK_MS

    def next_deadline_ms(self) -> int | None:
        due = [self.tick_end_ms(entry) for entry in self.entries.values()]
        due += [one.entry.expires_in_ms - FULFILL_RELEASE_MARGIN_MS for one in self.waiting]
        due += [self.now_ms for link in self.links if link.relaying and not link.egress]
        return min(due, default=None)

    # --- 7 apply: Prepares ----------------------------------------------------------------------

    def apply_prepare(self, row: Row) -> None:
        assert row.upstream is not None
        if not row.outcome:
            row.outcome = self.check_room(row) or self.check_money(row)
        if row.outcome:
            self.count(row.outcome)
            if row.sender is not None:
                row.sender.amounts.give_back(row.tokens, self.now_ms)
            if row.next_hop is not None:
                row.next_hop.amounts_out.give_back(row.tokens_out, self.now_ms)
            self.refuse(row.upstream, row.upstream_id, row.outcome, row)
        else:
            self.forward(row)

    def check_room(self, row: Row) -> str:
        sender, next_hop = row.sender, row.next_hop
        if next_hop is not None and (next_hop.egress is None or not next_hop.egress.up):
            return "link_down"
        if row.punt and not self.control.up:
            return "link_down"
        if len(self.entries) >= self.in_flight_max:
            return "connector_busy"
        if sender is not None:
            if sender.in_flight_in >= (sender.settings["in_flight_in_max"] or 0):
                return "connector_busy"
            share = self.in_flight_max // FAIR_SHARE
            if len(self.entries) > self.in_flight_max - share and sender.in_flight_in > share:
                return "connector_busy"
            if row.punt and sender.punts >= PUNTS_PER_ACCOUNT_MAX:
                return "connector_busy"
        if next_hop is not None and next_hop.egress is not None:
            return self.check_next_hop(sender, next_hop, next_hop.egress.egress_size)
        return ""

    def check_next_hop(
        self, sender: ModelAccount | None, next_hop: ModelAccount, waiting: int
    ) -> str:
        most = next_hop.settings["in_flight_out_max"] or 0
        if next_hop.in_flight_out >= most or waiting > EGRESS_SIZE_MAX:
            return "peer_busy"
        last = next_hop.in_flight_out > most - most // FAIR_SHARE
        last = last or waiting > EGRESS_SIZE_MAX - EGRESS_SIZE_MAX // FAIR_SHARE
        if last and sender is not None:
            if sender.in_flight_in > next_hop.in_flight_out // FAIR_SHARE:
                return "peer_busy"
        return ""

    def check_money(self, row: Row) -> str:
        if row.punt or row.next_hop is None or row.prepare is None or row.prepare.amount == 0:
            return ""
        if row.sender is not None:
            floor = row.sender.settings["min_balance"]
            balance = self.ledger.rows[row.sender.id].balance
            if floor is not None and balance - row.prepare.amount < floor:
                return "exceeds_floor"
        counters = self.ledger.rows[row.next_hop.id].counters
        sent = counters["credits_posted"] + counters["credits_pending"] + row.amount_out
        ceiling = row.next_hop.settings["max_balance"]
        if ceiling is not None and sent - counters["debits_posted"] > ceiling:
            return "exceeds_ceiling"
        most = row.next_hop.settings["max_in_flight_amount"]
        if most is not None and sent - self.ledger.durable_posted(row.next_hop.id) > most:
            return "exceeds_in_flight"
        return ""

    def forward(self, row: Row) -> None:
        """Reserve the money, enter the in-flight table, send the Prepare on."""
        assert row.prepare is not None and row.upstream is not None
        prepare, prepaid = row.prepare, 0
        link = self.control
        if not row.punt:
            assert row.next_hop is not None and row.next_hop.egress is not None
            link = row.next_hop.egress
            if row.sender is not None and prepare.amount:
                prepaid = self.ledger.reserve_debit(row.sender.id, prepare.amount)
            if row.amount_out:
                self.ledger.reserve_credit(row.next_hop.id, row.amount_out)
            row.next_hop.in_flight_out += 1
        if row.sender is not None:
            row.sender.in_flight_in += 1
            row.sender.punts += row.punt
        link.in_flight += 1
        self.count("punted" if row.punt else "forwarded")
        self.enter(row, link, prepare, prepaid)

    def enter(self, row: Row, link: ModelLink, prepare: Prepare, prepaid: int) -> None:
        assert row.upstream is not None
        self.last_id += 1
        entry = Entry(
            self.last_id, link, row.upstream, row.upstream_id, row.sender, row.next_hop,
            prepare.amount, row.amount_out, prepaid, row.tokens, prepare.condition,
            prepare.expires_at_ms, row.expires_out_ms, row.punt, self.last_id, row.tokens_out,
            row.marked,
        )  # fmt: skip
        self.entries[entry.request_id] = entry
        if row.punt:
            # Control sees the packet as it came.
            self.send(link, entry.request_id, row.raw[: packet_size(row.raw)])
            return
        patched = prepare._replace(amount=row.amount_out, expires_at_ms=row.expires_out_ms)
        self.send(link, entry.request_id, encode(patched))

    # --- 8 and 9: what leaves -------------------------------------------------------------------

    def refuse(
        self, link: ModelLink, request_id: int, outcome: str, row: Row | None = None
    ) -> None:
        code, message = OUTCOMES[outcome]
        data = b""
        if code == "F08" and row is not None and row.prepare is not None:
            data = row.prepare.amount.to_bytes(8, "big") + row.maximum.to_bytes(8, "big")
        reject = Reject(code.encode(), self.address.encode(), message.encode(), data)
        self.send(link, request_id, encode(reject))

    def send(self, link: ModelLink, request_id: int, packet: bytes) -> None:
        if link.closed:
            if packet[0] != PREPARE:
                self.count("undeliverable")
            return
        link.egress.append((request_id, packet))
        if link not in self.dirty:
            self.dirty.append(link)

    def count(self, outcome: str) -> None:
        self.counts[outcome] += 1

    def settle(self) -> None:
        """Once per batch, for each account whose counters were touched."""
        ours = {account.id: account for account in self.accounts()}
        for key in self.ledger.touched:
            if (account := ours.get(key)) is None:
                continue
            threshold, target = account.settings["settle_threshold"], account.settings["settle_to"]
            if threshold is None or target is None or threshold <= target:
                continue
            clearing = self.ledger.rows[key].clearing
            if clearing >= threshold:
                self.events.append(("settle", account, min(clearing - target, U64_MAX)))

    if TYPE_CHECKING:

        def accounts(self) -> list[ModelAccount]: ...


def begins(destination: bytes, prefix: str) -> bool:
    """Whether a prefix matches whole segments."""
    return (
        not prefix
        or destination == prefix.encode()
        or (destination.startswith(prefix.encode() + b"."))
    )
