"""The C side of the packet codec, which the switch uses: offsets, the canonical mark, patching in
place, sizes. Parsed bytes lie at the very end of an allocation, so that a sanitizer sees any read
beyond them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp.errors import DecodeError
from tests.core.test_packet import addresses, octets, packets, prepares
from tests.probe import compiled
from tests.vectors import load

PROGRAM = """
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from fastilp._core.packet cimport *

def text(int fault):
    return packet_fault_text(fault).decode()

def parse(int kind, bytes packet):
    '''The fault, or the fields.'''
    cdef PrepareFields prepare
    cdef FulfillFields fulfill
    cdef RejectFields reject
    cdef size_t size = len(packet)
    cdef uint8_t* at = <uint8_t*>malloc(size if size else 1)
    memcpy(at, <const uint8_t*>packet, size)
    try:
        if kind == PACKET_PREPARE:
            return prepare_parse(at, size, &prepare) or prepare
        if kind == PACKET_FULFILL:
            return fulfill_parse(at, size, &fulfill) or fulfill
        return reject_parse(at, size, &reject) or reject
    finally:
        free(at)

def patch(bytes packet, content, amount, expires_at_ms):
    changed = bytearray(packet)
    cdef ExpiryMemo memo
    memo.second = 0
    # The second time it comes from the memo.
    prepare_patch(<uint8_t*>changed, content, amount, expires_at_ms, &memo)
    prepare_patch(<uint8_t*>changed, content, amount, expires_at_ms, &memo)
    return bytes(changed)

def sizes(size_t address, size_t message, size_t data):
    return prepare_size(address, data), fulfill_size(data), reject_size(address, message, data)

def is_address(bytes address):
    return bool(address_valid(address, len(address)))

def is_prefix(bytes prefix):
    return bool(address_prefix_valid(prefix, len(prefix)))
