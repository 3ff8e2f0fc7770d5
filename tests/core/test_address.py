"""ILP addresses (RFC 15): the scan of many characters at a time against the rule spelled out, and
the whole rule against a regular expression."""

import re
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastilp._core.packet import is_valid_address, is_valid_prefix
from tests.probe import CHECKOUT, compiled

SIZE_MAX = 1_023
BLOCK_SIZE = 64
ALLOWED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~-."
SCHEME = r"(?:g|private|example|peer|self|test[123]?|local)"
ADDRESS = re.compile(SCHEME + r"(?:\.[A-Za-z0-9_~-]+)+", re.ASCII)
PREFIX = re.compile(SCHEME + r"(?:\.[A-Za-z0-9_~-]+)*", re.ASCII)

PROGRAM = """
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef extern from "address_scan.h" nogil:
    ctypedef struct address_marks_t:
        uint64_t dots
        uint64_t forbidden
    address_marks_t address_marks(const uint8_t* at, size_t size)
    address_marks_t address_marks_portable(const uint8_t* at, size_t size)
    uint64_t address_dots(const uint8_t* at, size_t size)
    uint64_t address_dots_portable(const uint8_t* at, size_t size)
    bint address_segments_hold(const uint8_t* at, size_t size)

cdef bint differ(const uint8_t* at, size_t size) noexcept:
    cdef address_marks_t marks = address_marks(at, size)
    cdef address_marks_t slow = address_marks_portable(at, size)
    return (
        marks.dots != slow.dots or marks.forbidden != slow.forbidden
        or address_dots(at, size) != slow.dots or address_dots_portable(at, size) != slow.dots
    )

def differences(uint8_t fill):
    '''Every byte at every place of every size of a block; the block ends where memory does.'''
    cdef size_t size, place
    cdef int byte
    cdef uint8_t* at
    found = []
    for size in range(1, 65):
        at = <uint8_t*>malloc(size)
        memset(at, fill, size)
        for place in range(size):
            for byte in range(256):
                at[place] = <uint8_t>byte
                if differ(at, size):
                    found.append((size, place, byte))
            at[place] = fill
        free(at)
    return found

def marks(bytes block):
    cdef address_marks_t found = address_marks(block, len(block))
    return found.dots, found.forbidden

def holds(bytes address):
    cdef size_t size = len(address)
    cdef uint8_t* at = <uint8_t*>malloc(size if size else 1)
    memcpy(at, <const uint8_t*>address, size)
    found = bool(address_segments_hold(at, size))
    free(at)
    return found
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    headers = CHECKOUT / "fastilp" / "_core"
    return compiled(
        f"# distutils: include_dirs = {headers}\n{PROGRAM}", tmp_path_factory.mktemp("address")
    )


def bits(block: bytes, chosen: bytes) -> int:
    return sum(1 << place for place, byte in enumerate(block) if byte in chosen)


@pytest.mark.parametrize("fill", [b"a", b".", b"\x00"])
def test_many_at_a_time_are_as_one_by_one(core: ModuleType, fill: bytes) -> None:
    assert core.differences(fill[0]) == []


def test_every_byte(core: ModuleType) -> None:
    everything = bytes(range(256))
    for start in range(0, 256, BLOCK_SIZE):
        block = everything[start : start + BLOCK_SIZE]
        every = (1 << BLOCK_SIZE) - 1
        assert core.marks(block) == (bits(block, b"."), bits(block, ALLOWED) ^ every)


@given(st.lists(st.sampled_from([b"", b"a", b"bc" * 9, b"d" * 63, b"e" * 64]), max_size=12))
def test_empty_segments(core: ModuleType, segments: list[bytes]) -> None:
    assert core.holds(b".".join(segments)) is (bool(segments) and all(segments))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, SIZE_MAX])
def test_every_place(core: ModuleType, size: int) -> None:
    """One character that does not belong, or one dot too many, wherever it stands."""
    good = (b"g.ab" * (size // 4 + 1))[: size - 1] + b"x"
    assert core.holds(good)
    for place in range(size):
        assert not core.holds(good[:place] + b"/" + good[place + 1 :])
        dot = good[:place] + b"." + good[place + 1 :]
        assert core.holds(dot) is all(dot.split(b"."))


CHARACTERS = st.sampled_from("agtpe.._~-09AZ@[`{/:,ä\x00")
NEARLY = st.one_of(
    st.text(CHARACTERS, max_size=80),
    st.builds(
        "{}{}".format,
        st.sampled_from(
            ["g", "g.", "test", "test1", "test4", "peer.", "local", "private.", "exam"]
        ),
        st.text(CHARACTERS, max_size=80),
    ),
)


@given(NEARLY)
@example("g." + "a" * (SIZE_MAX - 2))
@example("g." + "a" * (SIZE_MAX - 1))
@example("g" + ".a" * 511)
@example("g" + ".a" * 511 + ".")
def test_against_a_regular_expression(text: str) -> None:
    fits = len(text) <= SIZE_MAX
    assert is_valid_address(text) is (fits and ADDRESS.fullmatch(text) is not None)
    assert is_valid_prefix(text) is (text == "" or (fits and PREFIX.fullmatch(text) is not None))
