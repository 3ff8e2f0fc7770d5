"""The load generator's engine: senders and receivers in one loop of plain C (load_engine.h), run
without the GIL.

Imports nothing of ours. Sockets come connected and greeted; the engine owns them from then on. It
counts every Prepare once: sent = fulfilled + rejected + timed out + lost + in flight.
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport UINT32_MAX, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef extern from "load_histogram.h" nogil:
    enum:
        LOAD_HISTOGRAM_COUNTS
    ctypedef struct LoadHistogram:
        uint64_t total
        uint64_t sum
        uint64_t min
        uint64_t max
        uint64_t* counts
    void load_histogram_record(LoadHistogram* histogram, uint64_t value) noexcept
    void load_histogram_clear(LoadHistogram* histogram) noexcept
    uint64_t load_histogram_value(size_t index) noexcept
    uint64_t load_histogram_quantile(const LoadHistogram* histogram, double share) noexcept

cdef extern from "load_engine.h" nogil:
    enum:
        LOAD_PACKET_BYTES_MAX
        LOAD_REST_BYTES_MAX
    ctypedef enum LoadTransport:
        LOAD_BATCH
        LOAD_BTP
        LOAD_HTTP
    ctypedef enum LoadRole:
        LOAD_PEER
        LOAD_HTTP_CLIENT
        LOAD_HTTP_SERVER
        LOAD_HTTP_LISTENER
    ctypedef struct LoadCounts:
        uint64_t sent
        uint64_t fulfilled
        uint64_t rejected
        uint64_t timed_out
        uint64_t lost
        uint64_t wrong
    ctypedef struct LoadReceived:
        uint64_t prepares
        uint64_t fulfilled
        uint64_t rejected
        uint64_t amount
        uint64_t accepted
        uint64_t closed
        uint64_t malformed
        uint64_t unmatched
    ctypedef struct LoadTemplate:
        uint8_t* packet
        uint32_t packet_size
        uint32_t expiry_offset
        uint32_t number_offset
        uint32_t number_digits
        uint32_t number_count
        uint32_t counter_offset
    ctypedef struct LoadHead:
        uint8_t* bytes
        uint32_t size
    ctypedef struct LoadFlow:
        uint32_t index
        uint32_t window
        double interval_ns
        uint32_t in_flight
        LoadTemplate template
        LoadHead* heads
        uint32_t head_count
        uint32_t* connections
        uint32_t connection_count
        LoadCounts counts
        LoadHistogram histogram
    ctypedef struct LoadConnection:
        uint32_t index
        uint32_t flow
        bint masks
        bint closed
        LoadRole role
        uint32_t* waiting
        uint32_t depth
    ctypedef struct LoadRejectCode:
        uint8_t* code
        uint64_t count
    ctypedef struct LoadEngine:
        LoadConnection** connections
        uint32_t connection_count
        LoadFlow** flows
        uint32_t flow_count
        bint sends
        uint32_t expires_in_ms
        uint64_t timeout_ns
        uint8_t* fulfill
        uint32_t fulfill_size
        uint8_t* reject
        uint32_t reject_size
        uint64_t reject_share
        uint8_t* fulfillment
        uint64_t stall_ns
        uint64_t stall_period_ns
        LoadReceived received
        LoadRejectCode* codes
        uint32_t code_count
    LoadEngine* load_engine_new(uint32_t slot_bits, uint64_t seed) noexcept
    void load_engine_free(LoadEngine* engine) noexcept
    void load_engine_run(LoadEngine* engine, double seconds) noexcept
    void load_engine_clear(LoadEngine* engine) noexcept
    LoadFlow* load_flow_new(LoadEngine* engine) noexcept
    int load_flow_start(LoadEngine* engine, LoadFlow* flow) noexcept
    LoadConnection* load_connection_new(
        LoadEngine* engine, int fd, LoadTransport transport, LoadRole role
    ) noexcept

_TRANSPORTS = {"batch": LOAD_BATCH, "btp": LOAD_BTP, "http": LOAD_HTTP}
_ROLES = {"peer": LOAD_PEER, "client": LOAD_HTTP_CLIENT, "listener": LOAD_HTTP_LISTENER}


cdef uint8_t* _copy(bytes source) except NULL:
    cdef uint8_t* copy = <uint8_t*>malloc(len(source) or 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const uint8_t*>source, len(source))
    return copy


cdef list _filled(const LoadHistogram* histogram):
    cdef int index
    return [
        (load_histogram_value(<size_t>index), histogram.counts[index])
        for index in range(LOAD_HISTOGRAM_COUNTS)
        if histogram.counts[index]
    ]


cdef dict _summary(const LoadHistogram* histogram, shares):
    found = {
        "count": histogram.total,
        "mean": <double>histogram.sum / <double>histogram.total if histogram.total else 0.0,
        "min": histogram.min if histogram.total else 0,
        "max": histogram.max,
    }
    found["quantiles"] = [(share, load_histogram_quantile(histogram, share)) for share in shares]
    return found


@cython.final
cdef class Histogram:
    """The engine's histogram by itself, for tests and for merging results."""
    cdef LoadHistogram* _histogram

    def __cinit__(self):
        self._histogram = <LoadHistogram*>calloc(1, sizeof(LoadHistogram))
        if self._histogram == NULL:
            raise MemoryError
        load_histogram_clear(self._histogram)

    def __dealloc__(self):
        free(self._histogram)

    def record(self, uint64_t value):
        load_histogram_record(self._histogram, value)

    def summary(self, shares):
        return _summary(self._histogram, shares)

    def filled(self):
        return _filled(self._histogram)


