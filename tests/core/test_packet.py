"""Packets: vectors of other implementations, round trips, and every way in which bytes are none."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core import packet
from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp.errors import DecodeError, UsageError
from tests.vectors import load

VECTORS = [*load("packets"), *load("ildcp"), *load("ccp")]
ADDRESSES = load("addresses")
CLASSES = {"prepare": Prepare, "fulfill": Fulfill, "reject": Reject}
TYPES = {Prepare: 12, Fulfill: 13, Reject: 14}
CONDITION = bytes(range(32))

segments = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~-", min_size=1, max_size=30
)
schemes = st.sampled_from(
    ["g", "private", "example", "peer", "self", "test", "test1", "test2", "test3", "local"]
)
addresses = st.builds(
    lambda scheme, rest: ".".join([scheme, *rest]),
    schemes,
    st.lists(segments, min_size=1, max_size=12),
)
octets = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 32_767).map(lambda size: random.Random(size).randbytes(size)),
)
prepares = st.builds(
    Prepare,
    amount=st.integers(0, 2**64 - 1),
    expires_at=st.integers(-62_135_596_800_000, 253_402_300_799_999),
    execution_condition=st.binary(min_size=32, max_size=32),
    destination=addresses,
    data=octets,
)
fulfills = st.builds(Fulfill, fulfillment=st.binary(min_size=32, max_size=32), data=octets)
rejects = st.builds(
    Reject,
    code=st.text(st.characters(max_codepoint=127), min_size=3, max_size=3),
    triggered_by=addresses,
    message=st.text(max_size=200),
    data=octets,
)
packets = st.one_of(prepares, fulfills, rejects)


def named(vectors):
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def length(size: int) -> bytes:
    """The canonical length determinant (RFC 30)."""
    if size < 128:
        return bytes([size])
    encoded = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(encoded)]) + encoded


def string(value: bytes) -> bytes:
    return length(len(value)) + value


def prepare_bytes(destination=b"g.a", data=b"", amount=1, digits=b"20200101000000000"):
    content = amount.to_bytes(8, "big") + digits + CONDITION + string(destination) + string(data)
    return b"\x0c" + string(content)


def reject_bytes(code=b"F00", triggered_by=b"g.a", message=b"", data=b""):
    return b"\x0e" + string(code + string(triggered_by) + string(message) + string(data))


# --- Vectors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", named([one for one in VECTORS if one["valid"]]))
def test_valid_vectors(vector):
    wire = bytes.fromhex(vector["hex"])
    decoded = decode(wire)
    assert type(decoded) is CLASSES[vector["type"]]
    for field in ("execution_condition", "fulfillment", "data"):
        if field in vector:
            assert getattr(decoded, field).hex() == vector[field]
    for field in ("expires_at_ms", "destination", "code", "triggered_by", "message"):
        if field in vector:
            assert getattr(decoded, field) == vector[field]
    if "amount" in vector:
        assert decoded.amount == int(vector["amount"])
    if vector.get("triggered_by") != "":
        assert (bytes(decoded) == wire) is vector["canonical"]


@pytest.mark.parametrize("vector", named([one for one in VECTORS if not one["valid"]]))
def test_invalid_vectors(vector):
    wire = bytes.fromhex(vector["hex"])
    with pytest.raises(DecodeError, match=vector["fault"]):
        decode(wire)
    with pytest.raises(DecodeError, match=vector["fault"]):
        CLASSES[vector["type"]].decode(wire)


@pytest.mark.parametrize("vector", named(ADDRESSES))
def test_address_vectors(vector):
    address = vector["address"]
    assert packet.is_valid_address(address) is vector["valid"]
    assert packet.is_valid_prefix(address) is vector["prefix_valid"]
    wire = prepare_bytes(address.encode())
    if vector["valid"]:
        assert Prepare.decode(wire).destination == address
    else:
        with pytest.raises(DecodeError, match="destination"):
            Prepare.decode(wire)
        with pytest.raises(UsageError, match="destination"):
            Prepare(amount=1, expires_at=0, execution_condition=CONDITION, destination=address)


def test_every_byte_in_an_address():
    allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~-."
    for byte in range(256):
        wire = prepare_bytes(b"g.a" + bytes([byte]) + b"b")
        if byte in allowed:
            assert Prepare.decode(wire).destination == f"g.a{chr(byte)}b"
        else:
            with pytest.raises(DecodeError, match="destination"):
                Prepare.decode(wire)


def test_other_types_are_no_address():
    for value in (None, 1, b"g.a"):
        assert packet.is_valid_address(value) is False
        assert packet.is_valid_prefix(value) is False


# --- Round trips ----------------------------------------------------------------------------------


@given(packets)
def test_round_trip(original):
    wire = bytes(original)
    again = decode(wire)
    assert again == original
    assert hash(again) == hash(original)
    assert bytes(again) == wire
    assert wire[0] == TYPES[type(original)]


@given(packets, st.binary(max_size=20))
def test_bytes_behind_the_envelope_are_not_the_packets(original, rest):
    wire = bytes(original)
    assert decode(wire + rest) == original
    assert bytes(decode(memoryview(wire + rest))) == wire
    assert bytes(decode(bytearray(wire + rest))) == wire


@given(prepares)
def test_prepare_is_written_as_the_rfc_says(prepare):
    moment = prepare.expires_at
    digits = f"{moment.year:04}{moment:%m%d%H%M%S}{moment.microsecond // 1000:03}".encode()
    content = (
        prepare.amount.to_bytes(8, "big")
        + digits
        + prepare.execution_condition
        + string(prepare.destination.encode())
        + string(prepare.data)
    )
    assert bytes(prepare) == b"\x0c" + string(content)


@given(rejects)
def test_reject_is_written_as_the_rfc_says(reject):
    content = (
        reject.code.encode()
        + string(reject.triggered_by.encode())
        + string(reject.message.encode())
        + string(reject.data)
    )
    assert bytes(reject) == b"\x0e" + string(content)


def test_fields_and_kinds_are_kept_apart():
    one = Fulfill(fulfillment=bytes(32))
    assert one != Fulfill(fulfillment=bytes(32), data=b"\x00")
    assert one != bytes(one)
    assert Reject(code="F00", triggered_by="g.a") != one
    assert Reject(code="F00", triggered_by="g.a") != Reject(code="F00", triggered_by="g.b")


def test_repr_shows_every_field():
    prepare = Prepare(
        amount=7,
        expires_at=datetime(2020, 1, 2, tzinfo=UTC),
        execution_condition=CONDITION,
        destination="g.a",
        data=b"xyz",
    )
    for part in ("7", "2020-01-02T00:00:00+00:00", CONDITION.hex(), "'g.a'", "b'xyz'"):
        assert part in repr(prepare)
    assert "00" * 32 in repr(Fulfill(fulfillment=bytes(32)))
    for part in ("'F02'", "'g.a'", "'no'", "b'd'"):
        assert part in repr(Reject(code="F02", triggered_by="g.a", message="no", data=b"d"))


def test_fields_are_read_only():
    fulfill = Fulfill(fulfillment=bytes(32))
    with pytest.raises(AttributeError):
        fulfill.data = b""


# --- Bytes that are no packet ---------------------------------------------------------------------


@given(packets)
def test_truncated_at_every_byte(original):
    wire = bytes(original)
    # All cuts of a small packet, and those in the header and at the end of a large one.
    for size in sorted({*range(min(len(wire), 400)), *range(len(wire) - 5, len(wire))}):
        with pytest.raises(DecodeError):
            decode(wire[:size])


@given(packets)
def test_content_truncated_at_every_byte(original):
    """The envelope is sound and ends too early for what is inside."""
    wire = bytes(original)
    header = 2 if wire[1] < 128 else 2 + (wire[1] & 0x7F)
    content = wire[header:]
    for size in sorted({*range(min(len(content), 400)), len(content) - 1}):
        with pytest.raises(DecodeError):
            decode(wire[:1] + string(content[:size]) + b"\xff" * 40)


@given(packets, st.data())
def test_mutated(original, data):
    """A packet with bytes changed is refused, or is a packet that writes and reads back."""
    wire = bytearray(bytes(original))
    for _ in range(data.draw(st.integers(1, 4))):
        # Three in four changes hit the fields, not the data at the end.
        end = min(len(wire), 120) if data.draw(st.integers(0, 3)) else len(wire)
        wire[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    check_any(bytes(wire))


@given(st.sampled_from([b"", b"\x0c", b"\x0d", b"\x0e", b"\x0c\x82"]), st.binary(max_size=300))
def test_random_bytes(head, tail):
    check_any(head + tail)


def check_any(wire: bytes) -> None:
    try:
        decoded = decode(wire)
    except DecodeError as error:
        assert str(error)
        return
    if isinstance(decoded, Reject) and not decoded.triggered_by:
        return
    assert decode(bytes(decoded)) == decoded


@pytest.mark.parametrize("kind", [Prepare, Fulfill, Reject])
def test_wrong_type(kind):
    for packet_type in range(256):
        wire = bytes([packet_type]) + prepare_bytes()[1:]
        if packet_type != TYPES[kind]:
            with pytest.raises(DecodeError, match="type"):
                kind.decode(wire)
        if packet_type not in TYPES.values():
            with pytest.raises(DecodeError, match="type"):
                decode(wire)
    with pytest.raises(DecodeError, match="ends before"):
        decode(b"")
    with pytest.raises(DecodeError, match="ends before"):
        kind.decode(b"")


@pytest.mark.parametrize("value", [None, "0c", 12, [12]])
@pytest.mark.parametrize("read", [decode, Prepare.decode, Fulfill.decode, Reject.decode])
def test_what_is_no_buffer(read, value):
    with pytest.raises(TypeError):
        read(value)


def test_largest_data():
    assert len(Prepare.decode(prepare_bytes(data=bytes(32_768))).data) == 32_768
    assert bytes(Prepare.decode(prepare_bytes(data=bytes(32_768)))) == prepare_bytes(
        data=bytes(32_768)
    )
    with pytest.raises(DecodeError, match="32768"):
        decode(prepare_bytes(data=bytes(32_769)))
    with pytest.raises(DecodeError, match="32768"):
        decode(b"\x0d" + string(bytes(32) + string(bytes(32_769))))
    with pytest.raises(DecodeError, match="32768"):
        decode(reject_bytes(data=bytes(32_769)))


def test_largest_packet():
    """Trailing bytes in the content count: no packet has more than a link's largest message."""
    content = bytes(32) + b"\x00"
    for size, fits in ((65_531, True), (65_532, False)):
        wire = b"\x0d" + string(content + bytes(size - len(content)))
        if fits:
            assert len(wire) == 65_535
            assert decode(wire) == Fulfill(fulfillment=bytes(32))
        else:
            with pytest.raises(DecodeError, match="65535"):
                decode(wire)


