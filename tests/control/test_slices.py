"""Long work in slices: nothing is lost or twice, and in between others have their turn."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from fastilp.control.slices import in_pieces, in_slices

SLOW_SECONDS = 0.002
"""Longer than a slice."""


def slowly(count: int) -> Iterator[int]:
    for number in range(count):
        end = time.perf_counter() + SLOW_SECONDS
        while time.perf_counter() < end:
            pass
        yield number


async def turns_of_others(done: asyncio.Event) -> int:
    turns = 0
    while not done.is_set():
        await asyncio.sleep(0)
        turns += 1
    return turns


def test_others_have_their_turn() -> None:
    async def run() -> None:
        for work in (in_slices(slowly(10)), in_pieces(b"", (b"%d" % n for n in slowly(10)), b"")):
            done = asyncio.Event()
            others = asyncio.create_task(turns_of_others(done))
            taken = [each async for each in work]
            done.set()
            assert await others >= 10
            assert len(taken) >= 10

    asyncio.run(run())


@pytest.mark.parametrize(
    ("items", "whole"),
    [
        ([], b"[]"),
        ([None], b"[]"),
        ([b"1"], b"[1]"),
        ([None, b"1", None, None, b"2", None], b"[1,2]"),
        ([b"%d" % number for number in range(5_000)], b"[%s]" % b",".join(
            b"%d" % number for number in range(5_000)
        )),
    ],
)  # fmt: skip
def test_pieces_are_a_whole(items: list[bytes | None], whole: bytes) -> None:
    async def run() -> bytes:
        return b"".join([piece async for piece in in_pieces(b"[", iter(items), b"]")])

    assert asyncio.run(run()) == whole


def test_slices_are_everything_in_order() -> None:
    async def run() -> list[int]:
        return [each async for each in in_slices(range(10_000))]

    assert asyncio.run(run()) == list(range(10_000))
