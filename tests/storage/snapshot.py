"""What is committed in a store, by py-lmdb and the tests' own reader of the journal, which share no
code with fastilp. For programs of their own: two copies of LMDB in one process lose its locks.
"""

from dataclasses import dataclass
from pathlib import Path

import lmdb

from tests.storage import journal


@dataclass
class Snapshot:
    meta: dict[bytes, bytes]
    rows: dict[bytes, bytes]
    records: dict[bytes, bytes]
    journal: list[journal.Found]
    tickets: list[tuple[int, int]]
    databases: list[str]


def read_once(env: lmdb.Environment, path: Path) -> Snapshot | None:
    """None if the tail moved meanwhile: what was wanted of the file may be written over."""
    names = {name: env.open_db(name, create=False) for name in (b"meta", b"rows", b"records")}
    with env.begin() as txn:
        meta, rows, records = (dict(txn.cursor(handle)) for handle in names.values())
        databases = [key.decode() for key, _ in txn.cursor()]
    found = journal.read(path, meta)
    with env.begin() as txn:
        if dict(txn.cursor(names[b"meta"])) != meta:
            return None
    tickets = [journal.apply(one.body, rows, records) for one in found]
    return Snapshot(meta, rows, records, found, tickets, databases)


def read(path: str) -> Snapshot:
    with lmdb.open(path, max_dbs=8, readonly=True, map_size=1 << 30) as env:
        while True:
            snapshot = read_once(env, Path(path))
            if snapshot is not None:
                return snapshot
