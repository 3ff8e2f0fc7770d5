"""Reads a store with py-lmdb, which shares no code with fastilp, and prints what is in it as JSON.

Always a process of its own: two copies of LMDB in one process lose its locks.
"""

import json
import struct
import sys
from typing import Any

import lmdb

HEADER = struct.Struct("<HHIIIQQ")
CONTROL = struct.Struct("<II")


def controls(data: bytes) -> list[tuple[bytes, bytes | None]]:
    found: list[tuple[bytes, bytes | None]] = []
    while data:
        key_size, value_size = CONTROL.unpack_from(data)
        deleted = value_size == 0xFFFFFFFF
        key_end = CONTROL.size + key_size
        end = key_end + (0 if deleted else value_size)
        assert end <= len(data), "a control record is cut off"
        found.append((data[CONTROL.size : key_end], None if deleted else data[key_end:end]))
        data = data[end:]
    return found


def replay(value: bytes, rows: dict[bytes, bytes], records: dict[bytes, bytes]) -> tuple[int, int]:
    version, _, row_count, control_count, _, first, ticket = HEADER.unpack_from(value)
    assert version == 1
    end = HEADER.size + 128 * row_count
    for at in range(HEADER.size, end, 128):
        rows[value[at : at + 16]] = value[at : at + 128]
    changes = controls(value[end:])
    assert len(changes) == control_count
    for key, data in changes:
        if data is None:
            records.pop(key, None)
        else:
            records[key] = data
    return first, ticket


def read(path: str) -> dict[str, Any]:
    with lmdb.open(path, max_dbs=8, readonly=True, map_size=1 << 30) as env:
        names = {name: env.open_db(name) for name in (b"meta", b"journal", b"rows", b"records")}
        with env.begin() as txn:
            rows = dict(txn.cursor(names[b"rows"]))
            records = dict(txn.cursor(names[b"records"]))
            tickets = []
            for key, value in txn.cursor(names[b"journal"]):
                first, ticket = replay(value, rows, records)
                assert key == ticket.to_bytes(8, "big") and first <= ticket
                tickets.append((first, ticket))
            meta = dict(txn.cursor(names[b"meta"]))
    return {
        "rows": {key.hex(): value.hex() for key, value in rows.items()},
        "records": {key.hex(): value.hex() for key, value in records.items()},
        "tickets": tickets,
        "meta": {key.decode(): value.hex() for key, value in meta.items()},
    }


if __name__ == "__main__":
    json.dump(read(sys.argv[1]), sys.stdout)
