"""Payments that are nobody's yet: bounded, the largest are kept, and none is looked for among all
the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastilp.engines import parking
from fastilp.engines.connector import Connector
from fastilp.engines.context import OwnChange
from fastilp.engines.credits import Credits
from fastilp.engines.parking import credit_parked, park, parked_count
from fastilp.engines.store import CREDITS, ENGINE, Store
from tests.engines.world import settings


class Lot:
    def __init__(self, directory: Path) -> None:
        self.store = Store(directory / "engine")
        self._credits = Credits(
            self.store, Connector("http://127.0.0.1:1", None), settings(directory)
        )

    @contextmanager
    def change(self) -> Iterator[OwnChange]:
        with self.store.write() as change:
            yield OwnChange(change, self._credits)

    def credits(self) -> dict[str, tuple[str, str]]:
        with self.store.read() as view:
            found = view.items(CREDITS)
        return {key: (record["account"], record["amount"]) for key, record in found}


@pytest.fixture
def lot(tmp_path: Path) -> Iterator[Lot]:
    found = Lot(tmp_path)
    yield found
    found.store.close()


def test_an_owner_gets_what_was_parked_for_it_once(lot: Lot) -> None:
    with lot.change() as change:
        for _ in range(2):
            park(change, "0xaa", "one", 2**256 - 1)
            park(change, "0xaa", "two", 5)
        park(change, "0xaab", "three", 7)
        assert parked_count(change) == 3
        credit_parked(change, "alice", "0xaa", 18)
        assert parked_count(change) == 1
        park(change, "0xaa", "one", 2**256 - 1)
        credit_parked(change, "bob", "0xaa", 18)
    assert lot.credits() == {"one": ("alice", str(2**256 - 1)), "two": ("alice", "5")}


def test_dust_gives_way_to_money(lot: Lot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKED_MAX", 20)
    with lot.change() as change:
        for number in range(40):
            park(change, f"dust-{number}", f"{number:064x}", 1 + number % 3)
        assert parked_count(change) == 20
        park(change, "0xbb", "money", 10**18)
        park(change, "0xbb", "more", 10**19)
        for number in range(40, 80):
            park(change, f"dust-{number}", f"{number:064x}", 3)
        assert parked_count(change) == 20
        credit_parked(change, "alice", "0xbb", 18)
        assert parked_count(change) == 18
        # Nothing is left of those that went.
        assert len(change.items("parked/")) == len(change.items("parked-size/")) == 18
    assert lot.credits() == {"money": ("alice", str(10**18)), "more": ("alice", str(10**19))}


def test_a_full_lot_is_not_searched(lot: Lot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further payment reads a few records, however many there are."""
    monkeypatch.setattr(parking, "PARKED_MAX", 3_000)
    with lot.change() as change:
        for number in range(3_000):
            park(change, "dust", f"{number:064x}", 1)
    read: list[str] = []
    with lot.change() as change:
        items = change._view.items

        def watched(table: bytes, prefix: str = "") -> list[tuple[str, object]]:
            found = items(table, prefix)
            read.extend(name for name, _ in found)
            return found

        monkeypatch.setattr(change._view, "items", watched)
        for number in range(200):
            park(change, "else", f"{number:064x}", 2)
        credit_parked(change, "alice", "else", 6)
        assert parked_count(change) == 2_800
        # Once, those that are credited.
        assert len(read) == 200
        assert change._view.count(ENGINE) == 2 * 2_800 + 1
    assert len(lot.credits()) == 200
