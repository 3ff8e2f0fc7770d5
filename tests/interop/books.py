"""A node's ledger as an auditor reads it: by py-lmdb, in a process of its own, from
docs/ledger.md.

Nothing of fastilp is imported, so that the product's reading of its own bytes proves nothing
here. Two copies of LMDB in one process lose its locks, which is why `read` starts this file as
a program.
"""

import json
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import lmdb
import msgpack

COUNTERS = (
    "debits_pending",
    "debits_posted",
    "credits_pending",
    "credits_posted",
    "prepaid_pending",
    "prepaid_posted",
    "debits_relayed",
)
ROW_SIZE = 128
ID_SIZE = 16
ACCOUNT_KEY = b"ledger/account/"
DELETED = 0xFFFFFFFF

Counters = dict[str, int]
Books = dict[str, dict[str, Counters]]


def read(directory: Path) -> Books:
    """Asset `<code>/<scale>` -> account name, the internal ones included -> its seven counters."""
    command = [sys.executable, __file__, str(directory)]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    books: Books = json.loads(output.stdout)
    return books


def assert_balanced(books: Books) -> None:
    """Debits equal credits per asset, pending and posted."""
    for asset, accounts in books.items():
        for kind in ("posted", "pending"):
            debits = sum(counters[f"debits_{kind}"] for counters in accounts.values())
            credits = sum(counters[f"credits_{kind}"] for counters in accounts.values())
            assert debits == credits, f"{asset} {kind}: {accounts}"


def balances(books: Books, assets: Mapping[str, str], *, settled: bool = False) -> dict[str, int]:
    """Per account its balance as the API shows it; `settled`: once what is pending is given up."""
    rows = {name: books[asset][name] for name, asset in assets.items()}
    return {
        name: row["credits_posted"] - row["debits_posted"] - (not settled and row["debits_pending"])
        for name, row in rows.items()
    }


def journal_record(record: bytes, rows: dict[bytes, bytes], records: dict[bytes, bytes]) -> None:
    """Apply one: rows are absolute, control records are put or deleted in order."""
    _, _, row_count, control_count, _, _, _ = struct.unpack_from("<HHIIIQQ", record)
    offset = struct.calcsize("<HHIIIQQ")
    for _ in range(row_count):
        row = record[offset : offset + ROW_SIZE]
        rows[row[:ID_SIZE]] = row
        offset += ROW_SIZE
    for _ in range(control_count):
        key_size, value_size = struct.unpack_from("<II", record, offset)
        offset += 8
        key = record[offset : offset + key_size]
        offset += key_size
        if value_size == DELETED:
            records.pop(key, None)
            continue
        records[key] = record[offset : offset + value_size]
        offset += value_size
    assert offset == len(record), "a journal record has bytes too many or too few"


def from_lmdb(directory: str) -> Books:
    with lmdb.open(directory, readonly=True, max_dbs=8) as environment:
        databases = {
            name: environment.open_db(name.encode(), create=False)
            for name in ("rows", "records", "journal")
        }
        with environment.begin() as transaction:
            rows = dict(transaction.cursor(databases["rows"]))
            records = dict(transaction.cursor(databases["records"]))
            for _, record in transaction.cursor(databases["journal"]):
                journal_record(record, rows, records)
    books: Books = {}
    for key, value in records.items():
        if key.startswith(ACCOUNT_KEY):
            _, name, code, scale, *_ = msgpack.unpackb(value)
            row = rows.get(key[len(ACCOUNT_KEY) :], bytes(ROW_SIZE))
            numbers = [
                int.from_bytes(row[start : start + 16], "little")
                for start in range(ID_SIZE, ROW_SIZE, 16)
            ]
            books.setdefault(f"{code}/{scale}", {})[name] = dict(
                zip(COUNTERS, numbers, strict=True)
            )
    return books


if __name__ == "__main__":
    print(json.dumps(from_lmdb(sys.argv[1])))
