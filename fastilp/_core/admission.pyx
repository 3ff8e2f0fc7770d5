"""Admission: may a Prepare enter, where does it go, and what becomes of its amount and expiry.

Stages 4 to 6 of the pipeline. They write columns of their rows and the token buckets, nothing else;
whether there is room and money is asked later, at the moment of reserving. May import output,
policy, rates and forwarding."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from fastilp._core.choices cimport ROUTE_GROUP, RouteGroup
from fastilp._core.forwarding cimport FORWARDING_NONE
from fastilp._core.limits cimport COMMIT_MARGIN_MS
from fastilp._core.output cimport Output
from fastilp._core.packet cimport PREPARE_CONDITION_OFFSET
from fastilp._core.counter cimport bucket_take
from fastilp._core.policy cimport policy_allows, policy_takes_amount, policy_takes_packet
from fastilp._core.rates cimport RATE_MISSING, RATE_OVERFLOW
from fastilp._core.row cimport (
    ROW_AMOUNT_OUT_TAKEN, ROW_AMOUNT_TAKEN, ROW_EGRESS_GIVEN, ROW_MARKED, ROW_NONE, ROW_PUNT,
    ROW_REINJECTED, ROW_RESTRICTED, Row,
)
from fastilp._core.status cimport (
    STATUS_ACCOUNT_CLOSED, STATUS_AMOUNT_OUT_RATE_LIMITED, STATUS_AMOUNT_OUT_TOO_LARGE,
    STATUS_AMOUNT_OVERFLOW, STATUS_AMOUNT_RATE_LIMITED, STATUS_AMOUNT_TOO_LARGE,
    STATUS_AMOUNT_TOO_SMALL, STATUS_DESTINATION_NOT_ALLOWED, STATUS_EXPIRED,
    STATUS_INSUFFICIENT_TIMEOUT,
    STATUS_NO_RATE, STATUS_OK, STATUS_PACKETS_RATE_LIMITED, STATUS_PEER_ADDRESS, STATUS_REFLECTED,
    STATUS_STORE_UNAVAILABLE, STATUS_UNREACHABLE, STATUS_WRONG_NETWORK,
)
from fastilp._core.tables cimport (
    CONTROL_LINK, WAY_ADMISSION, WAY_CLOSED, WAY_PUNTED, WAY_RESTRICTED, Way, address_network,
    prefetch_account, prefetch_link, way_is_up,
)

cdef extern from "hash.h" nogil:
    ctypedef struct hash_path_t:
        pass
    void hash_start(hash_path_t* path)
    uint64_t hash_prefix(hash_path_t* path, const uint8_t* at, size_t size)


# SHA-256 of 32 zero bytes.
cdef const char* _CONDITION_OF_ZEROS = (
    b"\x66\x68\x7a\xad\xf8\x62\xbd\x77\x6c\x8f\xc1\x8b\x8e\x9f\x8e\x20"
    b"\x08\x97\x14\x85\x6e\xe2\x33\xb3\x90\x2a\x59\x1d\x0d\x5f\x29\x25"
)


cdef inline bint _is_peer(const uint8_t* address, uint32_t size) noexcept nogil:
    return size >= 4 and memcmp(address, b"peer", 4) == 0 and (size == 4 or address[4] == c".")


@cython.no_gc_clear
cdef class Admission(Output):
    def __dealloc__(self):
        free(self._column_rows)
        free(self._answers)
        free(self._prepares)
        free(self._pointers)
        free(self._others)
        free(self._sizes)
        free(self._targets)
        free(self._matches)

    cdef int _reserve_columns(self) except -1:
        cdef size_t count = self.batch.capacity
        if count <= self._column_capacity:
            return 0
        self._column_rows = <size_t*>_resized(self._column_rows, count * sizeof(size_t))
        self._answers = <uint32_t*>_resized(self._answers, count * sizeof(uint32_t))
        self._prepares = <uint32_t*>_resized(self._prepares, count * sizeof(uint32_t))
        self._pointers = <const uint8_t**>_resized(self._pointers, count * sizeof(void*))
        self._others = <const uint8_t**>_resized(self._others, count * sizeof(void*))
        self._sizes = <uint32_t*>_resized(self._sizes, count * sizeof(uint32_t))
        self._targets = <uint32_t*>_resized(self._targets, count * sizeof(uint32_t))
        self._matches = <uint8_t*>_resized(self._matches, count)
        self._column_capacity = count
        return 0

    # --- 4 admit ----------------------------------------------------------------------------------

    cdef void stage_admit(self) noexcept nogil:
        cdef size_t i
        cdef Row* row
        for i in range(self._prepare_count):
            row = &self.batch.rows[self._prepares[i]]
            if row.status != STATUS_OK:
                continue
            if row.flags & ROW_REINJECTED:
                row.status = self.admit_reinjected(row)
            elif row.account_in != ROW_NONE and self.ways[row.account_in].special & WAY_ADMISSION:
                row.status = self.admit_special(row)
            else:
                row.status = self.admit(row)
                if row.status == STATUS_OK:
                    row.status = self.admit_way(row)
        if self._marked_count:
            self.stage_admit_marked()

    cdef uint8_t admit_reinjected(self, Row* row) noexcept nogil:
        if self._draining or not self._accepts:
            return STATUS_STORE_UNAVAILABLE
        # An echo must not be the way around a restriction.
        return STATUS_OK if self._may_pay(row) else STATUS_DESTINATION_NOT_ALLOWED

    cdef uint8_t admit_special(self, Row* row) noexcept nogil:
        """Of the few accounts that have more to ask than the others."""
        cdef Way* way = &self.ways[row.account_in]
        cdef uint8_t status
        if way.special & WAY_CLOSED:
            return STATUS_ACCOUNT_CLOSED
        status = self.admit(row)
        if status == STATUS_OK:
            status = self.admit_way(row)
        if status != STATUS_OK or row.flags & ROW_PUNT:
            return status
        if not self._may_pay(row):
            return STATUS_DESTINATION_NOT_ALLOWED
        if way.special & WAY_PUNTED and not row.flags & ROW_EGRESS_GIVEN:
            row.flags |= ROW_PUNT | ROW_MARKED
        return STATUS_OK

    cdef bint _may_pay(self, Row* row) noexcept nogil:
        cdef const uint8_t* destination = self.batch.packets.bytes + row.offset + row.destination
        if row.account_in == ROW_NONE or not self.ways[row.account_in].special & WAY_RESTRICTED:
            return True
        # `peer.` never leaves the link, and the own address is answered by the node itself.
        return (
            _is_peer(destination, row.destination_size)
            or self._is_own(destination, row.destination_size)
            or policy_allows(
                &self.ways[row.account_in].policy, destination, row.destination_size
            )
        )

    cdef void stage_admit_marked(self) noexcept nogil:
        """Destinations that control has asked to see, once."""
        cdef size_t i, count = 0
        cdef Row* row
        for i in range(self._prepare_count):
            row = &self.batch.rows[self._prepares[i]]
            if row.status == STATUS_OK and not row.flags & (
                ROW_PUNT | ROW_REINJECTED | ROW_EGRESS_GIVEN
            ):
                self._pointers[count] = self.batch.packets.bytes + row.offset + row.destination
                self._sizes[count] = row.destination_size
                self._column_rows[count] = self._prepares[i]
                count += 1
        self._marked.lookup_many(self._pointers, self._sizes, self._targets, count)
        for i in range(count):
            if self._targets[i] != FORWARDING_NONE:
                self.batch.rows[self._column_rows[i]].flags |= ROW_PUNT | ROW_MARKED

    cdef uint8_t admit(self, Row* row) noexcept nogil:
        cdef Way* way
        if self._draining or not self._accepts:
            return STATUS_STORE_UNAVAILABLE
        if row.expires_at_ms <= self.now_ms:
            return STATUS_EXPIRED
        if row.account_in == ROW_NONE:
            return STATUS_OK
        way = &self.ways[row.account_in]
        if row.amount > way.policy.max_packet_amount:
            row.amount_out = way.policy.max_packet_amount
            return STATUS_AMOUNT_TOO_LARGE
        if not policy_takes_packet(&way.policy, self.now_ms):
            return STATUS_PACKETS_RATE_LIMITED
        if way.policy.amounts_limited:
            if not policy_takes_amount(&way.policy, row.amount, self.now_ms):
                return STATUS_AMOUNT_RATE_LIMITED
            row.flags |= ROW_AMOUNT_TAKEN
        return STATUS_OK

    cdef uint8_t admit_way(self, Row* row) noexcept nogil:
        """Own address and `peer.` are for control, if there is one."""
        cdef const uint8_t* destination = self.batch.packets.bytes + row.offset + row.destination
        if row.flags & ROW_EGRESS_GIVEN or not self.link_states[CONTROL_LINK].up:
            return STATUS_OK
        if self._is_own(destination, row.destination_size) or (
            _is_peer(destination, row.destination_size)
        ):
            row.flags |= ROW_PUNT
        return STATUS_OK

    cdef bint _is_own(self, const uint8_t* address, size_t size) noexcept nogil:
        return size == self._own_size and memcmp(address, self._own, size) == 0

    cdef const uint8_t* _condition_of_punt(self, const Row* row) noexcept nogil:
        """Messages between settlement engines are answered with 32 zero bytes; what RFC 38 gives
        as their condition is SHA-256 of nothing, which these do not fulfill. No money moves."""
        cdef const uint8_t* packet = self.batch.packets.bytes + row.offset
        if row.amount == 0 and row.destination_size == 11 and (
            memcmp(packet + row.destination, b"peer.settle", 11) == 0
        ):
            return <const uint8_t*>_CONDITION_OF_ZEROS
        return packet + row.content + PREPARE_CONDITION_OFFSET

    # --- 5 route ----------------------------------------------------------------------------------

    cdef void stage_route(self) noexcept nogil:
        cdef size_t i, count = 0
        cdef Row* row
        for i in range(self._prepare_count):
            row = &self.batch.rows[self._prepares[i]]
            if row.status == STATUS_OK and not row.flags & ROW_PUNT:
                row.status = self.route_plain(row)
                if row.status == STATUS_OK and not row.flags & ROW_EGRESS_GIVEN:
                    self._pointers[count] = (
                        self.batch.packets.bytes + row.offset + row.destination
                    )
                    self._sizes[count] = row.destination_size
                    self._column_rows[count] = self._prepares[i]
                    count += 1
        self._forwarding.lookup_many(self._pointers, self._sizes, self._targets, count)
        for i in range(count):
            if self._targets[i] & ROUTE_GROUP:
                self._targets[i] = self.route_choice(
                    self._targets[i], &self.batch.rows[self._column_rows[i]]
                )
            if self._targets[i] != FORWARDING_NONE:
                prefetch_account(self, self._targets[i])
        for i in range(count):
            row = &self.batch.rows[self._column_rows[i]]
            row.status = self.route_found(row, self._targets[i])

    cdef uint8_t route_plain(self, Row* row) noexcept nogil:
        """What can be said without the table."""
        cdef const uint8_t* destination = self.batch.packets.bytes + row.offset + row.destination
        cdef int network
        if row.flags & ROW_EGRESS_GIVEN:
            # The handle may be another switch's, then its index is anything.
            if row.account_out >= self._way_capacity:
                return STATUS_UNREACHABLE
            return self.route_special(row)
        if _is_peer(destination, row.destination_size):
            return STATUS_PEER_ADDRESS
        network = address_network(destination, row.destination_size)
        if network and self._own_network and network != self._own_network:
            return STATUS_WRONG_NETWORK
        if self._is_own(destination, row.destination_size):
            return STATUS_UNREACHABLE
        return STATUS_OK

    cdef uint32_t route_choice(self, uint32_t target, const Row* row) noexcept nogil:
        """Of several next hops: the one whose share the destination falls into, else the first one,
        else the next one that is up. Never back to the sender in place of another: that is how
        packets come to run in circles."""
        cdef RouteGroup* group
        cdef uint32_t i
        if target == FORWARDING_NONE:
            return target
        group = &self._choices.groups[target & ~<uint32_t>ROUTE_GROUP]
        i = self.route_share(group, row) if group.weight else 0
        if way_is_up(&self.ways[group.accounts[i]]):
            return group.accounts[i]
        for i in range(group.count):
            if group.accounts[i] != row.account_in and way_is_up(&self.ways[group.accounts[i]]):
                return group.accounts[i]
        return group.accounts[0]

    cdef uint32_t route_share(self, RouteGroup* group, const Row* row) noexcept nogil:
        """Which of those that share, by the destination alone. When one goes down, destinations of
        the others stay where they are."""
        cdef hash_path_t path
        cdef uint32_t i = 0, point, left = group.weight
        cdef const uint8_t* address = self.batch.packets.bytes + row.offset + row.destination
        cdef uint64_t hashed
        hash_start(&path)
        hashed = hash_prefix(&path, address, row.destination_size)
        point = <uint32_t>(hashed % left)
        for i in range(group.shared):
            if point < group.weights[i]:
                break
            point -= group.weights[i]
        if group.accounts[i] != row.account_in and way_is_up(&self.ways[group.accounts[i]]):
            return i
        return self.route_share_rest(group, row.account_in, hashed, i)

    cdef uint32_t route_share_rest(
        self, RouteGroup* group, uint32_t account_in, uint64_t hashed, uint32_t gone
    ) noexcept nogil:
        """The same among those that are up; `gone` if none is."""
        cdef uint32_t i, point, total = 0
        for i in range(group.shared):
            if group.accounts[i] != account_in and way_is_up(&self.ways[group.accounts[i]]):
                total += group.weights[i]
        if total == 0:
            return gone
        point = <uint32_t>((hashed >> 32) % total)
        for i in range(group.shared):
            if group.accounts[i] != account_in and way_is_up(&self.ways[group.accounts[i]]):
                if point < group.weights[i]:
                    return i
                point -= group.weights[i]
        return gone

    cdef uint8_t route_found(self, Row* row, uint32_t account_out) noexcept nogil:
        row.account_out = account_out
        if account_out == FORWARDING_NONE or self.ways[account_out].special & WAY_CLOSED:
            return STATUS_UNREACHABLE
        if account_out == row.account_in and (
            not row.flags & ROW_REINJECTED or row.flags & ROW_MARKED
        ):
            return STATUS_REFLECTED
        if self.ways[account_out].special & WAY_ADMISSION:
            return self.route_special(row)
        return STATUS_OK

    cdef uint8_t route_special(self, Row* row) noexcept nogil:
        cdef uint8_t special = self.ways[row.account_out].special
        if special & WAY_CLOSED:
            return STATUS_UNREACHABLE
        if special & WAY_RESTRICTED:
            row.flags |= ROW_RESTRICTED
        return STATUS_OK

    # --- 6 convert --------------------------------------------------------------------------------

    cdef void stage_convert(self) noexcept nogil:
        cdef size_t i
        cdef Row* row
        for i in range(self._prepare_count):
            row = &self.batch.rows[self._prepares[i]]
            if row.status == STATUS_OK:
                row.status = (
                    self.convert_special(row) if row.flags & (ROW_PUNT | ROW_RESTRICTED)
                    else self.convert(row)
                )

    cdef uint8_t convert_special(self, Row* row) noexcept nogil:
        if row.flags & ROW_PUNT:
            row.expires_out_ms = min(row.expires_at_ms, self.now_ms + self._hold_max_ms)
            return STATUS_OK
        return self.convert_restricted(row)

    cdef uint8_t convert_restricted(self, Row* row) noexcept nogil:
        cdef Way* way_out = &self.ways[row.account_out]
        cdef uint8_t status = self.convert(row)
        cdef uint64_t maximum = way_out.policy.limits.max_packet_amount_out
        if status not in (STATUS_OK, STATUS_INSUFFICIENT_TIMEOUT):
            return status
        if row.amount_out > maximum:
            row.amount_out = self._rates.convertible(
                self.ways[row.account_in].asset, way_out.asset, maximum
            )
            return STATUS_AMOUNT_OUT_TOO_LARGE
        if status == STATUS_OK and way_out.policy.limits.amounts_out_limited:
            if not bucket_take(&way_out.policy.limits.amounts_out, row.amount_out, self.now_ms):
                return STATUS_AMOUNT_OUT_RATE_LIMITED
            row.flags |= ROW_AMOUNT_OUT_TAKEN
        return status

    cdef uint8_t convert(self, Row* row) noexcept nogil:
        cdef Way* way_out
        cdef uint32_t asset_in
        cdef int rate
        cdef int64_t margin_ms = 0
        row.expires_out_ms = min(row.expires_at_ms, self.now_ms + self._hold_max_ms)
        way_out = &self.ways[row.account_out]
        row.amount_out = row.amount
        if row.amount and self.ways[row.account_in].asset != way_out.asset:
            asset_in = self.ways[row.account_in].asset
            rate = self._rates.convert(asset_in, way_out.asset, row.amount, &row.amount_out)
            if rate == RATE_MISSING:
                return STATUS_NO_RATE
            if rate == RATE_OVERFLOW:
                row.amount_out = self._rates.convertible(asset_in, way_out.asset, <uint64_t>-1)
                return STATUS_AMOUNT_OVERFLOW
            if row.amount_out == 0:
                return STATUS_AMOUNT_TOO_SMALL
        if way_out.egress != NULL:
            prefetch_link(way_out.egress)
        if way_out.egress == NULL or not way_out.egress.local:
            margin_ms = way_out.round_trip_ms
            if row.account_in != ROW_NONE:
                margin_ms += self.ways[row.account_in].round_trip_ms
            row.expires_out_ms = min(row.expires_at_ms - margin_ms, row.expires_out_ms)
        if row.amount and not self._immediate:
            # A Fulfill that comes in time must find time for its commit.
            row.expires_out_ms = min(row.expires_out_ms, row.expires_at_ms - COMMIT_MARGIN_MS)
        if row.expires_out_ms - self.now_ms < self._window_min_ms:
            return STATUS_INSUFFICIENT_TIMEOUT
        return STATUS_OK


cdef void* _resized(const void* block, size_t size) except NULL:
    cdef void* grown = realloc(<void*>block, size)
    if grown == NULL:
        raise MemoryError()
    return grown