# --- Rejects of others ----------------------------------------------------------------------------


def test_message_that_is_no_utf8():
    wire = reject_bytes(message=b"caf\xe9 \xff")
    assert decode(wire).message == "caf\ufffd \ufffd"
    assert bytes(decode(wire)) == wire
    assert decode(wire) != decode(reject_bytes(message=decode(wire).message.encode()))


def test_largest_message():
    assert decode(reject_bytes(message=b"m" * 8192)).message == "m" * 8192
    with pytest.raises(DecodeError, match="8192"):
        decode(reject_bytes(message=b"m" * 8193))


def test_triggered_by_is_any_ascii():
    for triggered_by in (b"not an address", b"x" * 1023, b"\x00\x7f"):
        wire = reject_bytes(triggered_by=triggered_by)
        assert decode(wire).triggered_by == triggered_by.decode()
        assert bytes(decode(wire)) == wire
    for triggered_by in (b"x" * 1024, b"g.\x80", b"g.caf\xc3\xa9"):
        with pytest.raises(DecodeError, match="triggeredBy"):
            decode(reject_bytes(triggered_by=triggered_by))


def test_empty_triggered_by_is_read_and_never_written():
    reject = decode(reject_bytes(triggered_by=b""))
    assert reject.triggered_by == ""
    assert reject == Reject(code="F00")
    assert hash(reject) == hash(Reject(code="F00"))
    for one in (reject, Reject(code="F00")):
        with pytest.raises(UsageError, match="triggered_by is empty"):
            bytes(one)


