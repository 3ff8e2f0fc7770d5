"""The store beside two dicts: written, folded, closed, dropped or copied, they agree."""

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastilp._core.store import Store
from tests.storage.rows import account_id, by_id, pack

indexes = st.integers(0, 40)
keys = st.binary(min_size=1, max_size=3)


class StoreMachine(RuleBasedStateMachine):
    @initialize(sync=st.booleans(), map_size=st.sampled_from([1, 1 << 20]))
    def open(self, sync: bool, map_size: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fastilp-store-"))
        self.options = {"sync": sync, "map_size": map_size, "preallocate": 1 << 18}
        self.rows: dict[bytes, bytes] = {}
        self.records: dict[bytes, bytes] = {}
        self.opened = self.copies = 0
        self.reopen()

    def reopen(self) -> None:
        self.store = Store(str(self.folder / "data"), **self.options)  # type: ignore[arg-type]
        self.opened += 1
        self.ticket = 0
        assert self.store.incarnation == self.opened

    @rule(
        values=st.dictionaries(indexes, st.integers(0, 2**128 - 1), max_size=20),
        puts=st.dictionaries(keys, st.binary(max_size=5000), max_size=4),
        deletes=st.sets(keys, max_size=3),
        gap=st.integers(1, 3),
    )
    def write(
        self, values: dict[int, int], puts: dict[bytes, bytes], deletes: set[bytes], gap: int
    ) -> None:
        self.ticket += gap
        rows = [(index, pack(index, credits_posted=value)) for index, value in values.items()]
        self.store.write(self.ticket, rows, puts.items(), deletes)
        self.rows |= {account_id(index): row for index, row in rows}
        self.records |= puts
        for key in deletes:
            self.records.pop(key, None)

    @rule()
    def commit(self) -> None:
        assert self.store.wait(self.ticket)
        assert self.store.committed_ticket == self.ticket
        assert by_id(self.store.rows()) == self.rows

    @rule()
    def fold(self) -> None:
        assert self.store.wait(self.ticket)
        while self.store.stats()["journal_records"]:
            time.sleep(0.005)

    @rule(close=st.booleans())
    def restart(self, close: bool) -> None:
        if close:
            self.store.close()
        del self.store
        self.reopen()
        assert self.store.was_clean
        assert by_id(self.store.rows()) == self.rows

    @precondition(lambda self: self.copies < 3)
    @rule()
    def copy(self) -> None:
        self.copies += 1
        assert self.store.wait(self.ticket)
        path = str(self.folder / f"copy{self.copies}")
        self.store.backup(path)
        copy = Store(path, read_only=True)
        assert by_id(copy.rows()) == self.rows
        assert dict(copy.items()) == self.records
        copy.close()

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.store.get(key) == self.records.get(key)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "store"):
            assert list(self.store.items()) == sorted(self.records.items())
            prefix = [item for item in sorted(self.records.items()) if item[0][0] == 0]
            assert list(self.store.items(b"\0")) == prefix

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


TestStoreModel = pytest.mark.property(StoreMachine.TestCase)
TestStoreModel.settings = settings(max_examples=30, stateful_step_count=30)
