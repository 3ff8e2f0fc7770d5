"""STREAM codec: bytes known from elsewhere, round trips of any frames, what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.stream import decode_packet, encode_packet
from fastilp._core.stream_frames import (
    ConnectionAssetDetails,
    ConnectionClose,
    ConnectionDataBlocked,
    ConnectionMaxData,
    ConnectionMaxStreamId,
    ConnectionNewAddress,
    ConnectionStreamIdBlocked,
    ErrorCode,
    Frame,
    Packet,
    StreamClose,
    StreamData,
    StreamDataBlocked,
    StreamMaxData,
    StreamMaxMoney,
    StreamMoney,
    StreamMoneyBlocked,
    StreamReceipt,
)
from fastilp.errors import DecodeError, UsageError

LARGEST = 2**64 - 1
PLAIN_SIZE_MAX = 32_767 - 28
# A frame of each type and its bytes behind the header (RFC 29, section 5.3).
FRAMES: list[tuple[Frame, str]] = [
    (ConnectionClose(ErrorCode.NO_ERROR, "fail"), "0106 01 04 6661696c"),
    (ConnectionNewAddress("example.alice"), "020e 0d 6578616d706c652e616c696365"),
    (ConnectionMaxData(0), "0302 0100"),
    (ConnectionDataBlocked(LARGEST), "0409 08ffffffffffffffff"),
    (ConnectionMaxStreamId(256), "0503 020100"),
    (ConnectionStreamIdBlocked(255), "0602 01ff"),
    (ConnectionAssetDetails("ABC", 255), "0705 03414243 ff"),
    (StreamClose(123, 255, "an error message"), "1014 017b ff 10 616e206572726f72206d657373616765"),
    (StreamMoney(123, LARGEST), "110b 017b 08ffffffffffffffff"),
    (StreamMaxMoney(123, LARGEST, 456), "120e 017b 08ffffffffffffffff 0201c8"),
    (StreamMoneyBlocked(123, 0, 456), "1307 017b 0100 0201c8"),
    (StreamData(123, 456, b"foobar"), "140c 017b 0201c8 06666f6f626172"),
    (StreamMaxData(123, 0), "1504 017b 0100"),
    (StreamDataBlocked(123, 2**53 - 1), "160a 017b 071fffffffffffff"),
    (StreamReceipt(1, b"\x07" * 58), "173d 0101 3a" + "07" * 58),
]
IDS = [type(frame).__name__ for frame, _ in FRAMES]
HEADER = "010c 0100 0100 0101"

u64 = st.integers(0, LARGEST)
u8 = st.integers(0, 255)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
octets = st.binary(max_size=200)
any_frame = st.one_of(
    st.builds(ConnectionClose, u8, text),
    st.builds(ConnectionNewAddress, text),
    st.builds(ConnectionMaxData, u64),
    st.builds(ConnectionDataBlocked, u64),
    st.builds(ConnectionMaxStreamId, u64),
    st.builds(ConnectionStreamIdBlocked, u64),
    st.builds(ConnectionAssetDetails, text, u8),
    st.builds(StreamClose, u64, u8, text),
    st.builds(StreamMoney, u64, u64),
    st.builds(StreamMaxMoney, u64, u64, u64),
    st.builds(StreamMoneyBlocked, u64, u64, u64),
    st.builds(StreamData, u64, u64, octets),
    st.builds(StreamMaxData, u64, u64),
    st.builds(StreamDataBlocked, u64, u64),
    st.builds(StreamReceipt, u64, octets),
)
packets = st.builds(
    Packet, st.integers(12, 14), u64, u64, st.lists(any_frame, max_size=8).map(tuple)
)


def encoded(packet: Packet, **more: int) -> bytes:
    return encode_packet(packet.packet_type, packet.sequence, packet.amount, packet.frames, **more)


def decoded(hexadecimal: str) -> Packet:
    return decode_packet(bytes.fromhex(hexadecimal))


@pytest.mark.parametrize(("frame", "body"), FRAMES, ids=IDS)
def test_every_frame_both_ways(frame: Frame, body: str) -> None:
    wire = bytes.fromhex(HEADER + body)
    packet = Packet(12, 0, 0, (frame,))
    assert encoded(packet) == wire
    assert decode_packet(wire) == packet
    assert type(decode_packet(wire).frames[0]) is type(frame)


@pytest.mark.parametrize("packet_type", [12, 13, 14])
@pytest.mark.parametrize("number", [0, 1, 255, 256, 2**53 - 1, LARGEST])
def test_headers_both_ways(packet_type: int, number: int) -> None:
    size = max(1, (number.bit_length() + 7) // 8)
    field = bytes([size]) + number.to_bytes(size)
    wire = bytes([1, packet_type]) + field + field + b"\x01\x00"
    assert encode_packet(packet_type, number, number, ()) == wire
    assert decode_packet(wire) == Packet(packet_type, number, number, ())


@given(packets, st.integers(0, 3_000), octets)
def test_packets_round_trip(packet: Packet, size: int, behind: bytes) -> None:
    wire = encoded(packet)
    assert decode_packet(wire) == packet
    padded = encoded(packet, size=size)
    assert padded == wire + bytes(max(0, size - len(wire)))
    # What follows the last frame says nothing (RFC 29, section 5.2).
    assert decode_packet(padded + behind) == packet


@given(packets)
def test_no_prefix_is_a_packet(packet: Packet) -> None:
    wire = encoded(packet)
    for size in range(len(wire)):
        with pytest.raises(DecodeError):
            decode_packet(wire[:size])


@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_refused_or_read(garbage: bytes, headed: bool) -> None:
    wire = bytes.fromhex("010c 0100 0100") + garbage if headed else garbage
    try:
        packet = decode_packet(wire)
    except DecodeError:
        return
    assert decode_packet(encoded(packet)) == packet


def test_frames_of_unknown_types_are_skipped() -> None:
    # The last one is a StreamMoney with a byte behind its fields.
    wire = bytes.fromhex("010c 0105 0107 0103 0003aabbcc ff00 1105 0101 0102 ee")
    assert decode_packet(wire) == Packet(12, 5, 7, (StreamMoney(1, 2),))


@pytest.mark.parametrize("size", [9, 20])
def test_what_may_be_had_at_most_saturates(size: int) -> None:
    large = f"{size:02x}01" + "00" * (size - 1)
    for frame_type, read in ((0x12, StreamMaxMoney), (0x13, StreamMoneyBlocked)):
        body = f"017b {large} 0201c8"
        length = len(bytes.fromhex(body))
        packet = decoded(f"{HEADER} {frame_type:02x}{length:02x} {body}")
        assert packet.frames == (read(123, LARGEST, 456),)


def test_leading_zeros_are_no_large_number() -> None:
    zeros = "0a" + "00" * 9 + "05"
    assert decoded(f"{HEADER} 1210 017b {zeros} 0201c8").frames == (StreamMaxMoney(123, 5, 456),)
    assert decoded("010c 0100 03000007 0100").amount == 7


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        ("", "ends early"),
        ("01", "ends early"),
        ("020c 0100 0100 0100", "version 2"),
        ("000c 0100 0100 0100", "version 0"),
        ("010b 0100 0100 0100", "type 11"),
        ("010f 0100 0100 0100", "type 15"),
        ("010c 00 0100 0100", "malformed"),
        ("010c 09010000000000000000 0100 0100", "malformed"),
        ("010c 0100 09010000000000000000 0100", "malformed"),
        # As many frames as a number can say, and none there.
        ("010c 0100 0100 08ffffffffffffffff", "ends early"),
        ("010c 0100 0100 0101 11", "ends early"),
        ("010c 0100 0100 0101 1188ffffffffffffffff", "ends early"),
        # A field beyond its frame, though the packet goes on.
        ("010c 0100 0100 0101 1103 0101 0201 00", "ends early"),
        ("010c 0100 0100 0101 1200", "ends early"),
        ("010c 0100 0100 0101 1205 0101 00 0101", "malformed"),
        ("010c 0100 0100 0101 0701 00", "ends early"),
        ("010c 0100 0100 0101 1104 00 0101 00", "malformed"),
    ],
)
def test_refuses(wire: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decoded(wire)


def test_texts_that_are_no_utf_8_are_read() -> None:
    assert decoded(f"{HEADER} 0104 02 02 ff41").frames == (ConnectionClose(2, "\ufffdA"),)


def test_the_largest_packet() -> None:
    overhead = len(encode_packet(12, 0, 0, [StreamData(1, 0, bytes(32_000))])) - 32_000
    largest = StreamData(1, 0, bytes(PLAIN_SIZE_MAX - overhead))
    wire = encode_packet(12, 0, 0, [largest])
    assert len(wire) == PLAIN_SIZE_MAX
    assert decode_packet(wire).frames == (largest,)
    assert len(encode_packet(12, 0, 0, [], size=PLAIN_SIZE_MAX)) == PLAIN_SIZE_MAX
    for frames in ([StreamData(1, 0, bytes(PLAIN_SIZE_MAX - overhead + 1))], [largest] * 2):
        with pytest.raises(UsageError, match="at most 32739 bytes"):
            encode_packet(12, 0, 0, frames)
    with pytest.raises(UsageError, match="at most 32739 bytes"):
        encode_packet(12, 0, 0, [StreamMoney(1, 1)] * 10_000)


@pytest.mark.parametrize(
    ("packet_type", "sequence", "amount", "frames", "size", "why"),
    [
        (11, 0, 0, [], 0, "12, 13 or 14"),
        (12, -1, 0, [], 0, "sequence"),
        (12, 0, 2**64, [], 0, "amount"),
        (12, 0, 1.5, [], 0, "amount must be int"),
        (12, 0, 0, [], 40_000, "size"),
        (12, 0, 0, [(1, 2)], 0, "no STREAM frame"),
        (12, 0, 0, [StreamMoney(1, -1)], 0, "a field"),
        (12, 0, 0, [StreamMoney(1, "2")], 0, "a field"),
        (12, 0, 0, [ConnectionAssetDetails("ABC", 256)], 0, "code or scale"),
        (12, 0, 0, [ConnectionClose(1, b"text")], 0, "must be str"),
        (12, 0, 0, [StreamData(1, 0, "data")], 0, "must be bytes"),
    ],
)
def test_refuses_to_write(
    packet_type: int, sequence: int, amount: int, frames: list[Frame], size: int, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        encode_packet(packet_type, sequence, amount, frames, size=size)
