"""An engine's store: LMDB in a directory of its own, by py-lmdb. Imports errors.

py-lmdb and not the node's store: an engine is a process of its own, writes a few records per
settlement, and wants transactions in Python. Promises: a change is on the disk, whole, when its
`with` ends without an exception, and nothing of it is there otherwise. Records are JSON, so that a
person can read what became of money; numbers that may be large are texts.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import orjson

from fastilp.errors import StorageError

# The file grows as needed up to this; an account takes some 100 bytes, a settlement 500.
BYTES_MAX = 1 << 30
# What is not about money may fill three quarters: the last one is for payments and credits.
_ROOM_PARTS, _PARTS = 3, 4
# A transaction with more of them would hold up what else the process does.
SLICE = 500
# LMDB's own limit for a key; account ids and idempotency keys are shorter.
NAME_BYTES_MAX = 511

ACCOUNTS, ANSWERS, PAYMENTS, PAID, CREDITS, LEFTOVERS, ENGINE = TABLES = (
    b"accounts",
    b"answers",
    b"payments",
    b"paid",
    b"credits",
    b"leftovers",
    b"engine",
)


class Store:
    """Of one process at a time; a second one is refused, as both would pay."""

    def __init__(self, data_dir: Path, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._lock = _locked(data_dir)
        try:
            self._environment = lmdb.open(
                str(data_dir), map_size=bytes_max, max_dbs=len(TABLES), mode=0o600
            )
            self._tables = {name: self._environment.open_db(name) for name in TABLES}
        except lmdb.Error as error:
            os.close(self._lock)
            raise StorageError(f"{data_dir}: {error}") from None

    def close(self) -> None:
        self._environment.close()
        os.close(self._lock)

    @contextmanager
    def read(self) -> Iterator["View"]:
        with self._environment.begin() as transaction:
            yield View(transaction, self._tables)

    @contextmanager
    def write(self) -> Iterator["Change"]:
        """Raises StorageError if the disk refuses; then nothing has been written."""
        try:
            with self._environment.begin(write=True) as transaction:
                yield Change(transaction, self._tables)
        except lmdb.Error as error:
            raise StorageError(f"the store refuses: {error}") from None

    def check_room(self) -> None:
        """Before something is written that is not about money. Raises StorageError."""
        if self.problem():
            raise StorageError(self.problem())

    def problem(self) -> str:
        """A sentence for an operator; empty while there is room."""
        used = self.used_bytes()
        if used * _PARTS < self._bytes_max * _ROOM_PARTS:
            return ""
        return f"the store has {used} bytes of {self._bytes_max}: raise store_bytes_max"

    def used_bytes(self) -> int:
        """Without what was freed: the file itself never gets smaller."""
        with self._environment.begin() as transaction:
            found = [transaction.stat(table) for table in self._tables.values()]
        return sum(
            each["psize"] * (each["branch_pages"] + each["leaf_pages"] + each["overflow_pages"])
            for each in found
        )

    async def walk(self, table: bytes, act: Callable[["Change", str, Any], None]) -> None:
        """`act` on every record, a few in a transaction, and others get their turn in between."""
        after = ""
        while True:
            with self.write() as change:
                records = change.page(table, after, SLICE)
                for name, record in records:
                    act(change, name, record)
            if len(records) < SLICE:
                return
            after = records[-1][0]
            await asyncio.sleep(0)


class View:
    """All tables at one moment."""

    def __init__(self, transaction: lmdb.Transaction, tables: dict[bytes, Any]) -> None:
        self._transaction = transaction
        self._tables = tables

    def get(self, table: bytes, name: str) -> Any:
        """The record, or None."""
        raw = self._transaction.get(_key(name), db=self._tables[table])
        return None if raw is None else orjson.loads(raw)

    def items(self, table: bytes, prefix: str = "") -> list[tuple[str, Any]]:
        """In the order of their names."""
        start, found = prefix.encode(), []
        with self._transaction.cursor(self._tables[table]) as cursor:
            if cursor.set_range(start) if start else cursor.first():
                for key, raw in cursor:
                    name = bytes(key)
                    if not name.startswith(start):
                        break
                    found.append((name.decode(), orjson.loads(raw)))
        return found

    def page(self, table: bytes, after: str, size: int) -> list[tuple[str, Any]]:
        """In the order of their names; `after` this one, or from the beginning."""
        found: list[tuple[str, Any]] = []
        with self._transaction.cursor(self._tables[table]) as cursor:
            if not (cursor.set_range(after.encode() + b"\0") if after else cursor.first()):
                return found
            for key, raw in cursor:
                found.append((bytes(key).decode(), orjson.loads(raw)))
                if len(found) == size:
                    break
        return found

    def page_back(self, table: bytes, before: str, size: int) -> list[tuple[str, Any]]:
        """Against the order of their names; `before` this one, or from the end."""
        found: list[tuple[str, Any]] = []
        with self._transaction.cursor(self._tables[table]) as cursor:
            is_there = cursor.prev() if before and cursor.set_range(before.encode()) else None
            if is_there is None:
                is_there = cursor.last()
            while is_there and len(found) < size:
                found.append((bytes(cursor.key()).decode(), orjson.loads(cursor.value())))
                is_there = cursor.prev()
        return found

    def first(self, table: bytes, prefix: str) -> tuple[str, Any]:
        """Of those with the prefix. Raises LookupError if there is none."""
        with self._transaction.cursor(self._tables[table]) as cursor:
            if not cursor.set_range(prefix.encode()):
                raise LookupError(prefix)
            name, raw = bytes(cursor.key()).decode(), orjson.loads(cursor.value())
        if not name.startswith(prefix):
            raise LookupError(prefix)
        return name, raw

    def count(self, table: bytes) -> int:
        return int(self._transaction.stat(self._tables[table])["entries"])


class Change(View):
    """A view that can be written; sees what it has written itself."""

    def put(self, table: bytes, name: str, record: Any) -> None:
        self._transaction.put(_key(name), orjson.dumps(record), db=self._tables[table])

    def delete(self, table: bytes, name: str) -> bool:
        return bool(self._transaction.delete(_key(name), db=self._tables[table]))


def _key(name: str) -> bytes:
    key = name.encode()
    if not 0 < len(key) <= NAME_BYTES_MAX:
        raise StorageError(f"a name of {len(key)} bytes, must be 1 to {NAME_BYTES_MAX}")
    return key


def _locked(data_dir: Path) -> int:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "engine.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(f"{data_dir}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StorageError(f"{data_dir}: another engine has it; each needs its own") from None
    return descriptor
