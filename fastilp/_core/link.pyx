"""Links (a logical channel of an account) and connections (one socket).

A link owns its egress: whole packets with their ids for a message link, ready frames for a btp or
batch link. `receive` copies packets into the switch's batch and decides nothing. A connection
comes and goes; what is in flight belongs to the link. May import codec_batch, codec_btp, row,
arena, limits and ledger's Account."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from fastilp._core.arena cimport ArenaPool, arena_free, pool_give_back, pool_room
from fastilp._core.books cimport Account
from fastilp._core.codec_batch cimport BATCH_OVERHEAD_MAX, batch_write
from fastilp._core.codec_btp cimport BTP_MESSAGE, BTP_RESPONSE, btp_frame_size_max, btp_write
from fastilp._core.limits cimport PACKET_SIZE_MAX
from fastilp._core.prefetch cimport PyList_GET_ITEM, prefetch
from fastilp._core.row cimport ROW_EGRESS_GIVEN, ROW_NONE, Batch, Row, batch_append

from fastilp.errors import UsageError

cdef enum:
    # How far ahead of its turn a dirty link is asked for, and then its owner.
    AHEAD_LINK = 8
    AHEAD_OWNER = 4

_KINDS = {"message": LINK_MESSAGE, "btp": LINK_BTP, "batch": LINK_BATCH}
_NAMES = {number: name for name, number in _KINDS.items()}


cdef inline uint32_t _next_mask(uint32_t mask) noexcept nogil:
    """Masks only keep proxies from taking our bytes for their own protocol (RFC 6455 section 10.3):
    a xorshift sequence from a random start is unpredictable enough for whoever chooses the
    payload."""
    mask ^= mask << 13
    mask ^= mask >> 17
    return mask ^ (mask << 5)


cdef bint link_send_frame(
    LinkState* link, ArenaPool* pool, uint32_t request_id, const uint8_t* packet, size_t size,
    bint answer,
) noexcept nogil:
    cdef uint8_t* room
    if link.closed or not link.up:
        return False
    if link.kind == LINK_BATCH:
        room = pool_room(pool, &link.egress, BATCH_OVERHEAD_MAX + size)
        if room == NULL:
            return False
        link.egress.size += batch_write(room, request_id, packet, size)
        link.answers += answer
        return True
    room = pool_room(pool, &link.egress, btp_frame_size_max(size))
    if room == NULL:
        return False
    link.mask = _next_mask(link.mask)
    link.egress.size += btp_write(
        room, BTP_RESPONSE if answer else BTP_MESSAGE, request_id, packet, size, link.masked,
        link.mask,
    )
    link.answers += answer
    return True


@cython.final
cdef class Link:
    def __dealloc__(self):
        arena_free(&self.state.egress)

    def __repr__(self):
        return f"<Link {self.name} {self.kind}>"

    @staticmethod
    cdef Link make(
        Batch* batch, uint32_t index, Account account, str kind, str name, bint local
    ):
        cdef Link link = Link.__new__(Link)
        if kind not in _KINDS:
            raise UsageError(f'kind of a link is "message", "btp" or "batch", not {kind!r}')
        link._batch = batch
        link.account = account
        link.name = name
        link.state.index = index
        link.state.account = ROW_NONE if account is None else account.index
        link.state.kind = _KINDS[kind]
        link.state.local = local
        link.state.up = link.state.kind == LINK_MESSAGE
        return link

    @property
    def kind(self):
        return _NAMES[self.state.kind]

    @property
    def up(self):
        return self.state.up and not self.state.closed

    @up.setter
    def up(self, value):
        if self.state.kind != LINK_MESSAGE:
            raise UsageError(f"a {self.kind} link is up while a connection is bound to it")
        self.state.up = bool(value) and not self.state.closed

    @property
    def egress_size(self):
        return self.state.egress.size

    @property
    def in_flight(self):
        return self.state.in_flight

    @cython.binding(False)
    def receive(self, packets, Account egress=None):
        """Hand in `(request_id, packet)` pairs; see link.pyi. Raises UsageError."""
        cdef size_t count, size
        cdef bint done = False
        if self.state.closed or self._batch == NULL:
            self._check_open()
        count, size = self._batch.count, self._batch.packets.size
        try:
            for request_id, packet in packets:
                self._append(request_id, packet, egress)
            done = True
        finally:
            if not done:
                # A refused call has handed in nothing.
                self._batch.count, self._batch.packets.size = count, size

    cdef int _append(self, uint32_t request_id, bytes packet, Account egress) except -1:
        cdef Row* row
        cdef Py_ssize_t size
        if packet is None:
            raise TypeError("a packet is bytes, not None")
        size = PyBytes_GET_SIZE(packet)
        if size > PACKET_SIZE_MAX:
            raise UsageError(f"a packet has at most {PACKET_SIZE_MAX} bytes")
        row = batch_append(
            self._batch, self.state.index, self.state.account, request_id,
            <const uint8_t*>PyBytes_AS_STRING(packet), <uint16_t>size,
        )
        if row == NULL:
            raise MemoryError()
        if egress is not None:
            row.account_out = egress.index
            row.flags = ROW_EGRESS_GIVEN
        return 0

    @cython.binding(False)
    def take(self):
        """`(request_id, packet)` of everything that waits to be sent, in order. For message
        links."""
        if self.state.kind != LINK_MESSAGE:
            raise UsageError("take is for message links; btp and batch links have take_bytes")
        packets = []
        self._take_into(packets, None)
        return packets

    cdef int _take_into(self, list packets, Link named) except -1:
        """Append what waits, each with the link's name in front if there is one."""
        cdef const uint8_t* at = self.state.egress.bytes
        cdef const uint8_t* end = at + self.state.egress.size
        cdef uint32_t[2] head
        cdef bytes packet
        while at < end:
            memcpy(head, at, MESSAGE_HEAD)
            packet = PyBytes_FromStringAndSize(<const char*>at + MESSAGE_HEAD, head[1])
            packets.append((head[0], packet) if named is None else (named, head[0], packet))
            at += MESSAGE_HEAD + head[1]
        self._emptied()
        return 0

    def take_bytes(self):
        """Frames that wait to be written on the bound connection, in order. For btp and batch
        links."""
        if self.state.kind == LINK_MESSAGE:
            raise UsageError("take_bytes is for btp and batch links; a message link has take")
        frames = PyBytes_FromStringAndSize(
            <const char*>self.state.egress.bytes, self.state.egress.size
        )
        self._emptied()
        return frames

    cdef void _emptied(self) noexcept:
        self.state.answers = 0
        if self._batch == NULL:
            self.state.egress.size = 0
        else:
            pool_give_back(&self._batch.egress, &self.state.egress)

    cdef void _drop(self) noexcept:
        """What waits will not be taken. Its Fulfills stay unrelayed, for the crash report."""
        if self._batch != NULL:
            self._batch.undeliverable += self.state.answers
        self._emptied()
        self.state.unrelayed.low = self.state.unrelayed.high = 0

    def close(self):
        """Send and receive no more. What is in flight stays until it expires."""
        if self._connection is not None:
            self._connection.close()
        self.state.closed = 1
        self.state.up = 0
        self._drop()

    cdef int _check_open(self) except -1:
        if self.state.closed:
            raise UsageError(f"link {self.name} is closed")
        if self._batch == NULL:
            raise UsageError(f"the switch of link {self.name} is gone")
        return 0


