"""Batch codec: the bytes of MessagePack's own library, round trips, what it refuses."""

import random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core import codec_batch
from fastilp.errors import DecodeError, UsageError

# Around every change of width: of an unsigned integer, and of a bin.
REQUEST_IDS = sorted({x + d for x in (0, 2**7, 2**8, 2**16, 2**32 - 1) for d in (-1, 0, 1)})[1:-1]
SIZES = [1, 2, 254, 255, 256, 257, 32_768, 65_534, 65_535]
UINTS = {"fixint": 1, "u8": 2, "u16": 3, "u32": 5, "u64": 9}
BINS = {"bin8": 2, "bin16": 3, "bin32": 5}

frames = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=600)))


def uint(value: int, form: str) -> bytes:
    size = UINTS[form] - 1
    first = {"u8": b"\xcc", "u16": b"\xcd", "u32": b"\xce", "u64": b"\xcf"}
    return first[form] + value.to_bytes(size, "big") if size else bytes([value])


def binary(packet: bytes, form: str) -> bytes:
    size = BINS[form] - 1
    first = {"bin8": b"\xc4", "bin16": b"\xc5", "bin32": b"\xc6"}
    return first[form] + len(packet).to_bytes(size, "big") + packet


@pytest.mark.parametrize("request_id", REQUEST_IDS)
def test_a_frame_is_what_messagepack_writes(request_id: int) -> None:
    for size in SIZES:
        packet = random.Random(size).randbytes(size)
        frame = codec_batch.frame(request_id, packet)
        assert frame == msgpack.packb([request_id, packet])
        assert codec_batch.read(frame) == ([(request_id, packet)], len(frame))


@given(frames, st.data())
def test_streams_round_trip(content: list[tuple[int, bytes]], data: st.DataObject) -> None:
    pieces = [codec_batch.frame(*frame) for frame in content]
    for _ in range(data.draw(st.integers(0, 3))):
        pieces.insert(data.draw(st.integers(0, len(pieces))), b"\xc0")
    stream = b"".join(pieces)
    assert codec_batch.read(stream) == (content, len(stream))
    cut = data.draw(st.integers(0, len(stream)))
    found, size = codec_batch.read(stream[:cut])
    rest, _ = codec_batch.read(stream[size:])
    assert size <= cut and found + rest == content


@pytest.mark.parametrize("form", UINTS)
@pytest.mark.parametrize("wrap", BINS)
def test_every_width_is_read(form: str, wrap: str) -> None:
    stream = b"\x92" + uint(77, form) + binary(b"packet", wrap)
    assert codec_batch.read(stream) == ([(77, b"packet")], len(stream))
    for size in range(len(stream)):
        assert codec_batch.read(stream[:size]) == ([], 0)


REFUSED = {
    "an array of one": ("91", "neither"),
    "an array of three": ("93 01 c401ff 00", "neither"),
    "array 16": ("dc0002 01 c401ff", "neither"),
    "a map": ("81 a3 696c70 01", "neither"),
    "a text": ("a161", "neither"),
    "true": ("c3", "neither"),
    "the byte that MessagePack never uses": ("c1", "neither"),
    "a negative id": ("92 ff", "request id"),
    "a signed id": ("92 d0 01", "request id"),
    "an id as a float": ("92 ca 00000000", "request id"),
    "no id": ("92 c0", "request id"),
    "2**32": ("92 cf 0000000100000000", "request id"),
    "2**64 - 1": ("92 cf ffffffffffffffff", "request id"),
    "a text as a packet": ("92 01 a161", "not a bin"),
    "str 8 as a packet": ("92 01 d90161", "not a bin"),
    "ext 8 as a packet": ("92 01 c70101ff", "not a bin"),
    "no packet": ("92 01 c0", "not a bin"),
    "an empty packet": ("92 01 c400", "no bytes"),
    "an empty bin 32": ("92 01 c600000000", "no bytes"),
    "65,536 bytes": ("92 01 c600010000", "65,535"),
    "4 GiB": ("92 01 c6ffffffff", "65,535"),
}


@pytest.mark.parametrize("raw, reason", REFUSED.values(), ids=REFUSED)
def test_refused_as_soon_as_it_shows(raw: str, reason: str) -> None:
    """The last byte of the shortest prefix that is refused: nothing is waited for in vain."""
    good = codec_batch.frame(1, b"packet")
    with pytest.raises(DecodeError, match=reason):
        codec_batch.read(good + bytes.fromhex(raw))


def reference(stream: bytes) -> tuple[list[tuple[int, bytes]], int] | None:
    """The format by the letter of its page; None where it is broken."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(stream):
        start, first = at, stream[at]
        if first == 0xC0:
            at += 1
            continue
        if first != 0x92:
            return None
        numbers = []
        at += 1
        for widths in ({0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}, {0xC4: 1, 0xC5: 2, 0xC6: 4}):
            if at == len(stream):
                return found, start
            if not numbers and stream[at] < 0x80:
                numbers.append(stream[at])
                at += 1
                continue
            width = widths.get(stream[at])
            if width is None:
                return None
            if at + 1 + width > len(stream):
                return found, start
            numbers.append(int.from_bytes(stream[at + 1 : at + 1 + width], "big"))
            at += 1 + width
            if numbers[0] >= 2**32:
                return None
        request_id, size = numbers
        if not 1 <= size <= 65_535:
            return None
        if at + size > len(stream):
            return found, start
        found.append((request_id, stream[at : at + size]))
        at += size
    return found, at


def read(stream: bytes) -> tuple[list[tuple[int, bytes]], int] | None:
    try:
        return codec_batch.read(stream)
    except DecodeError:
        return None


@given(st.binary(max_size=200))
def test_random_bytes_are_judged_like_the_page_says(raw: bytes) -> None:
    assert read(raw) == reference(raw)


def test_mutated_streams_are_judged_like_the_page_says() -> None:
    source = random.Random(64)
    whole = good = 0
    for _ in range(20_000):
        stream = bytearray()
        for _ in range(source.randint(1, 4)):
            request_id = source.getrandbits(source.choice([3, 8, 16, 32]))
            stream += codec_batch.frame(request_id, source.randbytes(source.choice([1, 9, 300])))
        for _ in range(source.randint(0, 3)):
            stream[source.randrange(min(len(stream), 24))] = source.randrange(256)
        expected = reference(bytes(stream))
        assert read(bytes(stream)) == expected
        good += expected is not None
        whole += expected is not None and expected[1] == len(stream)
    assert 2_000 < whole < good < 18_000


@pytest.mark.parametrize(
    "request_id, packet", [(-1, b"x"), (2**32, b"x"), (1, b""), (1, bytes(65_536))]
)
def test_frame_refuses_what_the_protocol_cannot_hold(request_id: int, packet: bytes) -> None:
    with pytest.raises(UsageError):
        codec_batch.frame(request_id, packet)
