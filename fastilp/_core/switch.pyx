"""The switch: rows of a batch go through the stages in order, bytes come out (docs/data-path.md).

`Switch.process` is the only control flow across stages. A stage is one loop over the rows; it skips
rows that carry a fault already and writes its own columns. Outcomes are statuses; nothing that a
peer sends raises. No socket, no clock, no logger. May import everything else of the core."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastilp._core.condition cimport condition_check
from fastilp._core.counter cimport counter_add
from fastilp._core.gate cimport Gate, Waiting
from fastilp._core.inflight cimport (
    IN_FLIGHT_AMOUNT_OUT_TAKEN, IN_FLIGHT_AMOUNT_TAKEN, IN_FLIGHT_ANSWERED, IN_FLIGHT_CLAIMED,
    IN_FLIGHT_MARKED, IN_FLIGHT_OF_ROW, IN_FLIGHT_PUNT, SLOT_NONE, InFlight, InFlightTable,
)
from fastilp._core.ledger cimport Ledger
from fastilp._core.limits cimport FULFILL_RELEASE_MARGIN_MS, HOLD_MAX_MS, PUNTS_PER_ACCOUNT_MAX
from fastilp._core.link cimport LinkState
from fastilp._core.packet cimport (
    PACKET_FULFILL, PACKET_REJECT, FulfillFields, PrepareFields, RejectFields, fulfill_parse,
    prepare_parse_next, prepare_patch, reject_parse,
)
from fastilp._core.policy cimport policy_gives_back, policy_gives_back_out
from fastilp._core.prefetch cimport prefetch
from fastilp._core.row cimport (
    ROW_AMOUNT_OUT_TAKEN, ROW_AMOUNT_TAKEN, ROW_ANSWER, ROW_EGRESS_GIVEN, ROW_NONE,
    ROW_PUNT, ROW_REINJECTED, Row, batch_clear,
)
from fastilp._core.status cimport (
    STATUS_CONNECTOR_BUSY, STATUS_FORWARDED, STATUS_FULFILLED, STATUS_FULFILLED_BEFORE_COMMIT,
    STATUS_INVALID_ANSWER, STATUS_INVALID_PACKET, STATUS_LINK_DOWN, STATUS_OK, STATUS_PEER_BUSY,
    STATUS_PUNTED, STATUS_REJECTED, STATUS_TIMED_OUT, STATUS_UNDELIVERABLE, STATUS_UNMATCHED,
    STATUS_WRONG_FULFILLMENT,
)
from fastilp._core.tables cimport (
    CONTROL_LINK, Way, prefetch_account, prefetch_link, way_is_full, way_leaves_rest,
)
from fastilp._core.terminal cimport Terminal

from fastilp.errors import UsageError

cdef extern from *:
    """
    #ifdef FASTILP_CORE_DEBUG
    #define FASTILP_CHECK_EVERY_BATCH 1
    #else
    #define FASTILP_CHECK_EVERY_BATCH 0
    #endif
    """
    bint FASTILP_CHECK_EVERY_BATCH


@cython.final
@cython.no_gc_clear
cdef class Switch(Terminal):
    def __init__(
        self, Ledger ledger, str address, *, int in_flight_max=65_536,
        int64_t hold_max_ms=HOLD_MAX_MS, int64_t window_min_ms=100,
    ):
        """See switch.pyi. Raises UsageError."""
        if not 1 <= hold_max_ms <= HOLD_MAX_MS:
            raise UsageError(f"hold_max_ms must be from 1 to {HOLD_MAX_MS}, not {hold_max_ms}")
        if not 0 <= window_min_ms < hold_max_ms:
            raise UsageError(
                f"window_min_ms must be from 0 to below hold_max_ms, not {window_min_ms}"
            )
        # Ids of the last run may still be answered: each run starts somewhere else.
        generation = ledger.incarnation * 0x9E37 & 0xFFFF_FFFF
        try:
            self._in_flight = InFlightTable(in_flight_max, generation)
        except ValueError as error:
            raise UsageError(str(error)) from None
        self._gate = Gate()
        self._hold_max_ms = hold_max_ms
        self._window_min_ms = window_min_ms
        self._accepts = True

    # --- the one call that does work --------------------------------------------------------------

    @cython.binding(False)
    def process(self, now_ms):
        """Do everything that is due at `now_ms`: Unix time in whole milliseconds, such as
        `time.time_ns() // 1_000_000`. A float is refused: `time.time()` is in seconds."""
        if isinstance(now_ms, float):
            raise UsageError(
                f"{now_ms} is a float; now_ms is Unix time in whole milliseconds:"
                " time.time_ns() // 1_000_000"
            )
        self.now_ms = max(self.now_ms, <int64_t>now_ms)
        self._reserve_columns()
        self._immediate = self.ledger.immediate()
        if self.ledger.store is not None:
            self.ledger.store.declare_awake()
        self._note_acceptance()
        self.stage_taken()
        self.stage_release()
        self.stage_parse()
        self.stage_match()
        self.stage_condition()
        self.stage_admit()
        self.stage_route()
        self.stage_convert()
        if self._observed:
            self.observe_answers(self._answers, self._answer_count, self._in_flight.entries)
        self.stage_apply_answers()
        self.stage_apply_expired()
        self.stage_apply_prepares()
        if self._observed:
            self.observe_prepares(self._prepares, self._prepare_count)
        self.settle_events()
        self.ledger.commit(self.now_ms)
        batch_clear(&self.batch)
        if self._gate.waiting() and self.ledger.store is not None:
            self.ledger.store.declare_asleep(self._gate.entries[self._gate.head].ticket)
        if FASTILP_CHECK_EVERY_BATCH:
            self.ledger.check()

    cdef int _note_acceptance(self) except -1:
        cdef bint accepts = self.ledger.accepts(self.now_ms)
        if accepts != self._accepts:
            self._accepts = accepts
            self._note(("store", None, 0 if accepts else 1))
        return 0

    # --- what the shells have taken ---------------------------------------------------------------

    cdef void stage_taken(self) noexcept nogil:
        """Fulfills that were in an egress at the end of the last call and no longer are have left
        this process: only now a record may call them relayed."""
        cdef uint32_t i = 0
        cdef LinkState* link
        self._counts[STATUS_UNDELIVERABLE] += self.batch.undeliverable
        self.batch.undeliverable = 0
        while i < self.relay_count:
            link = self.link_states[self.relay_indexes[i]]
            if link.egress.size:
                i += 1
                continue
            self.ledger.taken(link.account, &link.unrelayed)
            link.unrelayed.low = link.unrelayed.high = 0
            link.relaying = 0
            self.relay_count -= 1
            self.relay_indexes[i] = self.relay_indexes[self.relay_count]

    cdef void send_fulfill(
        self, uint32_t link, uint32_t request_id, const uint8_t* packet, size_t size,
        uint64_t amount,
    ) noexcept nogil:
        cdef LinkState* state = self.link_states[link]
        if amount:
            self.ledger.relayed(state.account, amount)
        if not self.send(link, request_id, packet, size, True) or amount == 0:
            return
        if self.ledger.store is not None:
            counter_add(&state.unrelayed, amount)
            if not state.relaying:
                state.relaying = 1
                self.relay_indexes[self.relay_count] = link
                self.relay_count += 1

    # --- 0 release --------------------------------------------------------------------------------

    cdef void stage_release(self) noexcept nogil:
        cdef uint64_t committed = self.ledger.committed()
        cdef Waiting* entry
        while True:
            entry = self._gate.next(committed, self.now_ms)
            if entry == NULL:
                return
            if entry.ticket > committed:
                self._counts[STATUS_FULFILLED_BEFORE_COMMIT] += 1
                self.ledger.block_until(self.ledger.ticket)
                self._accepts = False
                with gil:
                    self._note(
                        ("fulfilled_before_commit", self._handle(entry.account), entry.amount)
                    )
            self.send_fulfill(
                entry.link, entry.request_id, self._gate.packets.bytes + entry.offset, entry.size,
                entry.amount,
            )

    # --- 1 parse ----------------------------------------------------------------------------------

    cdef void stage_parse(self) noexcept nogil:
        cdef size_t i
        cdef Row* row
        for i in range(self.batch.count):
            row = &self.batch.rows[i]
            if row.account_in != ROW_NONE:
                prefetch_account(self, row.account_in)
            row.type = self.batch.packets.bytes[row.offset] if row.size else 0
            if row.type == PACKET_FULFILL or row.type == PACKET_REJECT or row.flags & ROW_ANSWER:
                row.flags |= ROW_ANSWER
                prefetch(self._in_flight.entry_of(row.request_id))
                self.parse_answer(row)
            else:
                self.parse_prepare(row)

    cdef void parse_prepare(self, Row* row) noexcept nogil:
        cdef PrepareFields fields
        if prepare_parse_next(
            self.batch.packets.bytes + row.offset, row.size, &fields, &self._expiry_day
        ) != 0:
            row.status = STATUS_INVALID_PACKET
            return
        row.canonical = <uint8_t>fields.canonical
        row.size = <uint16_t>fields.packet_size
        row.content = <uint16_t>fields.content
        row.destination = <uint16_t>fields.destination
        row.destination_size = <uint16_t>fields.destination_size
        row.amount = fields.amount
        row.expires_at_ms = fields.expires_at_ms

    cdef void parse_answer(self, Row* row) noexcept nogil:
        cdef const uint8_t* packet = self.batch.packets.bytes + row.offset
        cdef FulfillFields fulfill
        cdef RejectFields reject
        row.status = STATUS_INVALID_ANSWER
        if row.type == PACKET_FULFILL and fulfill_parse(packet, row.size, &fulfill) == 0:
            row.canonical = <uint8_t>fulfill.canonical
            row.size = <uint16_t>fulfill.packet_size
            row.content = <uint16_t>fulfill.fulfillment
            row.status = STATUS_OK
        elif row.type == PACKET_REJECT and reject_parse(packet, row.size, &reject) == 0:
            row.canonical = <uint8_t>reject.canonical
            row.size = <uint16_t>reject.packet_size
            row.status = STATUS_OK

    # --- 2 match ----------------------------------------------------------------------------------

    cdef void stage_match(self) noexcept nogil:
        """Answers find what they answer; from here on each stage has its own rows."""
        cdef uint32_t i
        cdef Row* row
        self._answer_count = self._prepare_count = 0
        for i in range(<uint32_t>self.batch.count):
            row = &self.batch.rows[i]
            if row.flags & ROW_ANSWER:
                self.match_answer(row)
            elif row.link_in == self.terminal.state.index and not self.match_passed_on(row):
                continue
            elif row.link_in == CONTROL_LINK and row.status == STATUS_OK:
                if not row.flags & ROW_EGRESS_GIVEN:
                    self.match_reinjected(row)
                elif row.amount:
                    row.status = STATUS_INVALID_PACKET
            if row.flags & ROW_ANSWER:
                self._answers[self._answer_count] = i
                self._answer_count += 1
            else:
                self._prepares[self._prepare_count] = i
                self._prepare_count += 1

    cdef void match_answer(self, Row* row) noexcept nogil:
        cdef uint32_t slot = self._in_flight.match(row.link_in, row.request_id)
        cdef InFlight* entry
        if slot == SLOT_NONE or self._in_flight.entries[slot].flags & IN_FLIGHT_ANSWERED:
            row.status = STATUS_UNMATCHED
            return
        entry = &self._in_flight.entries[slot]
        entry.flags |= IN_FLIGHT_ANSWERED
        row.slot = slot
        prefetch_link(self.link_states[entry.link_in])
        if entry.account_in != ROW_NONE:
            prefetch_account(self, entry.account_in)
        if self.now_ms >= entry.expires_out_ms and not entry.flags & IN_FLIGHT_CLAIMED:
            row.status = STATUS_TIMED_OUT
        elif row.status == STATUS_OK and row.type == PACKET_REJECT:
            row.status = STATUS_REJECTED
        elif entry.flags & IN_FLIGHT_PUNT and entry.amount_in:
            row.status = STATUS_INVALID_ANSWER

    cdef void match_reinjected(self, Row* row) noexcept nogil:
        """Control's Prepare takes the place of the punt with its id: sender, link and id come from
        there."""
        cdef uint32_t slot = self._in_flight.match(CONTROL_LINK, row.request_id)
        cdef InFlight* entry
        if slot == SLOT_NONE or self._in_flight.entries[slot].flags & IN_FLIGHT_ANSWERED:
            row.status = STATUS_UNMATCHED
            return
        entry = &self._in_flight.entries[slot]
        if self.now_ms >= entry.expires_out_ms:
            entry.flags |= IN_FLIGHT_ANSWERED
            row.flags |= ROW_ANSWER
            row.slot = slot
            row.status = STATUS_TIMED_OUT
            return
        if row.amount != entry.amount_in:
            row.status = STATUS_INVALID_PACKET
            row.amount = entry.amount_in    # what its bucket gets back
        row.link_in = entry.link_in
        row.request_id = entry.request_id_in
        row.account_in = entry.account_in
        row.expires_at_ms = min(row.expires_at_ms, entry.expires_in_ms)
        row.flags |= ROW_REINJECTED | entry.flags & (IN_FLIGHT_AMOUNT_TAKEN | IN_FLIGHT_MARKED)
        self.release_entry(slot)

    # --- 3 condition ------------------------------------------------------------------------------

    cdef void stage_condition(self) noexcept nogil:
        cdef size_t i, count = 0
        cdef Row* row
        for i in range(self._answer_count):
            row = &self.batch.rows[self._answers[i]]
            if row.status == STATUS_OK:
                self._pointers[count] = self.batch.packets.bytes + row.offset + row.content
                self._others[count] = self._in_flight.entries[row.slot].condition
                self._column_rows[count] = self._answers[i]
                count += 1
        if count:
            condition_check(self._pointers, self._others, self._matches, count)
        for i in range(count):
            self.batch.rows[self._column_rows[i]].status = (
                STATUS_FULFILLED if self._matches[i] else STATUS_WRONG_FULFILLMENT
            )

    # --- 7 apply ----------------------------------------------------------------------------------

    cdef void stage_apply_answers(self) noexcept nogil:
        cdef size_t i
        cdef Row* row
        for i in range(self._answer_count):
            row = &self.batch.rows[self._answers[i]]
            self._counts[row.status] += 1
            if row.status != STATUS_UNMATCHED:
                self.apply_answer(row)

    cdef void apply_answer(self, Row* row) noexcept nogil:
        cdef InFlight* entry = &self._in_flight.entries[row.slot]
        cdef const uint8_t* packet
        cdef size_t size
        if row.status == STATUS_FULFILLED:
            self.apply_fulfill(row, entry)
            return
        self.void_entry(row.slot)
        if row.status == STATUS_REJECTED:
            packet = self.canonical(row, &size)
            if entry.account_out != ROW_NONE:
                self.tally_reject(entry.account_out, packet, size)
            if packet != NULL:
                self.send(entry.link_in, entry.request_id_in, packet, size, True)
            else:
                self.send_reject(entry.link_in, entry.request_id_in, STATUS_CONNECTOR_BUSY, 0, 0)
        else:
            self.send_reject(entry.link_in, entry.request_id_in, row.status, 0, 0)

    cdef void apply_fulfill(self, Row* row, InFlight* entry) noexcept nogil:
        cdef size_t size
        cdef const uint8_t* packet = self.canonical(row, &size)
        self.ledger.post(
            entry.account_in, entry.account_out, entry.amount_in, entry.amount_out,
            entry.prepaid_share,
        )
        self.release_entry(row.slot)
        if not entry.amount_in or self._immediate:
            if packet != NULL:
                self.send_fulfill(
                    entry.link_in, entry.request_id_in, packet, size, entry.amount_in
                )
                return
        elif packet != NULL and self._wait_for_commit(entry, packet, size):
            return
        # No memory to keep it in, and it must not leave before its commit: it is lost, like one
        # whose sender has gone. It stands, and is not counted as relayed.
        self._counts[STATUS_UNDELIVERABLE] += 1

    cdef bint _wait_for_commit(
        self, const InFlight* entry, const uint8_t* packet, size_t size
    ) noexcept nogil:
        """False when memory is exhausted."""
        cdef Waiting waiting
        waiting.ticket = self.ledger.next_ticket()
        waiting.leave_by_ms = entry.expires_in_ms - FULFILL_RELEASE_MARGIN_MS
        waiting.amount = entry.amount_in
        waiting.size = <uint32_t>size
        waiting.link = entry.link_in
        waiting.request_id = entry.request_id_in
        waiting.account = entry.account_in
        waiting.left = 0
        return self._gate.append(&waiting, packet) == 0

    cdef void stage_apply_expired(self) noexcept nogil:
        cdef uint32_t slot
        cdef InFlight* entry
        while True:
            slot = self._in_flight.expired(self.now_ms)
            if slot == SLOT_NONE:
                return
            entry = &self._in_flight.entries[slot]
            self._counts[STATUS_TIMED_OUT] += 1
            if self._observed:
                with gil:
                    self.observe_expired(slot, entry)
            if entry.account_out != ROW_NONE:
                self.tallies[entry.account_out].timed_out += 1
            self.void_entry(slot)
            self.send_reject(entry.link_in, entry.request_id_in, STATUS_TIMED_OUT, 0, 0)

    cdef void void_entry(self, uint32_t slot) noexcept nogil:
        cdef InFlight* entry = &self._in_flight.entries[slot]
        if not entry.flags & IN_FLIGHT_PUNT:
            self.ledger.void(
                entry.account_in, entry.account_out, entry.amount_in, entry.amount_out,
                entry.prepaid_share,
            )
        if entry.flags & IN_FLIGHT_AMOUNT_TAKEN:
            policy_gives_back(&self.ways[entry.account_in].policy, entry.amount_in, self.now_ms)
        if entry.flags & IN_FLIGHT_AMOUNT_OUT_TAKEN:
            policy_gives_back_out(
                &self.ways[entry.account_out].policy, entry.amount_out, self.now_ms
            )
        self.release_entry(slot)

    cdef void release_entry(self, uint32_t slot) noexcept nogil:
        """Free the slot; what the entry says can be read until the slot is acquired again."""
        cdef InFlight* entry = &self._in_flight.entries[slot]
        self.link_states[entry.link_out].in_flight -= 1
        if entry.account_in != ROW_NONE:
            self.ways[entry.account_in].in_flight_in -= 1
            if entry.flags & IN_FLIGHT_PUNT:
                self.ways[entry.account_in].punts -= 1
        if entry.account_out != ROW_NONE:
            self.ways[entry.account_out].in_flight_out -= 1
        self._in_flight.release(slot)

    cdef void stage_apply_prepares(self) noexcept nogil:
        cdef size_t i
        cdef Row* row
        for i in range(self._prepare_count):
            row = &self.batch.rows[self._prepares[i]]
            if row.status == STATUS_OK:
                row.status = (
                    self.apply_punt(row) if row.flags & ROW_PUNT else self.apply_prepare(row)
                )
            if row.status != STATUS_OK:
                self.answer_fault(row)

    cdef uint8_t apply_prepare(self, Row* row) noexcept nogil:
        cdef Way* way_out = &self.ways[row.account_out]
        cdef LinkState* link = self.link_for(row, way_out)
        cdef uint64_t share
        cdef uint32_t slot
        cdef uint8_t status
        if link == NULL or not link.up or link.closed:
            return STATUS_LINK_DOWN
        if self._sender_is_full(row):
            return STATUS_CONNECTOR_BUSY
        if way_is_full(way_out, link, self._sender(row)):
            return STATUS_PEER_BUSY
        status = <uint8_t>self.ledger.reserve(
            row.account_in, row.account_out, row.amount, row.amount_out, &share
        )
        if status != STATUS_OK:
            return status
        slot = self._in_flight.acquire(self.now_ms)
        if slot == SLOT_NONE:
            self.ledger.void(row.account_in, row.account_out, row.amount, row.amount_out, share)
            return STATUS_CONNECTOR_BUSY
        way_out.in_flight_out += 1
        way_out.sent += 1
        row.slot = slot
        self.insert(row, slot, link.index, share)
        self._counts[STATUS_FORWARDED] += 1
        self.forward(row, slot)
        return STATUS_OK

    cdef bint _sender_is_full(self, Row* row) noexcept nogil:
        cdef Way* way = self._sender(row)
        return self._in_flight.count >= self._in_flight.capacity or way != NULL and (
            way.in_flight_in >= way.in_flight_in_max
            or way_leaves_rest(way, self._in_flight.count, self._in_flight.capacity)
        )

    cdef Way* _sender(self, Row* row) noexcept nogil:
        return NULL if row.account_in == ROW_NONE else &self.ways[row.account_in]

    cdef uint8_t apply_punt(self, Row* row) noexcept nogil:
        cdef uint32_t slot
        if not self.link_states[CONTROL_LINK].up:
            # Marked, and nobody there to decide: a rule must not fail open.
            return STATUS_LINK_DOWN
        if self._sender_is_full(row) or (
            row.account_in != ROW_NONE
            and self.ways[row.account_in].punts >= PUNTS_PER_ACCOUNT_MAX
        ):
            return STATUS_CONNECTOR_BUSY
        slot = self._in_flight.acquire(self.now_ms)
        if slot == SLOT_NONE:
            return STATUS_CONNECTOR_BUSY
        row.slot = slot
        self.insert(row, slot, CONTROL_LINK, 0)
        if row.account_in != ROW_NONE:
            self.ways[row.account_in].punts += 1
        self._counts[STATUS_PUNTED] += 1
        self.send(
            CONTROL_LINK, self._in_flight.request_id(slot),
            self.batch.packets.bytes + row.offset, row.size, False,
        )
        return STATUS_OK

    cdef void insert(
        self, Row* row, uint32_t slot, uint32_t link_out, uint64_t share
    ) noexcept nogil:
        cdef InFlight* entry = &self._in_flight.entries[slot]
        memcpy(entry.condition, self.condition_of(row), 32)
        entry.amount_in = row.amount
        entry.amount_out = row.amount_out
        entry.prepaid_share = share
        entry.expires_in_ms = row.expires_at_ms
        entry.expires_out_ms = row.expires_out_ms
        entry.account_in = row.account_in
        entry.account_out = row.account_out
        entry.link_in = row.link_in
        entry.link_out = link_out
        entry.request_id_in = row.request_id
        entry.flags = row.flags & IN_FLIGHT_OF_ROW
        if row.account_in != ROW_NONE:
            self.ways[row.account_in].in_flight_in += 1
        self.link_states[link_out].in_flight += 1
        self._in_flight.insert(slot)

    # --- 8 rewrite, 9 scatter ---------------------------------------------------------------------

    cdef void forward(self, Row* row, uint32_t slot) noexcept nogil:
        cdef size_t size
        cdef uint8_t* packet
        prepare_patch(
            self.batch.packets.bytes + row.offset, row.content, row.amount_out, row.expires_out_ms,
            &self._expiry_memo,
        )
        packet = <uint8_t*>self.canonical(row, &size)
        if packet != NULL:
            self.send(
                self._in_flight.entries[slot].link_out, self._in_flight.request_id(slot), packet,
                size, False,
            )

    cdef void answer_fault(self, Row* row) noexcept nogil:
        self._counts[row.status] += 1
        if row.status == STATUS_UNMATCHED:
            return
        self.note_limit(row)
        if row.flags & ROW_AMOUNT_TAKEN:
            policy_gives_back(&self.ways[row.account_in].policy, row.amount, self.now_ms)
        if row.flags & ROW_AMOUNT_OUT_TAKEN:
            policy_gives_back_out(
                &self.ways[row.account_out].policy, row.amount_out, self.now_ms
            )
        self.send_reject(row.link_in, row.request_id, row.status, row.amount, row.amount_out)

    # --- events and looking at it -----------------------------------------------------------------

    def next_deadline_ms(self):
        """When process must be called again even if nothing arrives; None if there is no such
        time."""
        cdef int64_t deadline_ms = self._in_flight.next_deadline_ms()
        cdef int64_t later_ms = self.ledger.later_ms()
        if later_ms >= 0 and (deadline_ms < 0 or later_ms < deadline_ms):
            deadline_ms = later_ms
        if self._gate.waiting() and (deadline_ms < 0 or self._gate.earliest_ms < deadline_ms):
            deadline_ms = self._gate.earliest_ms
        if self.batch.undeliverable or self._has_taken():
            deadline_ms = self.now_ms
        return None if deadline_ms < 0 else deadline_ms

    cdef bint _has_taken(self) noexcept nogil:
        cdef uint32_t i
        for i in range(self.relay_count):
            if self.link_states[self.relay_indexes[i]].egress.size == 0:
                return True
        return False

    def fileno(self):
        """Readable when a commit that the switch waits for has ended; -1 for a memory ledger."""
        return -1 if self.ledger.store is None else self.ledger.store.fileno()

    def drain(self):
        """Refuse new Prepares from now on; answers go on."""
        self._draining = True

    def in_flight(self):
        """Forwarded Prepares and punts that wait for an answer."""
        return self._in_flight.count

    def waiting(self):
        """Fulfills that wait for their commit."""
        return len(self._gate)

    def punt_account(self, uint32_t request_id):
        """Which account a punted Prepare came in on. KeyError: nothing waits for control under that
        id."""
        cdef uint32_t slot = self._in_flight.match(CONTROL_LINK, request_id)
        if slot == SLOT_NONE:
            raise KeyError(request_id)
        return self._handle(self._in_flight.entries[slot].account_in)
