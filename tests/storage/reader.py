"""The independent reader of a store: py-lmdb and `journal`, in another process."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.storage.rows import run


@dataclass
class Seen:
    rows: dict[bytes, bytes]
    records: dict[bytes, bytes]
    tickets: list[tuple[int, int]]
    places: list[tuple[int, int]]
    databases: list[str]
    meta: dict[str, bytes]


def read(path: Path) -> Seen:
    found = json.loads(run("read_store.py", path))

    def from_hex(pairs: dict[str, str]) -> dict[bytes, bytes]:
        return {bytes.fromhex(key): bytes.fromhex(value) for key, value in pairs.items()}

    return Seen(
        rows=from_hex(found["rows"]),
        records=from_hex(found["records"]),
        tickets=[(first, last) for first, last in found["tickets"]],
        places=[(at, end) for at, end in found["places"]],
        databases=found["databases"],
        meta={key: bytes.fromhex(value) for key, value in found["meta"].items()},
    )
