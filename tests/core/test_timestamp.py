"""Timestamps of a Prepare against the calendar of Python's datetime."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.packet import Prepare
from fastilp.errors import DecodeError, UsageError
from tests.vectors import load

MS_MIN = -62_135_596_800_000
MS_MAX = 253_402_300_799_999
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VECTORS = load("timestamps")


def prepare(expires_at):
    return Prepare(
        amount=1, expires_at=expires_at, execution_condition=bytes(32), destination="g.a"
    )


def written(expires_at) -> bytes:
    return bytes(prepare(expires_at))[10:27]


def read(digits: bytes) -> int:
    """As it stands in a packet; digits that are not 17 move what follows, as a bad peer would."""
    head = (0).to_bytes(8, "big") + digits
    content = head + bytes(32) + b"\x03g.a\x00"
    return Prepare.decode(b"\x0c" + bytes([len(content)]) + content).expires_at_ms


def digits_of(moment: datetime) -> bytes:
    return (
        f"{moment.year:04}{moment.month:02}{moment.day:02}{moment.hour:02}"
        f"{moment.minute:02}{moment.second:02}{moment.microsecond // 1000:03}"
    ).encode()


def moment_of(unix_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=unix_ms)


@pytest.mark.parametrize("vector", [pytest.param(one, id=one["name"]) for one in VECTORS])
def test_vectors(vector):
    digits = vector["text"].encode()
    if vector["valid"]:
        assert read(digits) == vector["unix_ms"]
        assert written(vector["unix_ms"]) == digits
    else:
        with pytest.raises(DecodeError):
            read(digits)


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(one, id=one["name"])
        for one in VECTORS
        if not one["valid"] and len(one["text"]) == 17
    ],
)
def test_fault_is_named(vector):
    with pytest.raises(DecodeError, match="expiresAt"):
        read(vector["text"].encode())


def test_every_day_of_a_calendar_cycle():
    """400 years of days, both ways, with the days around them that do not exist."""
    for day in range(146_097):
        moment = EPOCH + timedelta(days=day)
        assert written(day * 86_400_000) == digits_of(moment)
    for year in (1800, 1900, 1999, 2000, 2004, 2100, 2200, 2400):
        for month in range(14):
            for day in range(33):
                digits = f"{year:04}{month:02}{day:02}000000000".encode()
                try:
                    expected = datetime(year, month, day, tzinfo=UTC)
                except ValueError:
                    with pytest.raises(DecodeError, match="expiresAt"):
                        read(digits)
                else:
                    assert read(digits) == (expected - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize("octet", [b"\x00", b"0", b"\xff"])
def test_the_same_byte_throughout_is_no_date(octet):
    """Not even where no date was read before."""
    with pytest.raises(DecodeError):
        read(octet * 8 + b"120000000")


@pytest.mark.parametrize("offset", range(17))
def test_any_other_byte(offset):
    good = b"20200220202020202"
    for byte in range(256):
        digits = good[:offset] + bytes([byte]) + good[offset + 1 :]
        if not 48 <= byte <= 57:
            with pytest.raises(DecodeError, match="expiresAt"):
                read(digits)


@given(st.integers(MS_MIN, MS_MAX))
def test_write_is_the_calendar(unix_ms):
    assert written(unix_ms) == digits_of(moment_of(unix_ms))
    assert read(digits_of(moment_of(unix_ms))) == unix_ms


@given(st.text("0123456789", min_size=17, max_size=17))
def test_read_is_the_calendar(text):
    parts = [int(text[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))]
    try:
        expected = datetime(*parts, int(text[14:]) * 1000, tzinfo=UTC)
    except ValueError:
        with pytest.raises(DecodeError, match="expiresAt"):
            read(text.encode())
    else:
        assert read(text.encode()) == (expected - EPOCH) // timedelta(milliseconds=1)


@given(
    st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 12, 31),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
    )
)
def test_datetime_is_cut_to_milliseconds(moment):
    shown = prepare(moment).expires_at
    assert shown.utcoffset() == timedelta(0)
    assert timedelta(0) <= moment - shown < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("expires_at", "fault"),
    [
        (datetime(2020, 1, 1), "time zone"),
        (MS_MIN - 1, "between the years"),
        (MS_MAX + 1, "between the years"),
        (10**30, "between the years"),
        ("20200101000000000", "datetime or int"),
        (1.5, "datetime or int"),
    ],
)
def test_what_cannot_be_written(expires_at, fault):
    with pytest.raises(UsageError, match=fault):
        prepare(expires_at)
