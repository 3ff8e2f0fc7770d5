"""A copy of a store that can be trusted: made while the node runs, then read once from end to end.

May import `_core` and errors. Promises that what it returns for is on the disk, and that the node's
own files are only read.
"""

import os
from dataclasses import dataclass

from fastilp._core.store import Store


@dataclass(frozen=True, slots=True)
class Backup:
    """What the copy holds."""

    node_id: bytes
    incarnation: int
    accounts: int
    records: int
    size: int
    """Bytes on the disk."""


def backup(data_dir: str, target: str) -> Backup:
    """Copy the store in `data_dir` as of its last commit into the empty or new directory `target`.
    For a process that has not opened the store itself; its own one is copied by `Store.backup`.
    Raises StorageError."""
    source = Store(data_dir, read_only=True)
    try:
        source.backup(target)
    finally:
        source.close()
    return inspect(target)


def inspect(path: str) -> Backup:
    """Read every row and record of a store without changing it. Raises StorageError where one is
    damaged."""
    store = Store(path, read_only=True)
    try:
        return Backup(
            node_id=store.node_id,
            incarnation=store.incarnation,
            accounts=len(store.rows()),
            records=sum(1 for _ in store.items()),
            size=os.stat(os.path.join(path, "data.mdb")).st_size,
        )
    finally:
        store.close()
