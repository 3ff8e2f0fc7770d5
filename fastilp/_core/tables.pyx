"""The tables of the switch: accounts, links, routes and rates, as control writes them and the
pipeline reads them.

Everything here runs between two calls of `Switch.process`, in Python's time. May import ledger,
link, forwarding, rates and policy."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from fastilp._core.choices cimport RouteChoices, is_group
from fastilp._core.connection_batch cimport BatchConnection
from fastilp._core.connection_btp cimport BtpConnection
from fastilp._core.forwarding cimport ForwardingTable
from fastilp._core.books cimport Account
from fastilp._core.ledger cimport Ledger
from fastilp._core.limits cimport PACKET_SIZE_MAX, PREFIX_SEGMENTS_MAX, TURN_SIZE_MAX
from fastilp._core.link cimport LINK_MESSAGE, Link, LinkState, links_flush
from fastilp._core.packet cimport address_prefix_valid
from fastilp._core.policy cimport (
    policy_free, policy_is_restricted, policy_limit_amounts, policy_limit_amounts_out,
    policy_limit_destinations, policy_limit_packet_amount_out, policy_limit_packets,
)
from fastilp._core.prefetch cimport PyList_GET_ITEM
from fastilp._core.rates cimport RateTable
from fastilp._core.row cimport batch_append, batch_free
from fastilp._core.status cimport status_info

from fastilp._core.ledger import account_id_of
from fastilp._core.account_settings import DEFAULTS as _DEFAULTS
from fastilp._core.account_settings import checked as _checked
from fastilp._core.packet import is_valid_address, is_valid_prefix
from fastilp.errors import UsageError

cdef extern from "Python.h":
    Py_ssize_t PyList_GET_SIZE(object items)
    bint PyTuple_CheckExact(object item)
    Py_ssize_t PyTuple_GET_SIZE(object items)
    PyObject* PyTuple_GET_ITEM(PyObject* items, Py_ssize_t i)

cdef extern from "pages.h" nogil:
    void* pages_grow(void* at, size_t size, size_t wanted)
    void pages_free(void* at, size_t size)

cdef enum:
    # Defaults of settings.
    ROUND_TRIP_MS = 500
    IN_FLIGHT_MAX = 16_384

cdef enum:
    # How far ahead of its turn a triple is asked for, and then what it points to.
    AHEAD_TRIPLE = 12
    AHEAD_PACKET = 6
    AHEAD_DIRTY = 8


cdef inline void _prefetch_triples(list triples, Py_ssize_t i):
    """Packets of many links lie anywhere: ask for them before their turn."""
    cdef PyObject* triple
    cdef const char* packet
    if i + AHEAD_TRIPLE >= PyList_GET_SIZE(triples):
        return
    prefetch(PyList_GET_ITEM(triples, i + AHEAD_TRIPLE))
    triple = PyList_GET_ITEM(triples, i + AHEAD_PACKET)
    if PyTuple_CheckExact(<object>triple) and PyTuple_GET_SIZE(<object>triple) == 3:
        prefetch(PyTuple_GET_ITEM(triple, 0))
        prefetch(<const char*>PyTuple_GET_ITEM(triple, 0) + 48)
        packet = <const char*>PyTuple_GET_ITEM(triple, 2)
        prefetch(packet)
        prefetch(packet + 64)
        prefetch(packet + 128)
        prefetch(packet + 192)
        prefetch(packet + 256)


# Links point into the batch until __dealloc__ tells them: the collector must not clear the list
# before.
@cython.no_gc_clear
cdef class Tables:
    def __cinit__(self, Ledger ledger, str address, **limits):
        self._links = []
        self._accounts = {}
        self._settings = {}
        self._rates = RateTable()
        self._forwarding = ForwardingTable()
        self._choices = RouteChoices()
        self._marked = ForwardingTable()
        self._suspended = {}
        self.ledger = ledger
        self.address = address
        self.control = self._open(None, "message", "control", True)
        self.control.up = False

    def __dealloc__(self):
        cdef Link link
        cdef uint32_t i
        if self._links is not None:
            for link in self._links:
                link._batch = NULL
        for i in range(self._way_capacity):
            policy_free(&self.ways[i].policy)
        pages_free(self.ways, self._way_capacity * sizeof(Way))
        pages_free(self.tallies, self._tally_capacity * sizeof(Tally))
        free(self.link_states)
        free(self.dirty_indexes)
        free(self.relay_indexes)
        batch_free(&self.batch)

    @property
    def address(self):
        """Own ILP address."""
        return self._address.decode()

    @address.setter
    def address(self, value):
        if not is_valid_address(value):
            raise UsageError(
                f"own address {value!r} is not a valid ILP address (RFC 15), such as g.hub"
            )
        self._address = value.encode()
        self._own = self._address
        self._own_size = len(self._address)
        self._own_network = address_network(self._own, self._own_size)

    # --- accounts ---------------------------------------------------------------------------------

    def add_account(
        self, str name, *, str asset_code, int asset_scale, bytes account_id=None, **settings
    ):
        """See tables.pyi. Raises UsageError."""
        if not name or name in self._accounts:
            raise UsageError(f"account {name!r} exists already" if name else "a name is needed")
        if not asset_code or not 0 <= asset_scale <= 255:
            raise UsageError(
                f"account {name}: an asset is a code and a scale from 0 to 255, "
                f"not {asset_code!r}/{asset_scale}"
            )
        if settings:
            settings = _checked(name, settings)
        if account_id is None:
            account_id = account_id_of(name)
        # Asked before the ledger is, which would take it for a new name of that account.
        owner = self._handle(self.ledger.index_of(account_id))
        if owner is not None:
            raise UsageError(f"account {name}: its id is that of {owner.name}")
        return self._add(name, account_id, asset_code, asset_scale, settings)

    cdef Account _add(self, str name, bytes account_id, str code, int scale, dict settings):
        cdef Account account
        cdef Way* way
        cdef uint32_t asset = self._rates.asset(code, scale, settings.get("spread"))
        account = self.ledger.add(name, account_id, code, scale)
        self._room_for_way(account.index)
        way = &self.ways[account.index]
        way.opened = 1
        way.special = 0
        way.asset = asset
        self._accounts[name] = account
        way.policy.max_packet_amount = <uint64_t>-1
        way.round_trip_ms = ROUND_TRIP_MS
        way.in_flight_in_max = way.in_flight_out_max = IN_FLIGHT_MAX
        # Limits of the last run, or of another switch, are taken back.
        if (
            settings or account.max_in_flight_amount is not None
            or self.ledger.accounts[account.index].limits
        ):
            self._apply_settings(account, settings)
        return account

    cdef Account _handle(self, uint32_t index):
        if index >= self._way_capacity or not self.ways[index].opened:
            return None
        return self.ledger._handles[index]

    def set_account(self, Account account, **settings):
        """Change settings of a live account; buckets keep their level. Raises UsageError."""
        self._check(account)
        settings = _checked(account.name, settings)
        self._apply_settings(account, settings)

    def close_account(self, Account account):
        """No new Prepares from or to it; what is in flight goes on."""
        self._check(account)
        self.ways[account.index].special |= WAY_CLOSED

    def reopen_account(self, Account account):
        """Take back `close_account`."""
        self._check(account)
        self.ways[account.index].special &= ~WAY_CLOSED

    def remove_account(self, Account account):
        """Forget a closed account once nothing of it is in flight: its name is free again, its
        counters stay with the ledger. Its routes lead nowhere until they are set anew."""
        cdef Way* way
        self._check(account)
        way = &self.ways[account.index]
        if not way.special & WAY_CLOSED or way.in_flight_in or way.in_flight_out:
            raise UsageError(f"account {account.name} is open, or packets of it are in flight")
        self.ledger.set_limits(account, _DEFAULTS)
        self._settings.pop(account, None)
        self._suspended.pop(account, None)
        del self._accounts[account.name]
        policy_free(&way.policy)
        memset(way, 0, sizeof(Way))
        memset(&self.tallies[account.index], 0, sizeof(Tally))
        # For routes that still name it.
        way.special = WAY_CLOSED

    def in_flight_of(self, Account account):
        """Prepares from the account, and to it, that wait for an answer."""
        self._check(account)
        return self.ways[account.index].in_flight_in, self.ways[account.index].in_flight_out

    def limit_hits_of(self, Account account):
        """How often a limit of the account refused a Prepare, and the outcome of the last one."""
        self._check(account)
        cdef Tally* tally = &self.tallies[account.index]
        if tally.limit_hits == 0:
            return 0, ""
        return tally.limit_hits, status_info(tally.last_limit).name.decode()

    def settings(self, Account account):
        """All settings of an account, defaults included."""
        self._check(account)
        return _DEFAULTS | self._settings.get(account, {})

    def account(self, str name):
        """KeyError if there is none of that name."""
        return self._accounts[name]

    def accounts(self):
        """Every account that was added, in that order."""
        return list(self._accounts.values())

    def balance(self, Account account):
        """credits_posted - debits_posted - debits_pending, in the asset's smallest unit: positive =
        we owe the holder."""
        counters = self.counters(account)
        return (
            counters["credits_posted"] - counters["debits_posted"] - counters["debits_pending"]
        )

    def counters(self, Account account):
        """The seven counters of the ledger by name."""
        self._check(account)
        return self.ledger.counters(account.id)

    cdef int _check(self, Account account) except -1:
        """An index means something in its own switch only. UsageError for a stranger's handle."""
        if account is None or self._handle(account.index) is not account:
            raise UsageError(f"{account!r} is not an account of this switch")
        return 0

    cdef int _apply_settings(self, Account account, dict changes) except -1:
        cdef Way* way = &self.ways[account.index]
        before = self._settings.get(account, {})
        settings = _DEFAULTS | before | changes
        way.policy.max_packet_amount = settings["max_packet_amount"]
        way.round_trip_ms = settings["round_trip_time"]
        way.in_flight_in_max = settings["in_flight_in_max"]
        way.in_flight_out_max = settings["in_flight_out_max"]
        if settings["packets_per_minute_limit"] != before.get("packets_per_minute_limit"):
            policy_limit_packets(&way.policy, settings["packets_per_minute_limit"], self.now_ms)
        if settings["amount_per_minute_limit"] != before.get("amount_per_minute_limit"):
            policy_limit_amounts(&way.policy, settings["amount_per_minute_limit"], self.now_ms)
        self._apply_restrictions(account, way, before, settings)
        self.ledger.set_limits(account, settings)
        changed = {key: value for key, value in settings.items() if value != _DEFAULTS[key]}
        if changed:
            self._settings[account] = changed
        else:
            self._settings.pop(account, None)
        return 0

    cdef int _apply_restrictions(
        self, Account account, Way* way, dict before, dict settings
    ) except -1:
        if settings["spread"] != before.get("spread"):
            way.asset = self._rates.asset(
                account.asset_code, account.asset_scale, settings["spread"]
            )
        limit = settings["amount_per_minute_limit_out"]
        if limit != before.get("amount_per_minute_limit_out"):
            policy_limit_amounts_out(&way.policy, limit, self.now_ms)
        limit = settings["max_packet_amount_out"]
        if limit != before.get("max_packet_amount_out"):
            policy_limit_packet_amount_out(&way.policy, limit)
        prefixes = settings["allowed_destinations"]
        if prefixes != before.get("allowed_destinations"):
            policy_limit_destinations(
                &way.policy, None if prefixes is None else [each.encode() for each in prefixes]
            )
        way.special &= ~WAY_RESTRICTED
        if policy_is_restricted(&way.policy):
            way.special |= WAY_RESTRICTED
        return 0

    # --- what control decides about ---------------------------------------------------------------

    def set_punt(self, Account account not None, bint punted):
        """Hand up what an account sends, or no longer; see tables.pyi."""
        self._check(account)
        if punted:
            self.ways[account.index].special |= WAY_PUNTED
        else:
            self.ways[account.index].special &= ~WAY_PUNTED

    def set_punt_prefix(self, str prefix, bint punted):
        """Hand up what goes to a destination, or no longer; see tables.pyi."""
        if not is_valid_prefix(prefix) or prefix.count(".") >= PREFIX_SEGMENTS_MAX:
            raise UsageError(f"{prefix!r} is not a valid prefix, such as g.hub.bob")
        if punted:
            self._marked.set(prefix.encode(), 0)
        else:
            self._marked.remove(prefix.encode())
        self._marked_count = len(self._marked)

    def suspend(self, Account account not None, bint suspended):
        """Send an account nothing for a while, or again; see tables.pyi."""
        self._check(account)
        cdef LinkState* egress = self.ways[account.index].egress
        if suspended and account not in self._suspended:
            self._suspended[account] = None if egress == NULL else self._links[egress.index]
            self.ways[account.index].egress = NULL
            self.ways[account.index].special |= WAY_SUSPENDED
        elif not suspended and account in self._suspended:
            self.ways[account.index].special &= ~WAY_SUSPENDED
            self.set_egress(account, self._suspended.pop(account))

    def tally(self, Account account not None):
        """What an account was sent and what went wrong with it; see tables.pyi."""
        self._check(account)
        cdef Tally* tally = &self.tallies[account.index]
        return (
            self.ways[account.index].sent, tally.link_failures, tally.refused_balance,
            tally.timed_out,
        )

    cdef int _room_for_way(self, uint32_t index) except -1:
        cdef uint32_t capacity = max(self._way_capacity, <uint32_t>64)
        cdef void* grown
        while capacity <= index:
            capacity *= 2
        # Each block has a size of its own: one may grow before memory is exhausted.
        if capacity > self._tally_capacity:
            grown = pages_grow(
                self.tallies, self._tally_capacity * sizeof(Tally), capacity * sizeof(Tally)
            )
            if grown == NULL:
                raise MemoryError()
            self.tallies = <Tally*>grown
            self._tally_capacity = capacity
        if capacity > self._way_capacity:
            grown = pages_grow(
                self.ways, self._way_capacity * sizeof(Way), capacity * sizeof(Way)
            )
            if grown == NULL:
                raise MemoryError()
            self.ways = <Way*>grown
            self._way_capacity = capacity
        return 0

    # --- links ------------------------------------------------------------------------------------

    cdef Link _open(self, Account account, str kind, str name, bint local):
        cdef uint32_t index = len(self._links)
        cdef uint32_t capacity
        cdef void* grown
        cdef void* grown_indexes
        cdef Link link = Link.make(&self.batch, index, account, kind, name, local)
        if index == self._link_capacity:
            capacity = max(self._link_capacity * 2, <uint32_t>16)
            grown = realloc(self.link_states, capacity * sizeof(LinkState*))
            if grown == NULL:
                raise MemoryError()
            self.link_states = <LinkState**>grown
            grown_indexes = realloc(self.dirty_indexes, capacity * sizeof(uint32_t))
            if grown_indexes == NULL:
                raise MemoryError()
            self.dirty_indexes = <uint32_t*>grown_indexes
            grown_indexes = realloc(self.relay_indexes, capacity * sizeof(uint32_t))
            if grown_indexes == NULL:
                raise MemoryError()
            self.relay_indexes = <uint32_t*>grown_indexes
            self._link_capacity = capacity
        self.link_states[index] = &link.state
        self._links.append(link)
        return link

    def open_link(
        self, Account account not None, *, str kind="message", str name="", bint local=False,
        bint takes=True,
    ):
        """Open a channel of an account; see tables.pyi. Raises UsageError."""
        cdef Link egress
        self._check(account)
        link = self._open(account, kind, name or f"{account.name}/{kind}", local)
        egress = self._egress(account)
        if takes and (egress is None or egress.state.closed):
            self.set_egress(account, link)
        return link

    cdef Link _egress(self, Account account):
        cdef LinkState* egress = self.ways[account.index].egress
        if egress == NULL:
            return self._suspended.get(account)
        return self._links[egress.index]

    def set_egress(self, Account account not None, Link link):
        """Where Prepares for this account go; None = nowhere (link_down). Raises UsageError."""
        self._check(account)
        if link is not None and (link.account is not account or link._batch != &self.batch):
            raise UsageError(f"link {link.name} does not belong to account {account.name}")
        if account in self._suspended:
            self._suspended[account] = link
            return
        self.ways[account.index].egress = NULL if link is None else &link.state

    def accept(self, str codec="btp"):
        """A connection without an account as yet, for one socket. Raises UsageError for a codec
        that is unknown."""
        if codec == "batch":
            return BatchConnection()
        if codec != "btp":
            raise UsageError(f'codec must be "btp" or "batch", not {codec!r}')
        return BtpConnection()

    def turn_is_full(self):
        """Whether connections have brought all the Prepares that go into one batch."""
        return self.batch.turn_prepares >= TURN_SIZE_MAX

    def dirty_links(self):
        """Links with something to take since the last call."""
        cdef uint32_t i
        links = []
        for i in range(self.dirty_count):
            if i + AHEAD_DIRTY < self.dirty_count:
                prefetch(PyList_GET_ITEM(self._links, self.dirty_indexes[i + AHEAD_DIRTY]))
            self.link_states[self.dirty_indexes[i]].dirty = 0
            links.append(self._links[self.dirty_indexes[i]])
        self.dirty_count = 0
        return links

    def flush_links(self, failed):
        """See tables.pyi."""
        links_flush(self.dirty_links(), failed)

    # --- packets of all links at once -------------------------------------------------------------

    @cython.binding(False)
    def receive(self, packets):
        """Hand in `(link, request_id, packet)` triples; see tables.pyi. Raises UsageError."""
        cdef list triples = packets if type(packets) is list else list(packets)
        cdef size_t rows = self.batch.count, size = self.batch.packets.size
        cdef Py_ssize_t i
        cdef bint done = False
        try:
            for i in range(len(triples)):
                _prefetch_triples(triples, i)
                self._receive_one(triples[i])
            done = True
        finally:
            if not done:
                # A refused call has handed in nothing.
                self.batch.count, self.batch.packets.size = rows, size

    cdef int _receive_one(self, triple) except -1:
        cdef Link link
        cdef bytes packet
        cdef uint32_t request_id
        if type(triple) is not tuple or len(<tuple>triple) != 3:
            raise UsageError("packets are (link, request_id, packet) triples")
        link, request_id, packet = <tuple>triple
        if link is None or packet is None:
            raise TypeError("neither the link nor the packet may be None")
        if link.state.closed or link._batch != &self.batch:
            link._check_open()
            raise UsageError(f"link {link.name} belongs to another switch")
        if PyBytes_GET_SIZE(packet) > PACKET_SIZE_MAX:
            raise UsageError(f"a packet has at most {PACKET_SIZE_MAX} bytes")
        if batch_append(
            &self.batch, link.state.index, link.state.account, request_id,
            <const uint8_t*>PyBytes_AS_STRING(packet), <uint16_t>PyBytes_GET_SIZE(packet),
        ) == NULL:
            raise MemoryError()
        return 0

    def take(self):
        """`(link, request_id, packet)` of everything that waits on message links; see tables.pyi.
        """
        cdef uint32_t i, kept = 0
        cdef Link link
        triples = []
        for i in range(self.dirty_count):
            link = self._links[self.dirty_indexes[i]]
            if link.state.kind != LINK_MESSAGE:
                self.dirty_indexes[kept] = self.dirty_indexes[i]
                kept += 1
                continue
            link.state.dirty = 0
            link._take_into(triples, link)
        self.dirty_count = kept
        return triples

    # --- routes and rates -------------------------------------------------------------------------

    def set_route(self, str prefix, Account account not None, others=(), weights=()):
        """Send what matches `prefix` to an account; see tables.pyi. Raises UsageError."""
        self._check(account)
        cdef bytes octets = prefix.encode("ascii", "replace")
        cdef uint32_t before, target = account.index
        cdef int result
        if not address_prefix_valid(octets, len(octets)):
            raise UsageError(
                f"{prefix!r} is not a valid prefix of ILP addresses, such as g.hub.bob"
            )
        before = self._forwarding.exact(octets, len(octets))
        if others:
            target = self._choices.take(self._indexes_of(account, others), tuple(weights))
        result = self._forwarding.insert(octets, len(octets), target)
        self._choices.give_back(before if result == 0 else target)
        if result == -2:
            raise UsageError(f"a prefix may have at most {PREFIX_SEGMENTS_MAX} segments")
        if result < 0:
            raise MemoryError()

    cdef tuple _indexes_of(self, Account first, others):
        cdef Account account
        indexes = [first.index]
        for account in others:
            self._check(account)
            indexes.append(account.index)
        return tuple(indexes)

    def del_route(self, str prefix):
        """KeyError if there is no such route."""
        cdef bytes octets = prefix.encode()
        cdef uint32_t before = self._forwarding.exact(octets, len(octets))
        self._forwarding.remove(octets)
        self._choices.give_back(before)

    def routes(self):
        """Prefix -> account."""
        cdef uint32_t target
        found = {}
        for prefix, target in self._forwarding.items():
            if is_group(target):
                target = self._choices.groups[target & 0x7FFF_FFFF].accounts[0]
            found[prefix.decode()] = self._handle(target)
        return found

    def set_rate(self, str asset_code, rate):
        """Value of one standard unit. Raises UsageError."""
        self._rates.set_rate(asset_code, rate)

    def set_rates(self, rates):
        """Replace all rates at once. Raises UsageError, and then nothing has changed."""
        self._rates.set_rates(rates)

    def fitting_rates(self, rates):
        """What `set_rates` would take of them; see tables.pyi."""
        return self._rates.fitting(rates)

    def set_pair_spreads(self, spreads):
        """(code in, code out) -> spread; see tables.pyi. Raises UsageError."""
        self._rates.set_pair_spreads(spreads)

    def check_asset(self, str asset_code, int asset_scale, spread=None):
        """Whether an account could have it; see tables.pyi. Raises UsageError."""
        self._rates.add_asset(asset_code, asset_scale, spread)

    def assets(self):
        """(code, scale, spread of its accounts or None) of all accounts there were."""
        return self._rates.assets()

    def set_spread(self, spread):
        """Taken from every conversion between different asset codes. Raises UsageError."""
        self._rates.set_spread(spread)

    def rates(self):
        """Asset code -> Fraction."""
        return self._rates.rates()
