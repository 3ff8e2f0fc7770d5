"""ILPv4 packets (RFC 27): fields in place, canonical writing, and the Python wrappers.

Imports oer, timestamp, address, limits and fastilp.errors. The C functions neither allocate nor
raise, and never read beyond the size that they are given; the Python classes raise DecodeError for
bytes that are no packet and UsageError for values that fit in none.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastilp._core.address cimport address_read_valid
from fastilp._core.limits cimport (
    ADDRESS_SIZE_MAX, DATA_SIZE_EMIT_MAX, DATA_SIZE_MAX, MESSAGE_SIZE_MAX, PACKET_SIZE_MAX,
)
from fastilp._core.oer cimport (
    OER_OK, OER_TRUNCATED, OerCursor, oer_init, oer_load_u64, oer_read_string, oer_skip,
    oer_store_u64, oer_string_size, oer_write_length,
)
from fastilp._core.timestamp cimport (
    TIMESTAMP_MS_MAX, TIMESTAMP_MS_MIN, TIMESTAMP_SIZE, TimestampDay, timestamp_read,
    timestamp_write,
)

from datetime import datetime, timedelta, timezone

from fastilp.errors import DecodeError, UsageError

cdef enum:
    FAULT_TRUNCATED = 1
    FAULT_LENGTH = 2
    FAULT_TYPE = 3
    FAULT_PACKET_SIZE = 4
    FAULT_EXPIRES_AT = 5
    FAULT_DESTINATION = 6
    FAULT_DATA = 7
    FAULT_CODE = 8
    FAULT_TRIGGERED_BY = 9
    FAULT_MESSAGE = 10

    CONDITION_SIZE = 32
    CODE_SIZE = 3
    # Inside the content of a Prepare: what comes before the destination has a fixed width.
    PREPARE_EXPIRES_AT = 8
    PREPARE_CONDITION = PREPARE_EXPIRES_AT + TIMESTAMP_SIZE
    PREPARE_DESTINATION = PREPARE_CONDITION + CONDITION_SIZE


# --- Reading ------------------------------------------------------------------------------------

cdef inline int fault_of(int oer_result) noexcept nogil:
    return FAULT_TRUNCATED if oer_result == OER_TRUNCATED else FAULT_LENGTH


# The envelope: `content` becomes a cursor over what is inside, and offsets count from `packet`.
cdef inline int envelope_read(
    const uint8_t* packet, size_t size, uint8_t packet_type, OerCursor* content,
    uint32_t* packet_size,
) noexcept nogil:
    cdef OerCursor envelope
    cdef const uint8_t* at = NULL
    cdef size_t content_size = 0
    cdef int result
    if size < 1:
        return FAULT_TRUNCATED
    if packet[0] != packet_type:
        return FAULT_TYPE
    oer_init(&envelope, packet + 1, size - 1)
    result = oer_read_string(&envelope, &at, &content_size)
    if result != OER_OK:
        return fault_of(result)
    # Checked here once, so that offsets fit 32 bits below.
    if <size_t>(envelope.at - packet) > PACKET_SIZE_MAX:
        return FAULT_PACKET_SIZE
    oer_init(content, at, content_size)
    content.canonical = envelope.canonical
    packet_size[0] = <uint32_t>(envelope.at - packet)
    return 0


# A string of the content, as an offset.
cdef inline int field_read(
    OerCursor* content, const uint8_t* packet, uint32_t* offset, uint32_t* field_size
) noexcept nogil:
    cdef const uint8_t* at = NULL
    cdef size_t size = 0
    cdef int result = oer_read_string(content, &at, &size)
    if result != OER_OK:
        return fault_of(result)
    offset[0] = <uint32_t>(at - packet)
    field_size[0] = <uint32_t>size
    return 0


# Every packet ends with its data. Bytes behind it in the envelope are ignored (RFC 30,
# extensibility), but they are not ours to emit.
cdef inline int data_read(
    OerCursor* content, const uint8_t* packet, uint32_t* offset, uint32_t* data_size,
    uint32_t* canonical,
) noexcept nogil:
    cdef int fault = field_read(content, packet, offset, data_size)
    if fault != 0:
        return fault
    if data_size[0] > DATA_SIZE_MAX:
        return FAULT_DATA
    canonical[0] = content.canonical and content.left == 0
    return 0


cdef int prepare_parse(const uint8_t* packet, size_t size, PrepareFields* fields) noexcept nogil:
    cdef TimestampDay day
    day.digits = 0
    return prepare_parse_next(packet, size, fields, &day)


cdef int prepare_parse_next(
    const uint8_t* packet, size_t size, PrepareFields* fields, TimestampDay* day
) noexcept nogil:
    cdef OerCursor content
    cdef const uint8_t* start
    cdef int fault = envelope_read(packet, size, PACKET_PREPARE, &content, &fields.packet_size)
    if fault != 0:
        return fault
    start = content.at
    if oer_skip(&content, PREPARE_DESTINATION) != OER_OK:
        return FAULT_TRUNCATED
    fields.content = <uint32_t>(start - packet)
    fields.amount = oer_load_u64(start)
    if not timestamp_read(start + PREPARE_EXPIRES_AT, &fields.expires_at_ms, day):
        return FAULT_EXPIRES_AT
    fault = field_read(&content, packet, &fields.destination, &fields.destination_size)
    if fault != 0:
        return fault
    if not address_read_valid(packet + fields.destination, fields.destination_size):
        return FAULT_DESTINATION
    return data_read(&content, packet, &fields.data, &fields.data_size, &fields.canonical)


cdef int fulfill_parse(const uint8_t* packet, size_t size, FulfillFields* fields) noexcept nogil:
    cdef OerCursor content
    cdef int fault = envelope_read(packet, size, PACKET_FULFILL, &content, &fields.packet_size)
    if fault != 0:
        return fault
    fields.fulfillment = <uint32_t>(content.at - packet)
    if oer_skip(&content, CONDITION_SIZE) != OER_OK:
        return FAULT_TRUNCATED
    return data_read(&content, packet, &fields.data, &fields.data_size, &fields.canonical)


# IA5: seven bits a byte.
cdef inline bint ia5_valid(const uint8_t* at, size_t size) noexcept nogil:
    cdef uint8_t seen = 0
    cdef size_t i
    for i in range(size):
        seen |= at[i]
    return seen < 0x80


# Lenient, because a Reject says that money comes back: unknown codes, an empty or odd triggeredBy
# and a message that is no UTF-8 are the next hop's business.
cdef int reject_parse(const uint8_t* packet, size_t size, RejectFields* fields) noexcept nogil:
    cdef OerCursor content
    cdef int fault = envelope_read(packet, size, PACKET_REJECT, &content, &fields.packet_size)
    if fault != 0:
        return fault
    fields.code = <uint32_t>(content.at - packet)
    if oer_skip(&content, CODE_SIZE) != OER_OK:
        return FAULT_TRUNCATED
    if not ia5_valid(packet + fields.code, CODE_SIZE):
        return FAULT_CODE
    fault = field_read(&content, packet, &fields.triggered_by, &fields.triggered_by_size)
    if fault != 0:
        return fault
    if fields.triggered_by_size > ADDRESS_SIZE_MAX:
        return FAULT_TRIGGERED_BY
    if not ia5_valid(packet + fields.triggered_by, fields.triggered_by_size):
        return FAULT_TRIGGERED_BY
    fault = field_read(&content, packet, &fields.message, &fields.message_size)
    if fault != 0:
        return fault
    if fields.message_size > MESSAGE_SIZE_MAX:
        return FAULT_MESSAGE
    return data_read(&content, packet, &fields.data, &fields.data_size, &fields.canonical)


cdef const char* packet_fault_text(int fault) noexcept nogil:
    if fault == FAULT_TRUNCATED:
        return b"the packet ends before its fields do"
    if fault == FAULT_LENGTH:
        return b"a length prefix is not OER"
    if fault == FAULT_TYPE:
        return b"the type byte is not 12 (Prepare), 13 (Fulfill) or 14 (Reject) as expected"
    if fault == FAULT_PACKET_SIZE:
        return b"the packet has more than 65535 bytes"
    if fault == FAULT_EXPIRES_AT:
        return b"expiresAt is not YYYYMMDDHHmmSSfff of an existing UTC time"
    if fault == FAULT_DESTINATION:
        return b"destination is not a valid ILP address"
    if fault == FAULT_DATA:
        return b"data has more than 32768 bytes"
    if fault == FAULT_CODE:
        return b"the error code is not three ASCII characters"
    if fault == FAULT_TRIGGERED_BY:
        return b"triggeredBy is not ASCII of at most 1023 characters"
    if fault == FAULT_MESSAGE:
        return b"message has more than 8192 bytes"
    return b"no fault"


# --- Writing ------------------------------------------------------------------------------------

cdef void prepare_patch(
    uint8_t* packet, uint32_t content, uint64_t amount, int64_t expires_at_ms, ExpiryMemo* memo
) noexcept nogil:
    cdef uint8_t* expires_at = packet + content + PREPARE_EXPIRES_AT
    cdef int64_t second = expires_at_ms // 1_000
    cdef uint32_t ms = <uint32_t>(expires_at_ms - second * 1_000)
    oer_store_u64(packet + content, amount)
    if second != memo.second or second <= 0 or expires_at_ms > TIMESTAMP_MS_MAX:
        timestamp_write(expires_at, expires_at_ms)
        memo.second = second
        memcpy(memo.digits, expires_at, 14)
        return
    memcpy(expires_at, memo.digits, 14)
    expires_at[14] = <uint8_t>(c"0" + ms // 100)
    expires_at[15] = <uint8_t>(c"0" + ms // 10 % 10)
    expires_at[16] = <uint8_t>(c"0" + ms % 10)


cdef inline size_t prepare_content_size(size_t destination_size, size_t data_size) noexcept nogil:
    return PREPARE_DESTINATION + oer_string_size(destination_size) + oer_string_size(data_size)


cdef inline size_t fulfill_content_size(size_t data_size) noexcept nogil:
    return CONDITION_SIZE + oer_string_size(data_size)


cdef inline size_t reject_content_size(
    size_t triggered_by_size, size_t message_size, size_t data_size
) noexcept nogil:
    return (
        CODE_SIZE + oer_string_size(triggered_by_size) + oer_string_size(message_size)
        + oer_string_size(data_size)
    )


cdef size_t prepare_size(size_t destination_size, size_t data_size) noexcept nogil:
    return 1 + oer_string_size(prepare_content_size(destination_size, data_size))


cdef size_t fulfill_size(size_t data_size) noexcept nogil:
    return 1 + oer_string_size(fulfill_content_size(data_size))


cdef size_t reject_size(
    size_t triggered_by_size, size_t message_size, size_t data_size
) noexcept nogil:
    return 1 + oer_string_size(reject_content_size(triggered_by_size, message_size, data_size))


cdef inline uint8_t* envelope_write(uint8_t* out, uint8_t packet_type, size_t size) noexcept nogil:
    out[0] = packet_type
    return out + 1 + oer_write_length(out + 1, size)


cdef inline uint8_t* bytes_write(uint8_t* out, const uint8_t* at, size_t size) noexcept nogil:
    # An empty field may come with no pointer, which memcpy must not see.
    if size != 0:
        memcpy(out, at, size)
    return out + size


cdef inline uint8_t* field_write(uint8_t* out, const uint8_t* at, size_t size) noexcept nogil:
    return bytes_write(out + oer_write_length(out, size), at, size)


cdef size_t prepare_write(
    uint8_t* out, uint64_t amount, int64_t expires_at_ms, const uint8_t* condition,
    const uint8_t* destination, size_t destination_size, const uint8_t* data, size_t data_size,
) noexcept nogil:
    cdef uint8_t* end = envelope_write(
        out, PACKET_PREPARE, prepare_content_size(destination_size, data_size)
    )
    oer_store_u64(end, amount)
    timestamp_write(end + PREPARE_EXPIRES_AT, expires_at_ms)
    end = bytes_write(end + PREPARE_CONDITION, condition, CONDITION_SIZE)
    end = field_write(end, destination, destination_size)
    end = field_write(end, data, data_size)
    return end - out


cdef size_t fulfill_write(
    uint8_t* out, const uint8_t* fulfillment, const uint8_t* data, size_t data_size
) noexcept nogil:
    cdef uint8_t* end = envelope_write(out, PACKET_FULFILL, fulfill_content_size(data_size))
    end = bytes_write(end, fulfillment, CONDITION_SIZE)
    end = field_write(end, data, data_size)
    return end - out


cdef size_t reject_write(
    uint8_t* out, const uint8_t* code, const uint8_t* triggered_by, size_t triggered_by_size,
    const uint8_t* message, size_t message_size, const uint8_t* data, size_t data_size,
) noexcept nogil:
    cdef uint8_t* end = envelope_write(
        out, PACKET_REJECT, reject_content_size(triggered_by_size, message_size, data_size)
    )
    end = bytes_write(end, code, CODE_SIZE)
    end = field_write(end, triggered_by, triggered_by_size)
    end = field_write(end, message, message_size)
    end = field_write(end, data, data_size)
    return end - out


# --- Python -------------------------------------------------------------------------------------

cdef object EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
cdef object MILLISECOND = timedelta(milliseconds=1)


cdef inline const uint8_t* bytes_at(bytes value) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(value)


cdef inline bytes bytes_from(const uint8_t* at, size_t size):
    return PyBytes_FromStringAndSize(<const char*>at, <Py_ssize_t>size)


# Uninitialised; nobody has seen the object yet, so writing into it is allowed.
cdef inline bytes bytes_new(size_t size):
    return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)


# Through a memoryview, because bytes(5) would be five zeros.
cdef inline bytes buffer_bytes(object buffer):
    return buffer if type(buffer) is bytes else bytes(memoryview(buffer))


cdef object decode_error(int fault):
    return DecodeError(packet_fault_text(fault).decode("ascii"))


cdef bytes checked_bytes(object value, str name, size_t size_min, size_t size_max):
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise UsageError(f"{name} must be bytes, not {type(value).__name__}")
    cdef bytes octets = bytes(value)
    if not size_min <= <size_t>len(octets) <= size_max:
        wanted = f"{size_max}" if size_min == size_max else f"at most {size_max}"
        raise UsageError(f"{name} has {len(octets)} bytes, must have {wanted}")
    return octets


cdef bytes checked_ascii(object value, str name, size_t size_min, size_t size_max):
    if not isinstance(value, str):
        raise UsageError(f"{name} must be str, not {type(value).__name__}")
    if not value.isascii():
        raise UsageError(f"{name} must be ASCII: {value!r}")
    return checked_bytes(value.encode("ascii"), name, size_min, size_max)


cdef int64_t checked_expires_at(object value) except? -1:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UsageError("expires_at has no time zone, give an aware datetime")
        # RFC 30: what is smaller than a millisecond is cut off.
        value = (value - EPOCH) // MILLISECOND
    elif not isinstance(value, int):
        raise UsageError(f"expires_at must be datetime or int, not {type(value).__name__}")
    if not TIMESTAMP_MS_MIN <= value <= TIMESTAMP_MS_MAX:
        raise UsageError(f"expires_at is not between the years 1 and 9999: {value} ms")
    return value


cdef uint64_t checked_amount(object value) except? 0xFFFFFFFFFFFFFFFF:
    if not isinstance(value, int):
        raise UsageError(f"amount must be int, not {type(value).__name__}")
    if not 0 <= value < 1 << 64:
        raise UsageError(f"amount must be between 0 and 2**64 - 1: {value}")
    return value


@cython.final
cdef class Prepare:
    cdef readonly uint64_t amount
    cdef readonly int64_t expires_at_ms
    cdef readonly bytes execution_condition
    cdef readonly str destination
    cdef readonly bytes data

    def __init__(self, *, amount, expires_at, execution_condition, destination, data=b""):
        self.amount = checked_amount(amount)
        self.expires_at_ms = checked_expires_at(expires_at)
        self.execution_condition = checked_bytes(
            execution_condition, "execution_condition", CONDITION_SIZE, CONDITION_SIZE
        )
        if not is_valid_address(destination):
            raise UsageError(f"destination is not a valid ILP address: {destination!r}")
        self.destination = destination
        self.data = checked_bytes(data, "data", 0, DATA_SIZE_EMIT_MAX)

    @property
    def expires_at(self):
        return EPOCH + self.expires_at_ms * MILLISECOND

    def __bytes__(self):
        cdef bytes destination = self.destination.encode("ascii")
        cdef size_t destination_size = len(destination), data_size = len(self.data)
        cdef bytes packet = bytes_new(prepare_size(destination_size, data_size))
        prepare_write(
            <uint8_t*>bytes_at(packet), self.amount, self.expires_at_ms,
            bytes_at(self.execution_condition), bytes_at(destination), destination_size,
            bytes_at(self.data), data_size,
        )
        return packet

    @staticmethod
    def decode(buffer):
        cdef bytes packet = buffer_bytes(buffer)
        cdef const uint8_t* at = bytes_at(packet)
        cdef PrepareFields fields
        cdef Prepare prepare
        cdef int fault = prepare_parse(at, len(packet), &fields)
        if fault != 0:
            raise decode_error(fault)
        prepare = Prepare.__new__(Prepare)
        prepare.amount = fields.amount
        prepare.expires_at_ms = fields.expires_at_ms
        prepare.execution_condition = bytes_from(
            at + fields.content + PREPARE_CONDITION, CONDITION_SIZE
        )
        prepare.destination = bytes_from(
            at + fields.destination, fields.destination_size
        ).decode("ascii")
        prepare.data = bytes_from(at + fields.data, fields.data_size)
        return prepare

    def __eq__(self, other):
        return bytes(self) == bytes(other) if isinstance(other, Prepare) else NotImplemented

    def __hash__(self):
        return hash(bytes(self))

    def __repr__(self):
        return (
            f"Prepare(amount={self.amount}, expires_at={self.expires_at.isoformat()!r}, "
            f"execution_condition={self.execution_condition.hex()!r}, "
            f"destination={self.destination!r}, data={self.data!r})"
        )


@cython.final
cdef class Fulfill:
    cdef readonly bytes fulfillment
    cdef readonly bytes data

    def __init__(self, *, fulfillment, data=b""):
        self.fulfillment = checked_bytes(fulfillment, "fulfillment", CONDITION_SIZE, CONDITION_SIZE)
        self.data = checked_bytes(data, "data", 0, DATA_SIZE_EMIT_MAX)

    def __bytes__(self):
        cdef size_t data_size = len(self.data)
        cdef bytes packet = bytes_new(fulfill_size(data_size))
        fulfill_write(
            <uint8_t*>bytes_at(packet), bytes_at(self.fulfillment), bytes_at(self.data), data_size
        )
        return packet

    @staticmethod
    def decode(buffer):
        cdef bytes packet = buffer_bytes(buffer)
        cdef const uint8_t* at = bytes_at(packet)
        cdef FulfillFields fields
        cdef Fulfill fulfill
        cdef int fault = fulfill_parse(at, len(packet), &fields)
        if fault != 0:
            raise decode_error(fault)
        fulfill = Fulfill.__new__(Fulfill)
        fulfill.fulfillment = bytes_from(at + fields.fulfillment, CONDITION_SIZE)
        fulfill.data = bytes_from(at + fields.data, fields.data_size)
        return fulfill

    def __eq__(self, other):
        return bytes(self) == bytes(other) if isinstance(other, Fulfill) else NotImplemented

    def __hash__(self):
        return hash(bytes(self))

    def __repr__(self):
        return f"Fulfill(fulfillment={self.fulfillment.hex()!r}, data={self.data!r})"


@cython.final
cdef class Reject:
    # `message` is bytes on the wire and need not be UTF-8 (RFC 27 says it is, peers do not check).
    cdef bytes message_octets
    cdef readonly str code
    cdef readonly str triggered_by
    cdef readonly bytes data

    def __init__(self, *, code, triggered_by="", message="", data=b""):
        self.code = checked_ascii(code, "code", CODE_SIZE, CODE_SIZE).decode("ascii")
        self.triggered_by = checked_ascii(
            triggered_by, "triggered_by", 0, ADDRESS_SIZE_MAX
        ).decode("ascii")
        if not isinstance(message, str):
            raise UsageError(f"message must be str, not {type(message).__name__}")
        self.message_octets = checked_bytes(
            message.encode("utf-8", "replace"), "message", 0, MESSAGE_SIZE_MAX
        )
        self.data = checked_bytes(data, "data", 0, DATA_SIZE_EMIT_MAX)

    @property
    def message(self):
        return self.message_octets.decode("utf-8", "replace")

    def __bytes__(self):
        # Interledger.rs takes a Reject without triggeredBy for garbage, so none leaves here.
        if not self.triggered_by:
            raise UsageError("triggered_by is empty, must be the address of the node that rejects")
        cdef bytes code = self.code.encode("ascii")
        cdef bytes triggered_by = self.triggered_by.encode("ascii")
        cdef size_t triggered_by_size = len(triggered_by)
        cdef size_t message_size = len(self.message_octets), data_size = len(self.data)
        cdef bytes packet = bytes_new(reject_size(triggered_by_size, message_size, data_size))
        reject_write(
            <uint8_t*>bytes_at(packet), bytes_at(code), bytes_at(triggered_by), triggered_by_size,
            bytes_at(self.message_octets), message_size, bytes_at(self.data), data_size,
        )
        return packet

    @staticmethod
    def decode(buffer):
        cdef bytes packet = buffer_bytes(buffer)
        cdef const uint8_t* at = bytes_at(packet)
        cdef RejectFields fields
        cdef Reject reject
        cdef int fault = reject_parse(at, len(packet), &fields)
        if fault != 0:
            raise decode_error(fault)
        reject = Reject.__new__(Reject)
        reject.code = bytes_from(at + fields.code, CODE_SIZE).decode("ascii")
        reject.triggered_by = bytes_from(
            at + fields.triggered_by, fields.triggered_by_size
        ).decode("ascii")
        reject.message_octets = bytes_from(at + fields.message, fields.message_size)
        reject.data = bytes_from(at + fields.data, fields.data_size)
        return reject

    cdef tuple key(self):
        return self.code, self.triggered_by, self.message_octets, self.data

    def __eq__(self, other):
        if not isinstance(other, Reject):
            return NotImplemented
        return self.key() == (<Reject>other).key()

    def __hash__(self):
        return hash(self.key())

    def __repr__(self):
        return (
            f"Reject(code={self.code!r}, triggered_by={self.triggered_by!r}, "
            f"message={self.message!r}, data={self.data!r})"
        )


def decode(buffer):
    """Any of the three by its type byte. Raises fastilp.DecodeError."""
    cdef bytes packet = buffer_bytes(buffer)
    if len(packet) == 0:
        raise decode_error(FAULT_TRUNCATED)
    packet_type = packet[0]
    if packet_type == PACKET_PREPARE:
        return Prepare.decode(packet)
    if packet_type == PACKET_FULFILL:
        return Fulfill.decode(packet)
    if packet_type == PACKET_REJECT:
        return Reject.decode(packet)
    raise decode_error(FAULT_TYPE)


def is_valid_address(address):
    if not isinstance(address, str) or not address.isascii():
        return False
    cdef bytes octets = address.encode("ascii")
    return bool(address_valid(bytes_at(octets), len(octets)))


def is_valid_prefix(prefix):
    if not isinstance(prefix, str) or not prefix.isascii():
        return False
    cdef bytes octets = prefix.encode("ascii")
    return bool(address_prefix_valid(bytes_at(octets), len(octets)))