"""
KINDS = {Prepare: 12, Fulfill: 13, Reject: 14}
MS_MIN, MS_MAX = -62_135_596_800_000, 253_402_300_799_999


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    return compiled(PROGRAM, tmp_path_factory.mktemp("packet_fields"))


def part(wire, fields, name):
    return wire[fields[name] : fields[name] + fields[f"{name}_size"]]


@given(original=packets, rest=st.binary(max_size=10))
def test_offsets_point_at_the_fields(core, original, rest):
    wire = bytes(original) + rest
    fields = core.parse(wire[0], wire)
    assert fields["packet_size"] == len(wire) - len(rest)
    assert fields["canonical"] == 1
    assert part(wire, fields, "data") == original.data
    if isinstance(original, Prepare):
        content = fields["content"]
        assert fields["amount"] == original.amount
        assert fields["expires_at_ms"] == original.expires_at_ms
        assert wire[content : content + 8] == original.amount.to_bytes(8, "big")
        assert wire[content + 25 : content + 57] == original.execution_condition
        assert part(wire, fields, "destination") == original.destination.encode()
    elif isinstance(original, Fulfill):
        at = fields["fulfillment"]
        assert wire[at : at + 32] == original.fulfillment
    else:
        assert wire[fields["code"] : fields["code"] + 3] == original.code.encode()
        assert part(wire, fields, "triggered_by") == original.triggered_by.encode()
        assert part(wire, fields, "message") == original.message.encode()


def long_form(size, chance):
    count = chance.randint(max(2, (size.bit_length() + 7) // 8), 8)
    return bytes([0x80 | count]) + size.to_bytes(count, "big")


def short_form(size):
    if size < 128:
        return bytes([size])
    count = (size.bit_length() + 7) // 8
    return bytes([0x80 | count]) + size.to_bytes(count, "big")


HEADS = {12: 57, 13: 32, 14: 3}


@given(original=packets, number=st.integers(0, 4), seed=st.integers(0, 99))
def test_canonical_is_what_we_would_write(core, original, number, seed):
    """One length in another form, or bytes behind the data in the envelope: the mark goes, the
    meaning stays."""
    wire = bytes(original)
    head = HEADS[wire[0]]
    start = 2 if wire[1] < 128 else 2 + (wire[1] & 0x7F)
    content = wire[start : start + head]
    strings = {
        Prepare: lambda one: [one.destination.encode(), one.data],
        Fulfill: lambda one: [one.data],
        Reject: lambda one: [one.triggered_by.encode(), one.message.encode(), one.data],
    }[type(original)](original)
    chance = random.Random(seed)
    for index, string in enumerate(strings):
        length = long_form(len(string), chance) if index == number else short_form(len(string))
        content += length + string
    if number == 4:
        content += b"\x00"
    odd_envelope = number in (3, len(strings))
    length = long_form(len(content), chance) if odd_envelope else short_form(len(content))
    changed = wire[:1] + length + content
    fields = core.parse(wire[0], changed)
    assert fields["packet_size"] == len(changed)
    assert fields["canonical"] == (changed == wire)
    assert decode(changed) == original


@given(original=packets, data=st.data())
def test_canonical_of_mutated_packets(core, original, data):
    wire = bytearray(bytes(original))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, min(len(wire), 120) - 1))] = data.draw(st.integers(0, 255))
    for kind in (12, 13, 14):
        fields = core.parse(kind, bytes(wire))
        if isinstance(fields, int):
            with pytest.raises(DecodeError) as caught:
                {12: Prepare, 13: Fulfill, 14: Reject}[kind].decode(bytes(wire))
            assert str(caught.value) == core.text(fields)
            continue
        decoded = decode(bytes(wire))
        if not isinstance(decoded, Reject) or decoded.triggered_by:
            packet = bytes(wire)[: fields["packet_size"]]
            assert fields["canonical"] == (bytes(decoded) == packet)


@given(
    original=prepares,
    amount=st.integers(0, 2**64 - 1),
    expires_at_ms=st.integers(MS_MIN, MS_MAX),
)
def test_patch_changes_two_fields(core, original, amount, expires_at_ms):
    wire = bytes(original)
    content = core.parse(12, wire)["content"]
    assert core.patch(wire, content, amount, expires_at_ms) == bytes(
        Prepare(
            amount=amount,
            expires_at=expires_at_ms,
            execution_condition=original.execution_condition,
            destination=original.destination,
            data=original.data,
        )
    )


@pytest.mark.parametrize(
    ("expires_at_ms", "nearest"),
    [(MS_MIN - 1, MS_MIN), (-(2**63), MS_MIN), (MS_MAX + 1, MS_MAX), (2**63 - 1, MS_MAX)],
)
def test_patch_with_a_time_out_of_range(core, expires_at_ms, nearest):
    wire = bytes(Prepare(amount=1, expires_at=0, execution_condition=bytes(32), destination="g.a"))
    content = core.parse(12, wire)["content"]
    assert core.patch(wire, content, 1, expires_at_ms) == core.patch(wire, content, 1, nearest)


@given(address=addresses, message=st.text(max_size=300), data=octets)
def test_sizes_are_those_of_what_is_written(core, address, message, data):
    prepare = Prepare(
        amount=1, expires_at=0, execution_condition=bytes(32), destination=address, data=data
    )
    fulfill = Fulfill(fulfillment=bytes(32), data=data)
    reject = Reject(code="F00", triggered_by=address, message=message, data=data)
    written = tuple(len(bytes(one)) for one in (prepare, fulfill, reject))
    assert core.sizes(len(address), len(message.encode()), len(data)) == written


@pytest.mark.parametrize("kind", KINDS.values())
def test_no_byte_is_read_beyond_the_size(core, kind):
    for vector in load("packets"):
        wire = bytes.fromhex(vector["hex"])
        for size in range(len(wire) + 1):
            core.parse(kind, wire[:size])
    chance = random.Random(kind)
    for _ in range(3_000):
        core.parse(kind, bytes([kind]) + chance.randbytes(chance.randint(0, 90)))


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in load("addresses")])
def test_address_vectors(core, vector):
    address = vector["address"].encode()
    assert core.is_address(address) is vector["valid"]
    assert core.is_prefix(address) is vector["prefix_valid"]


def test_every_fault_has_a_text_of_its_own(core):
    texts = [core.text(fault) for fault in range(1, 11)]
    assert len({*texts}) == len(texts)
    assert "no fault" not in texts
    assert core.text(0) == core.text(11) == "no fault"
