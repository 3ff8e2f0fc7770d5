"""Rewrite and scatter: what a row becomes on its way out, and the egress that it goes to.

A packet leaves as it lies in the batch if it is canonical, else re-encoded in a scratch buffer;
Rejects of our own are built there too. May import tables, link, packet and status."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from fastilp._core.arena cimport arena_free, arena_room
from fastilp._core.books cimport Account
from fastilp._core.limits cimport REJECT_SIZE_EMIT_MAX
from fastilp._core.packet cimport (
    PACKET_FULFILL, PACKET_PREPARE, PREPARE_CONDITION_OFFSET, FulfillFields, PrepareFields,
    RejectFields, fulfill_parse, fulfill_size, fulfill_write, prepare_parse, prepare_size,
    prepare_write, reject_parse, reject_size, reject_write,
)
from fastilp._core.row cimport ROW_NONE, Row
from fastilp._core.status cimport (
    STATUS_AMOUNT_OUT_TOO_LARGE, STATUS_AMOUNT_OVERFLOW, STATUS_AMOUNT_RATE_LIMITED,
    STATUS_AMOUNT_TOO_LARGE, STATUS_CONNECTOR_BUSY, STATUS_COUNT, STATUS_EXCEEDS_CEILING,
    STATUS_EXCEEDS_FLOOR, STATUS_EXCEEDS_IN_FLIGHT, STATUS_PACKETS_RATE_LIMITED, STATUS_PEER_BUSY,
    STATUS_UNDELIVERABLE,
    StatusInfo, status_info,
)
from fastilp._core.noted cimport Noted


@cython.no_gc_clear
cdef class Output(Noted):
    def __cinit__(self, *arguments, **limits):
        self._refused_by = {}

    def __dealloc__(self):
        arena_free(&self._scratch)

    cdef const uint8_t* _rewritten(self, Row* row, size_t* size) noexcept nogil:
        cdef const uint8_t* packet = self.batch.packets.bytes + row.offset
        self._scratch.size = 0
        if row.type == PACKET_PREPARE:
            size[0] = self._rewrite_prepare(row, packet)
        elif row.type == PACKET_FULFILL:
            size[0] = self._rewrite_fulfill(row, packet)
        else:
            size[0] = self._rewrite_reject(row, packet)
        return self._scratch.bytes if size[0] else NULL

    cdef size_t _rewrite_prepare(self, Row* row, const uint8_t* packet) noexcept nogil:
        cdef PrepareFields fields
        prepare_parse(packet, row.size, &fields)
        if arena_room(
            &self._scratch, prepare_size(fields.destination_size, fields.data_size)
        ) == NULL:
            return 0
        return prepare_write(
            self._scratch.bytes, row.amount_out, row.expires_out_ms,
            packet + fields.content + PREPARE_CONDITION_OFFSET, packet + fields.destination,
            fields.destination_size, packet + fields.data, fields.data_size,
        )

    cdef size_t _rewrite_fulfill(self, Row* row, const uint8_t* packet) noexcept nogil:
        cdef FulfillFields fields
        fulfill_parse(packet, row.size, &fields)
        if arena_room(&self._scratch, fulfill_size(fields.data_size)) == NULL:
            return 0
        return fulfill_write(
            self._scratch.bytes, packet + fields.fulfillment, packet + fields.data,
            fields.data_size,
        )

    cdef size_t _rewrite_reject(self, Row* row, const uint8_t* packet) noexcept nogil:
        cdef RejectFields fields
        reject_parse(packet, row.size, &fields)
        if arena_room(
            &self._scratch,
            reject_size(fields.triggered_by_size, fields.message_size, fields.data_size),
        ) == NULL:
            return 0
        return reject_write(
            self._scratch.bytes, packet + fields.code, packet + fields.triggered_by,
            fields.triggered_by_size, packet + fields.message, fields.message_size,
            packet + fields.data, fields.data_size,
        )

    cdef void send_reject(
        self, uint32_t link, uint32_t request_id, uint8_t status, uint64_t received,
        uint64_t maximum,
    ) noexcept nogil:
        cdef const StatusInfo* info = status_info(status)
        cdef uint8_t[16] amounts
        cdef size_t data_size = 0, size
        cdef int i
        if status in (
            STATUS_AMOUNT_TOO_LARGE, STATUS_AMOUNT_OVERFLOW, STATUS_AMOUNT_OUT_TOO_LARGE
        ):
            for i in range(8):
                amounts[i] = <uint8_t>(received >> (56 - 8 * i))
                amounts[i + 8] = <uint8_t>(maximum >> (56 - 8 * i))
            data_size = 16
        self._scratch.size = 0
        if arena_room(&self._scratch, REJECT_SIZE_EMIT_MAX) == NULL:
            return
        size = reject_write(
            self._scratch.bytes, <const uint8_t*>info.code, self._own, self._own_size,
            <const uint8_t*>info.message, info.message_size, amounts, data_size,
        )
        self.send(link, request_id, self._scratch.bytes, size, True)

    cdef void tally_reject(
        self, uint32_t account_out, const uint8_t* packet, size_t size
    ) noexcept nogil:
        cdef RejectFields fields
        cdef bint own
        if packet == NULL or reject_parse(packet, size, &fields) != 0:
            return
        own = fields.triggered_by_size == self._own_size and (
            memcmp(packet + fields.triggered_by, self._own, self._own_size) == 0
        )
        if own and memcmp(packet + fields.code, b"T01", 3) == 0:
            self.tallies[account_out].link_failures += 1
        elif not own and memcmp(packet + fields.code, b"T04", 3) == 0:
            self.tallies[account_out].refused_balance += 1
            with gil:
                self._refused_by[account_out] = packet[
                    fields.triggered_by:fields.triggered_by + fields.triggered_by_size
                ]

    cdef void note_limit(self, const Row* row) noexcept nogil:
        cdef uint8_t status = row.status
        cdef uint32_t account = row.account_in
        if (
            status == STATUS_EXCEEDS_CEILING or status == STATUS_EXCEEDS_IN_FLIGHT
            or status == STATUS_PEER_BUSY or status == STATUS_AMOUNT_OUT_TOO_LARGE
        ):
            account = row.account_out
        elif not (
            status == STATUS_EXCEEDS_FLOOR or status == STATUS_AMOUNT_TOO_LARGE
            or status == STATUS_PACKETS_RATE_LIMITED or status == STATUS_AMOUNT_RATE_LIMITED
            or status == STATUS_CONNECTOR_BUSY
        ):
            return
        if account != ROW_NONE:
            self.tallies[account].limit_hits += 1
            self.tallies[account].last_limit = status

    def refused_by(self, Account account not None):
        """Who said T04 last of what was sent to the account; see output.pyi."""
        return self._refused_by.get(account.index, b"").decode("ascii", "replace")

    def statuses(self):
        """Outcome name -> count since the start."""
        return {
            status_info(i).name.decode(): self._counts[i] for i in range(1, STATUS_COUNT)
        }

    def count_undeliverable(self, uint64_t count=1):
        """An answer was taken from a link and its requester has gone."""
        self._counts[STATUS_UNDELIVERABLE] += count