@cython.final
cdef class Engine:
    cdef LoadEngine* _engine

    def __cinit__(self, *, int slot_bits=17, uint64_t seed=1):
        if not 1 <= slot_bits <= 24:
            raise ValueError("slot_bits must be from 1 to 24")
        self._engine = load_engine_new(slot_bits, seed)
        if self._engine == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self._engine != NULL:
            load_engine_free(self._engine)

    def set_answers(self, bytes fulfill, bytes reject, double reject_share, bytes fulfillment):
        if len(fulfillment) != 32 or not 0 <= reject_share <= 1:
            raise ValueError("a fulfillment has 32 bytes, a share is from 0 to 1")
        if max(len(fulfill), len(reject)) > LOAD_PACKET_BYTES_MAX:
            raise ValueError(f"a packet has at most {LOAD_PACKET_BYTES_MAX} bytes")
        free(self._engine.fulfill)
        free(self._engine.reject)
        self._engine.fulfill = self._engine.reject = NULL
        self._engine.fulfill = _copy(fulfill)
        self._engine.fulfill_size = len(fulfill)
        self._engine.reject = _copy(reject)
        self._engine.reject_size = len(reject)
        self._engine.reject_share = <uint64_t>(reject_share * 4294967296.0)
        memcpy(self._engine.fulfillment, <const uint8_t*>fulfillment, 32)

    def set_times(self, uint32_t expires_in_ms, uint32_t timeout_ms):
        self._engine.expires_in_ms = expires_in_ms
        self._engine.timeout_ns = <uint64_t>timeout_ms * 1000000

    def set_stall(self, uint32_t stall_ms, uint32_t period_ms):
        if stall_ms and stall_ms >= period_ms:
            raise ValueError("receivers must be awake for a part of each period")
        self._engine.stall_ns = <uint64_t>stall_ms * 1000000
        self._engine.stall_period_ns = <uint64_t>period_ms * 1000000

    def add_connection(self, int fd, str transport, str role, *, bint masks=False, int depth=0):
        cdef LoadConnection* connection
        if (role == "client") != (depth > 0):
            raise ValueError("an HTTP client has a depth, nothing else has")
        connection = load_connection_new(
            self._engine, fd, _TRANSPORTS[transport], _ROLES[role]
        )
        if connection == NULL:
            raise MemoryError
        connection.masks = masks
        if depth:
            connection.waiting = <uint32_t*>calloc(depth, sizeof(uint32_t))
            if connection.waiting == NULL:
                raise MemoryError
            connection.depth = depth
        return connection.index

    def add_flow(
        self, connections, *, uint32_t window, double rate, bytes packet, uint32_t expiry_offset,
        uint32_t number_offset=0, uint32_t number_digits=0, uint32_t number_count=1,
        uint32_t counter_offset=0, heads=(),
    ):
        cdef LoadFlow* flow
        cdef uint32_t size = len(packet)
        if (window == 0) == (rate <= 0):
            raise ValueError("a flow has a window or a rate")
        if expiry_offset + 17 > size or number_offset + number_digits > size or number_count == 0:
            raise ValueError("what is patched must lie in the packet")
        if counter_offset and counter_offset + 8 > size or size > LOAD_PACKET_BYTES_MAX:
            raise ValueError("what is patched must lie in the packet")
        self._check_connections(connections, bool(heads))
        flow = load_flow_new(self._engine)
        if flow == NULL:
            raise MemoryError
        flow.window = window
        flow.interval_ns = 1e9 / rate if rate > 0 else 0.0
        flow.template.packet = _copy(packet)
        flow.template.packet_size = size
        flow.template.expiry_offset = expiry_offset
        flow.template.number_offset = number_offset
        flow.template.number_digits = number_digits
        flow.template.number_count = number_count
        flow.template.counter_offset = counter_offset
        self._set_heads(flow, heads)
        self._set_connections(flow, connections)
        return flow.index

    cdef object _check_connections(self, connections, bint over_http):
        """Before there is a flow that could be run without them."""
        cdef LoadConnection* connection
        if not connections or not 0 <= min(connections) <= max(connections) < (
            self._engine.connection_count
        ):
            raise ValueError("a flow has connections")
        for index in connections:
            connection = self._engine.connections[<uint32_t>index]
            if connection.flow != UINT32_MAX or (connection.depth != 0) != over_http:
                raise ValueError("a connection sends for one flow, and HTTP needs heads")

    cdef object _set_heads(self, LoadFlow* flow, heads):
        flow.heads = <LoadHead*>calloc(len(heads) or 1, sizeof(LoadHead))
        if flow.heads == NULL:
            raise MemoryError
        for head in heads:
            flow.heads[flow.head_count].bytes = _copy(head)
            flow.heads[flow.head_count].size = len(head)
            flow.head_count += 1

    cdef object _set_connections(self, LoadFlow* flow, connections):
        cdef LoadConnection* connection
        flow.connections = <uint32_t*>calloc(len(connections), sizeof(uint32_t))
        if flow.connections == NULL:
            raise MemoryError
        for index in connections:
            connection = self._engine.connections[<uint32_t>index]
            connection.flow = flow.index
            flow.connections[flow.connection_count] = index
            flow.connection_count += 1
        if load_flow_start(self._engine, flow) != 0:
            raise MemoryError

    def run(self, double seconds):
        with nogil:
            load_engine_run(self._engine, seconds)

    def clear(self):
        load_engine_clear(self._engine)

    def set_sending(self, bint sends):
        self._engine.sends = sends

    cdef LoadFlow* _flow(self, uint32_t index) except NULL:
        if index >= self._engine.flow_count:
            raise IndexError(index)
        return self._engine.flows[index]

    def counts(self, uint32_t flow):
        counts = self._flow(flow).counts
        return {**counts, "in_flight": self._flow(flow).in_flight}

    def latency(self, uint32_t flow, shares):
        return _summary(&self._flow(flow).histogram, shares)

    def latencies(self, uint32_t flow):
        return _filled(&self._flow(flow).histogram)

    def received(self):
        return self._engine.received

    def codes(self):
        cdef uint32_t index
        return {
            self._engine.codes[index].code[:3].decode("latin-1"): self._engine.codes[index].count
            for index in range(self._engine.code_count)
        }

    def open_connections(self, uint32_t flow):
        cdef LoadFlow* wanted = self._flow(flow)
        cdef uint32_t index, count = 0
        for index in range(wanted.connection_count):
            count += not self._engine.connections[wanted.connections[index]].closed
        return count
