"""OER (RFC 30) as packets show it: lengths in every place where a packet has one, and integers.

The one read that no packet needs, the variable-length integer, goes through a module that is
compiled here, as a user of the shipped .pxd would.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.packet import Fulfill, Prepare, decode
from fastilp.errors import DecodeError
from tests.probe import compiled
from tests.vectors import load

DATA_SIZE_MAX = 32_768
FULFILLMENT = bytes(range(32))
PROGRAM = """
from libc.stdint cimport uint8_t, uint64_t
from fastilp._core.oer cimport OerCursor, oer_init, oer_read_var_uint

def read(bytes octets):
    cdef OerCursor cursor
    cdef uint64_t value = 0
    oer_init(&cursor, <const uint8_t*>octets, len(octets))
    result = oer_read_var_uint(&cursor, &value)
    return result, value, cursor.left, bool(cursor.canonical)
"""
LENGTHS = load("oer_lengths")
VALUES = load("oer_values")


def length(size: int) -> bytes:
    """The canonical length determinant, by the letter of the RFC."""
    if size < 128:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def envelope(content: bytes, prefix: bytes | None = None) -> bytes:
    return b"\x0d" + (length(len(content)) if prefix is None else prefix) + content


def named(vectors: list[dict[str, str]]) -> list[object]:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


fitting = [one for one in LENGTHS if one["valid"] and int(one["value"]) <= DATA_SIZE_MAX]
beyond = [one for one in LENGTHS if one["valid"] and int(one["value"]) > DATA_SIZE_MAX]
invalid = [one for one in LENGTHS if not one["valid"]]


@pytest.mark.parametrize("vector", named(fitting))
def test_length_of_data(vector):
    size = int(vector["value"])
    data = b"\xa5" * size
    packet = envelope(FULFILLMENT + bytes.fromhex(vector["hex"]) + data)
    fulfill = Fulfill.decode(packet)
    assert fulfill.data == data
    assert (bytes(fulfill) == packet) is vector["canonical"]


@pytest.mark.parametrize("vector", named([one for one in fitting if int(one["value"]) > 40]))
def test_length_of_envelope(vector):
    size = int(vector["value"])
    # The data's own length takes 1, 2 or 3 bytes: find what fills the content exactly.
    data_size = next(n for n in range(size) if 32 + len(length(n)) + n == size)
    content = FULFILLMENT + length(data_size) + b"\x5a" * data_size
    packet = envelope(content, bytes.fromhex(vector["hex"]))
    fulfill = Fulfill.decode(packet)
    assert len(fulfill.data) == data_size
    assert (bytes(fulfill) == packet) is vector["canonical"]


@pytest.mark.parametrize("vector", named(beyond))
def test_length_beyond_the_buffer(vector):
    prefix = bytes.fromhex(vector["hex"])
    with pytest.raises(DecodeError, match="ends before"):
        Fulfill.decode(envelope(FULFILLMENT + prefix + bytes(100)))
    with pytest.raises(DecodeError, match="ends before"):
        Fulfill.decode(envelope(FULFILLMENT + b"\x00", prefix))


@pytest.mark.parametrize("vector", named(invalid))
def test_length_that_is_none(vector):
    prefix = bytes.fromhex(vector["hex"])
    with pytest.raises(DecodeError, match="length prefix"):
        Fulfill.decode(envelope(FULFILLMENT + prefix + bytes(200)))
    with pytest.raises(DecodeError, match="length prefix"):
        Fulfill.decode(envelope(FULFILLMENT + bytes(200), prefix))


def test_length_does_not_wrap():
    # Offset plus length must not come out small: 2**64 - 1 and its neighbours.
    for low in range(0xF0, 0x100):
        prefix = b"\x88" + b"\xff" * 7 + bytes([low])
        with pytest.raises(DecodeError, match="ends before"):
            Fulfill.decode(envelope(FULFILLMENT + prefix + bytes(100)))
        with pytest.raises(DecodeError, match="ends before"):
            Fulfill.decode(envelope(FULFILLMENT + b"\x00", prefix))


def test_length_of_eight_octets_with_leading_zeros():
    packet = envelope(FULFILLMENT + b"\x88" + bytes(7) + b"\x03abc")
    fulfill = Fulfill.decode(packet)
    assert fulfill.data == b"abc"
    assert bytes(fulfill) == envelope(FULFILLMENT + b"\x03abc")


def test_inner_length_ends_with_the_content():
    # The outer buffer has the bytes that the inner length asks for, the content has not.
    packet = envelope(FULFILLMENT + b"\x05ab", length(35)) + b"cde"
    with pytest.raises(DecodeError, match="ends before"):
        Fulfill.decode(packet)


def test_length_itself_ends_with_the_content():
    # `82 00` and then, outside, the byte that would make it a length.
    packet = envelope(FULFILLMENT + b"\x82\x00") + b"\x01a"
    with pytest.raises(DecodeError, match="ends before"):
        Fulfill.decode(packet)


@pytest.mark.parametrize("vector", named([one for one in VALUES if one["type"] == "string"]))
def test_strings(vector):
    packet = envelope(FULFILLMENT + bytes.fromhex(vector["hex"]))
    if vector["valid"]:
        assert Fulfill.decode(packet).data == bytes.fromhex(vector["value"])
        assert bytes(Fulfill.decode(packet)) == packet
    else:
        with pytest.raises(DecodeError):
            Fulfill.decode(packet)


@pytest.mark.parametrize("vector", named([one for one in VALUES if one["type"] == "u64"]))
def test_u64(vector):
    prepare = Prepare(
        amount=int(vector["value"]),
        expires_at=0,
        execution_condition=bytes(32),
        destination="g.a",
    )
    assert bytes(prepare)[2:10].hex() == vector["hex"]
    assert Prepare.decode(bytes(prepare)).amount == int(vector["value"])


@given(st.integers(0, 32_767))
def test_canonical_lengths(size):
    data = bytes(size)
    packet = envelope(FULFILLMENT + length(size) + data)
    assert bytes(Fulfill(fulfillment=FULFILLMENT, data=data)) == packet
    assert decode(packet) == Fulfill(fulfillment=FULFILLMENT, data=data)


@pytest.fixture(scope="module")
def read_var_uint(tmp_path_factory):
    """bytes -> (result, value, bytes left, canonical)"""
    return compiled(PROGRAM, tmp_path_factory.mktemp("var_uint")).read


OK, TRUNCATED, MALFORMED = 0, 1, 2


@pytest.mark.parametrize("vector", named([one for one in VALUES if one["type"] == "var_uint"]))
def test_var_uint_vectors(read_var_uint, vector):
    octets = bytes.fromhex(vector["hex"])
    if vector["valid"]:
        expected = (OK, int(vector["value"]), 3, vector["canonical"])
        assert read_var_uint(octets + b"abc") == expected
    else:
        assert read_var_uint(octets + bytes(20))[0] == MALFORMED


@given(value=st.integers(0, 2**64 - 1))
def test_var_uint(read_var_uint, value):
    octets = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    wire = bytes([len(octets)]) + octets
    assert read_var_uint(wire) == (OK, value, 0, True)
    for size in range(len(wire)):
        assert read_var_uint(wire[:size])[0] == TRUNCATED
