"""What a commit costs: submit changed rows of 10,000 accounts, until their ticket is on the disk.

`idle`: the thread that submitted sleeps meanwhile, as a loop with nothing to do. `saturated`: it
computes in Python all the time and never gives the GIL away; a writer that needed it would starve.
`py_lmdb` is that writer: the same rows put by a Python thread over py-lmdb, in another process.
"""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastilp._core.store import Store

ACCOUNTS = 10_000
ROUNDS = 100
PY_LMDB = Path(__file__).parent / "py_lmdb_commits.py"

counts = pytest.mark.parametrize("count", [1, 100, 1000])
modes = pytest.mark.parametrize("mode", ["idle", "saturated"])


def row(index: int, value: int) -> bytes:
    return index.to_bytes(16, "little") + value.to_bytes(16, "little") * 7


class Subject:
    def __init__(self, path: str) -> None:
        self.store = Store(path)
        self.random = random.Random(1)
        self.ticket = 1
        self.store.write(1, [(index, row(index, 1)) for index in range(ACCOUNTS)])
        self.store.wait(1)

    def rows(self, count: int) -> tuple[tuple[list[tuple[int, bytes]]], dict[str, Any]]:
        self.ticket += 1
        indexes = self.random.sample(range(ACCOUNTS), count)
        return ([(index, row(index, self.ticket)) for index in indexes],), {}

    def commit_idle(self, rows: list[tuple[int, bytes]]) -> None:
        self.store.write(self.ticket, rows)
        assert self.store.wait(self.ticket)

    def commit_saturated(self, rows: list[tuple[int, bytes]]) -> None:
        self.store.write(self.ticket, rows)
        while self.store.committed_ticket < self.ticket:
            pass


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    subject = Subject(str(tmp_path / "data"))
    yield subject
    subject.store.close()


@counts
@modes
def test_commit(benchmark: Any, subject: Subject, count: int, mode: str) -> None:
    commit = subject.commit_idle if mode == "idle" else subject.commit_saturated
    benchmark.pedantic(commit, setup=lambda: subject.rows(count), rounds=ROUNDS)
    assert subject.store.stats()["failures"] == 0


@counts
@modes
def test_commit_by_py_lmdb(benchmark: Any, tmp_path: Path, count: int, mode: str) -> None:
    with subprocess.Popen(
        [sys.executable, PY_LMDB, tmp_path / "data", str(ACCOUNTS), str(count), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        commands, answers = process.stdin, process.stdout
        assert answers.readline() == b"ready\n"

        def commit() -> None:
            commands.write(b"commit\n")
            commands.flush()
            assert answers.readline() == b"committed\n"

        benchmark.pedantic(commit, rounds=ROUNDS // 4)
        commands.close()
