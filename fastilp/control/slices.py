"""Long work in slices of a millisecond: in between, packets have their turn. Imports nothing of
fastilp.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from time import perf_counter
from typing import TypeVar

Item = TypeVar("Item")

_SLICE_SECONDS = 0.001


async def in_slices(items: Iterable[Item]) -> AsyncGenerator[Item, None]:
    """The items, as they are taken."""
    end = perf_counter() + _SLICE_SECONDS
    for item in items:
        yield item
        if perf_counter() >= end:
            await asyncio.sleep(0)
            end = perf_counter() + _SLICE_SECONDS


async def in_pieces(
    opening: bytes, items: Iterable[bytes | None], closing: bytes
) -> AsyncGenerator[bytes, None]:
    """The items with commas between them, a piece per slice. None is nothing but the time that it
    took."""
    piece = bytearray(opening)
    comma = b""
    end = perf_counter() + _SLICE_SECONDS
    for item in items:
        if item is not None:
            piece += comma
            piece += item
            comma = b","
        if perf_counter() >= end:
            yield bytes(piece)
            piece.clear()
            await asyncio.sleep(0)
            end = perf_counter() + _SLICE_SECONDS
    yield bytes(piece + closing)


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, at the latest after so long, when it is set here. Unlike
    `asyncio.wait_for`, which in Python 3.11 forgets a cancellation that comes with the event."""
    timer = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
