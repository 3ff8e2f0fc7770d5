"""BTP codec: vectors of other implementations, round trips, what it tolerates and refuses."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core import codec_btp
from fastilp._core.codec_btp import Entry
from fastilp.errors import DecodeError, UsageError

# Interledger.rs interledger-btp/src/packet.rs, and two authentication messages by RFC 23.
MESSAGE = "060000000217010204746573740002ffff0474657874010568656c6c6f"
RESPONSE = "01000000811b010113736f6d65206f746865722070726f746f636f6c0003aaaaaa"
ERROR = (
    "02000001f52f54303010556e726561636861626c654572726f72"
    "1332303138303833313032353332342e3839395a046f6f70730100"
)
AUTH = "06000000011c0102046175746800000a617574685f746f6b656e0106736563726574"
AT = "20171224230000Z"
AUTH_RESPONSE = "0100000001020100"

VECTORS = [
    (MESSAGE, 6, 2, [Entry("test", 0, b"\xff\xff"), Entry("text", 1, b"hello")], {}),
    (RESPONSE, 1, 129, [Entry("some other protocol", 0, b"\xaa\xaa\xaa")], {}),
    (
        ERROR,
        2,
        501,
        [],
        {
            "code": "T00",
            "name": "UnreachableError",
            "triggered_at": "20180831025324.899Z",
            "data": b"oops",
        },
    ),
    (AUTH, 6, 1, [Entry("auth", 0, b""), Entry("auth_token", 1, b"secret")], {}),
    (AUTH_RESPONSE, 1, 1, [], {}),
]

entries = st.lists(
    st.builds(
        Entry,
        st.text(st.characters(max_codepoint=127), max_size=200),
        st.integers(0, 255),
        st.binary(max_size=300),
    ),
    max_size=5,
)
request_ids = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("raw, type_, request_id, content, rest", VECTORS)
def test_vectors(raw, type_, request_id, content, rest):
    message = codec_btp.decode(bytes.fromhex(raw))
    assert (message.type, message.request_id, message.entries) == (type_, request_id, content)
    for field, value in rest.items():
        assert getattr(message, field) == value
    assert codec_btp.encode(type_, request_id, content, **rest).hex() == raw


@pytest.mark.parametrize("raw", [vector[0] for vector in VECTORS])
def test_vectors_truncated_anywhere(raw):
    whole = bytes.fromhex(raw)
    for size in range(len(whole)):
        with pytest.raises(DecodeError):
            codec_btp.decode(whole[:size])
        # The data plane does not look into an Error; everything else is read to its end.
        if whole[0] != 2:
            with pytest.raises(DecodeError):
                codec_btp.read(whole[:size])


@given(st.sampled_from([1, 6]), request_ids, entries)
def test_messages_round_trip(type_, request_id, content):
    raw = codec_btp.encode(type_, request_id, content)
    message = codec_btp.decode(raw)
    assert (message.type, message.request_id, message.entries) == (type_, request_id, content)
    assert codec_btp.encode(*message[:3]) == raw
    assert codec_btp.decode(raw + b"trailing") == message
    packet = next((e.data for e in content if e.name == "ilp" and e.data), None)
    assert codec_btp.read(raw + b"trailing") == (type_, request_id, packet)


@given(request_ids, entries, st.integers(0, 2**64 - 1))
def test_transfers_round_trip(request_id, content, amount):
    raw = codec_btp.encode(7, request_id, content, amount=amount)
    message = codec_btp.decode(raw)
    assert (message.amount, message.entries) == (amount, content)
    assert codec_btp.read(raw) == (7, request_id, None)


@pytest.mark.parametrize(
    "given_at, written",
    [
        ("20171224230000Z", "20171224230000Z"),
        ("20171224230000.000Z", "20171224230000Z"),
        ("20171224230000.20Z", "20171224230000.2Z"),
        ("20171224230060.123Z", "20171224230060.123Z"),
    ],
)
def test_error_timestamps_are_written_canonical(given_at, written):
    raw = codec_btp.encode(2, 1, [], code="F00", name="NotAcceptedError", triggered_at=given_at)
    assert codec_btp.decode(raw).triggered_at == written


def test_error_timestamp_with_trailing_zeros_is_read():
    canonical = codec_btp.encode(2, 1, [], code="F00", name="N", triggered_at="20171224230000Z")
    javascript = canonical.replace(b"\x0f20171224230000Z", b"\x1320171224230000.000Z")
    javascript = javascript[:5] + bytes([javascript[5] + 4]) + javascript[6:]
    assert codec_btp.decode(javascript).triggered_at == "20171224230000.000Z"


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("content_type", [0, 1, 2, 77])
@pytest.mark.parametrize("type_", [1, 6])
def test_ilp_is_found_at_any_position_with_any_content_type(position, content_type, type_):
    content = [Entry("auth_token", 1, b"x"), Entry("custom", 2, b"{}")]
    content.insert(position, Entry("ilp", content_type, b"\x0c123"))
    assert codec_btp.read(codec_btp.encode(type_, 9, content)) == (type_, 9, b"\x0c123")


def test_first_ilp_entry_counts_and_an_empty_one_is_none():
    assert codec_btp.read(codec_btp.encode(1, 9, [Entry("ilp", 0, b"")])) == (1, 9, None)
    twice = [Entry("ilp", 0, b"first"), Entry("ilp", 0, b"second")]
    assert codec_btp.read(codec_btp.encode(6, 9, twice)) == (6, 9, b"first")
    assert codec_btp.read(codec_btp.encode(6, 9, [Entry("ilq", 0, b"first")])) == (6, 9, None)


REFUSED = {
    "nothing": "",
    "header only": "0600000001",
    "retired type": "0300000001020100",
    "unknown type": "0000000001020100",
    "indefinite length": "0600000001800100",
    "long form of a short length": "060000000181020100",
    "length of 9 bytes": "060000000189000000000000000002" + "0100",
    "length that wraps": "060000000188ffffffffffffffff0100",
    "count without bytes": "06000000010100",
    "count of 9 bytes": "06000000010a09000000000000000000",
    "more entries than bytes": "0600000001020102",
    "count of 2**64 - 1": "06000000010908ffffffffffffffff",
    "entry runs past the body": "06000000010801010369 6c70000c".replace(" ", "") + "00" * 12,
    "name runs past the body": "0600000001050101086173" + "00" * 12,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_refused(raw):
    with pytest.raises(DecodeError):
        codec_btp.read(bytes.fromhex(raw))
    with pytest.raises(DecodeError):
        codec_btp.decode(bytes.fromhex(raw))


def test_leading_zeros_in_lengths_and_counts_are_read():
    lengths = "0600000001" + "820002" + "0100"
    counts = "0600000001" + "03" + "020000"
    assert codec_btp.read(bytes.fromhex(lengths)) == (6, 1, None)
    assert codec_btp.read(bytes.fromhex(counts)) == (6, 1, None)


def test_names_and_codes_are_ascii():
    raw = codec_btp.encode(6, 1, [Entry("name", 0, b"")]).replace(b"name", b"n\xffme")
    with pytest.raises(DecodeError, match="ASCII"):
        codec_btp.decode(raw)
    error = bytes.fromhex(ERROR)
    with pytest.raises(DecodeError, match="ASCII"):
        codec_btp.decode(error.replace(b"T00", b"T\xff0"))
    with pytest.raises(DecodeError, match="triggeredAt"):
        codec_btp.decode(error.replace(b"20180831025324.899Z", b"2018-08-31 02:53:24"))


@given(st.binary(max_size=200))
def test_random_bytes_never_do_more_than_raise(raw):
    for reader in (codec_btp.read, codec_btp.decode):
        try:
            reader(raw)
        except DecodeError:
            pass


def test_mutated_bytes_agree_between_read_and_decode():
    source = random.Random(23)
    agreed = 0
    for _ in range(20_000):
        raw = bytearray.fromhex(source.choice([MESSAGE, RESPONSE, AUTH, AUTH_RESPONSE]))
        for _ in range(source.randint(1, 3)):
            raw[source.randrange(len(raw))] = source.randrange(256)
        try:
            message = codec_btp.decode(bytes(raw))
        except DecodeError:
            continue
        agreed += 1
        assert codec_btp.read(bytes(raw))[:2] == message[:2]
    assert agreed > 1_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"type": 3, "request_id": 1, "entries": []},
        {"type": 6, "request_id": 2**32, "entries": []},
        {"type": 6, "request_id": -1, "entries": []},
        {"type": 6, "request_id": 1, "entries": [Entry("n\u00e4me", 0, b"")]},
        {"type": 6, "request_id": 1, "entries": [Entry("name", 256, b"")]},
        {"type": 7, "request_id": 1, "entries": [], "amount": 2**64},
        {"type": 2, "request_id": 1, "entries": [], "code": "F0", "triggered_at": AT},
        {"type": 2, "request_id": 1, "entries": [], "code": "F00", "triggered_at": "now"},
    ],
)
def test_encode_refuses_what_the_format_cannot_hold(arguments):
    with pytest.raises(UsageError):
        codec_btp.encode(**arguments)


def parse_frame(frame: bytes) -> tuple[bytes | None, bytes]:
    """Mask and payload by the letter of RFC 6455 5.2 and 5.3."""
    assert frame[0] == 0x82
    size, at = frame[1] & 0x7F, 2
    if size == 126:
        (size,), at = struct.unpack(">H", frame[2:4]), 4
        assert size >= 126
    elif size == 127:
        (size,), at = struct.unpack(">Q", frame[2:10]), 10
        assert size > 0xFFFF
    mask = None
    if frame[1] & 0x80:
        mask, at = frame[at : at + 4], at + 4
    payload = frame[at:]
    assert len(payload) == size
    if mask is not None:
        payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return mask, payload


# Around every change of a length's size: 1, 2, 3 bytes of OER, 7, 16, 64 bits of RFC 6455.
SIZES = [*range(0, 20), *range(98, 132), *range(236, 260), 1_000, 40_000, *range(65_500, 65_536)]


@pytest.mark.parametrize("mask", [None, bytes(4), b"\x37\xfa\x21\x3d", b"\xff\xff\xff\xff"])
def test_frames_by_size(mask):
    for size in SIZES:
        packet = random.Random(size).randbytes(size)
        frame = codec_btp.frame(6, 0x01020304, packet, mask)
        seen_mask, payload = parse_frame(frame)
        assert seen_mask == mask
        assert payload == codec_btp.encode(6, 0x01020304, [Entry("ilp", 0, packet)])
        assert codec_btp.read(payload) == (6, 0x01020304, packet or None)


@given(
    st.sampled_from([1, 6]),
    request_ids,
    st.binary(max_size=2_000),
    st.binary(min_size=4, max_size=4),
)
def test_frames_round_trip(type_, request_id, packet, mask):
    for key in (None, mask):
        _, payload = parse_frame(codec_btp.frame(type_, request_id, packet, key))
        assert codec_btp.read(payload) == (type_, request_id, packet or None)


def test_frame_refuses_a_mask_of_another_size():
    with pytest.raises(UsageError):
        codec_btp.frame(6, 1, b"", b"123")
