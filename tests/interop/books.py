"""A node's ledger as an auditor reads it: by py-lmdb and the tests' own reader of the journal, in a
process of its own, from docs/ledger.md.

Nothing of fastilp is imported, so that the product's reading of its own bytes proves nothing
here. Two copies of LMDB in one process lose its locks, which is why `read` starts this file as
a program.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgpack

from tests.storage.rows import environment as with_tests
from tests.storage.snapshot import read as snapshot_of

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

Counters = dict[str, int]
Books = dict[str, dict[str, Counters]]


def read(directory: Path) -> Books:
    """Asset `<code>/<scale>` -> account name, the internal ones included -> its seven counters."""
    command = [sys.executable, __file__, str(directory)]
    output = subprocess.run(command, capture_output=True, text=True, check=False, env=with_tests())
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


def from_disk(directory: str) -> Books:
    snapshot = snapshot_of(directory)
    books: Books = {}
    for key, value in snapshot.records.items():
        if key.startswith(ACCOUNT_KEY):
            _, name, code, scale, *_ = msgpack.unpackb(value)
            row = snapshot.rows.get(key[len(ACCOUNT_KEY) :], bytes(ROW_SIZE))
            numbers = [
                int.from_bytes(row[start : start + 16], "little")
                for start in range(ID_SIZE, ROW_SIZE, 16)
            ]
            books.setdefault(f"{code}/{scale}", {})[name] = dict(
                zip(COUNTERS, numbers, strict=True)
            )
    return books


if __name__ == "__main__":
    print(json.dumps(from_disk(sys.argv[1])))
