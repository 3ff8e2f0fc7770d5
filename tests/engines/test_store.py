"""An engine's store: what walks over a table, and what it says of its room."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fastilp.engines import store
from fastilp.engines.store import ENGINE, Change, Store


@pytest.mark.asyncio
async def test_a_walk_meets_each_record_once_and_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it deletes what it meets, at the ends of its slices too."""
    monkeypatch.setattr(store, "SLICE", 7)
    found, turns = Store(tmp_path), 0
    met: list[str] = []
    with found.write() as change:
        for number in range(50):
            change.put(ENGINE, f"{number:02}", number)

    def visit(change: Change, name: str, record: Any) -> None:
        met.append(name)
        if record % 2 or record % 7 == 6:
            change.delete(ENGINE, name)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await found.walk(ENGINE, visit)
    other.cancel()
    assert met == [f"{number:02}" for number in range(50)]
    assert turns >= 7
    with found.read() as view:
        left = [record for _, record in view.items(ENGINE)]
        assert left == [n for n in range(50) if not (n % 2 or n % 7 == 6)]
        assert view.page(ENGINE, "", 3) == [("00", 0), ("02", 2), ("04", 4)]
        assert view.page(ENGINE, "04", 1) == [("08", 8)]
        assert view.page(ENGINE, "zz", 1) == []
        assert view.first(ENGINE, "1") == ("10", 10)
        for nothing in ("5", "x"):
            with pytest.raises(LookupError):
                view.first(ENGINE, nothing)
    found.close()


def test_what_is_freed_is_room_again(tmp_path: Path) -> None:
    """The file does not get smaller, and that is no lack of room."""
    found, count = Store(tmp_path, 1 << 22), 0
    while not found.problem():
        with found.write() as change:
            for number in range(count, count + 20):
                change.put(ENGINE, f"{number:06}", "x" * 1_000)
        count += 20
    assert "of 4194304: raise store_bytes_max" in found.problem()
    for start in range(0, count, 20):
        with found.write() as change:
            for number in range(start, start + 20):
                assert change.delete(ENGINE, f"{number:06}")
    assert found.problem() == ""
    found.close()