def test_unknown_codes():
    for code in (b"F09", b"Z99", b"\x00\x01\x7f"):
        assert decode(reject_bytes(code=code)).code == code.decode()
    for code in (b"\x80F0", b"F\xff0", b"F0\xfe", b"\x00\x80\x00"):
        with pytest.raises(DecodeError, match="code"):
            decode(reject_bytes(code=code))


# --- Values that fit in no packet -----------------------------------------------------------------

GOOD = {
    Prepare: {
        "amount": 1,
        "expires_at": 0,
        "execution_condition": CONDITION,
        "destination": "g.a",
        "data": b"",
    },
    Fulfill: {"fulfillment": CONDITION, "data": b""},
    Reject: {"code": "F00", "triggered_by": "g.a", "message": "", "data": b""},
}


@pytest.mark.parametrize(
    ("kind", "field", "value", "fault"),
    [
        (Prepare, "amount", -1, "between 0 and 2"),
        (Prepare, "amount", 2**64, "between 0 and 2"),
        (Prepare, "amount", 1.0, "must be int"),
        (Prepare, "execution_condition", bytes(31), "31 bytes, must have 32"),
        (Prepare, "execution_condition", bytes(33), "33 bytes, must have 32"),
        (Prepare, "execution_condition", "0" * 32, "must be bytes"),
        (Prepare, "destination", "nowhere", "not a valid ILP address"),
        (Prepare, "destination", b"g.a", "not a valid ILP address"),
        (Prepare, "data", bytes(32_768), "at most 32767"),
        (Prepare, "data", 5, "must be bytes"),
        (Fulfill, "fulfillment", b"", "must have 32"),
        (Fulfill, "data", bytes(32_768), "at most 32767"),
        (Reject, "code", "F0", "must have 3"),
        (Reject, "code", "F000", "must have 3"),
        (Reject, "code", "F0\u00e9", "must be ASCII"),
        (Reject, "code", 100, "must be str"),
        (Reject, "triggered_by", "g." + "a" * 1022, "at most 1023"),
        (Reject, "triggered_by", "g.\u00e9", "must be ASCII"),
        (Reject, "message", "m" * 8193, "at most 8192"),
        (Reject, "message", b"m", "must be str"),
        (Reject, "data", bytes(32_768), "at most 32767"),
    ],
)
def test_what_cannot_be_built(kind, field, value, fault):
    kind(**GOOD[kind])
    with pytest.raises(UsageError, match=fault):
        kind(**GOOD[kind] | {field: value})


def test_lone_surrogates_of_a_message_are_replaced():
    assert decode(bytes(Reject(code="F00", triggered_by="g.a", message="a\ud800b"))).message == (
        "a?b"
    )
