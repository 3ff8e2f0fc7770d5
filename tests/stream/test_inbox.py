"""Data that comes in pieces: in any order, twice, overlapping, too much of it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp.stream.inbox import PIECES_MAX, WINDOW_SIZE, Inbox


@given(st.binary(min_size=1, max_size=3_000), st.integers(0, 2**32), st.integers(1, 400))
def test_any_order_reads_the_same(data: bytes, seed: int, size: int) -> None:
    random, inbox, read = Random(seed), Inbox(), b""
    pieces = [(start, data[start : start + size]) for start in range(0, len(data), size)]
    # Some again, and some that overlap.
    for _ in range(5):
        start = random.randrange(len(data))
        pieces.append((start, data[start : start + random.randrange(1, size + 1)]))
    random.shuffle(pieces)
    for offset, piece in pieces:
        before = inbox.taken
        news = inbox.put(offset, piece)
        if random.random() < 0.3:
            taken = inbox.take()
            assert not news or taken
            read += taken
            assert inbox.taken == before + len(taken)
    read += inbox.take()
    assert read == data
    assert inbox.take() == b""


def test_the_window_moves_with_the_reader() -> None:
    inbox = Inbox()
    assert inbox.limit == WINDOW_SIZE
    assert inbox.put(0, bytes(WINDOW_SIZE))
    assert not inbox.put(WINDOW_SIZE, b"x")
    assert inbox.limit == WINDOW_SIZE
    assert len(inbox.take()) == WINDOW_SIZE
    assert inbox.limit == 2 * WINDOW_SIZE
    assert inbox.put(WINDOW_SIZE, b"x")
    assert inbox.take() == b"x"


@pytest.mark.parametrize("offset", [WINDOW_SIZE - 1, WINDOW_SIZE, 2**63, 2**64 - 1])
def test_what_is_beyond_the_window_is_not_kept(offset: int) -> None:
    inbox = Inbox()
    assert not inbox.put(offset, b"xx")
    assert not inbox.put(0, b"")
    assert inbox.take() == b""


def test_pieces_that_wait_are_counted() -> None:
    inbox = Inbox()
    for offset in range(2, 2 * PIECES_MAX + 10, 2):
        assert not inbox.put(offset, b"x")
    assert len(inbox._pieces) == PIECES_MAX