cdef class LinkOwner:
    def flush(self, Link link not None):
        """See link.pyi."""
        self._flush(link)

    cdef int _flush(self, Link link) except -1:
        return 0

    cdef void _prefetch(self) noexcept:
        pass


cdef inline int _flush_link(Link link) except -1:
    # It may say that it is no owner any more.
    owner = link.owner
    if isinstance(owner, LinkOwner):
        return (<LinkOwner>owner)._flush(link)
    if owner is not None:
        owner.flush(link)
    return 0


cdef inline void _prefetch_owners(list links, Py_ssize_t i) noexcept:
    """With thousands of accounts nothing of a link or its owner is in a cache."""
    cdef const char* at
    cdef Py_ssize_t count = len(links)
    if i + AHEAD_LINK < count:
        at = <const char*>PyList_GET_ITEM(links, i + AHEAD_LINK)
        prefetch(at + 64)
        prefetch(at + 128)
    if i + AHEAD_OWNER < count:
        at = <const char*><void*>(<Link>PyList_GET_ITEM(links, i + AHEAD_OWNER)).owner
        prefetch(at)
        prefetch(at + 64)
        prefetch(at + 128)
    if i + 1 < count:
        owner = (<Link>PyList_GET_ITEM(links, i + 1)).owner
        if isinstance(owner, LinkOwner):
            (<LinkOwner>owner)._prefetch()


cdef int links_flush(list links, failed) except -1:
    cdef Py_ssize_t i
    for i in range(len(links)):
        _prefetch_owners(links, i)
        try:
            _flush_link(<Link>links[i])
        except Exception:
            failed(links[i])
    return 0


cdef class Connection:
    cdef int _attach(self, Link link, uint8_t kind) except -1:
        """Become the link's connection; the one that was bound to it before is unbound."""
        if link.state.kind != kind:
            raise UsageError(f"link {link.name} is not a {_NAMES[kind]} link")
        link._check_open()
        if self.link is not None:
            raise UsageError("this connection is bound already")
        if link._connection is not None:
            # Whole frames wait in the egress: they can go out on the new connection.
            link._connection.link = None
        self.link = link
        link._connection = self
        link.state.up = 1
        return 0

    def close(self):
        """The socket has gone; frames for it are dropped, what is in flight stays."""
        if self.link is not None:
            self.link._connection = None
            self.link.state.up = 0
            self.link._drop()
            self.link = None
