"""What a commit costs: submit changed rows of 10,000 accounts, until their ticket is on the disk.

`idle`: the thread that submitted sleeps meanwhile, as a loop with nothing to do. `saturated`: it
computes in Python all the time and never gives the GIL away; a writer that needed it would starve.
`py_lmdb` is that writer: the same rows put by a Python thread over py-lmdb, in another process.

A commit waits for the disk once (py-lmdb's twice: pages, then the page that makes them valid) and
wakes two threads, so it is compared in interleaved rounds, with `fdatasync` of one page alone
beside it: on a machine that is busy with other things all of them mostly wait for a processor.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
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


class PyLmdb:
    """The other writer, in its own process."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None and process.stdout is not None
        self.commands, self.answers = process.stdin, process.stdout
        assert self.answers.readline() == b"ready\n"

    def commit(self) -> int:
        """How long it took, ns, measured in that process."""
        self.commands.write(b"commit\n")
        self.commands.flush()
        return int(self.answers.readline())


@contextmanager
def py_lmdb(path: Path, count: int, mode: str) -> Iterator[PyLmdb]:
    with subprocess.Popen(
        [sys.executable, PY_LMDB, path, str(ACCOUNTS), str(count), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        other = PyLmdb(process)
        yield other
        other.commands.close()


@counts
def test_commit_saturated_by_py_lmdb(benchmark: Any, tmp_path: Path, count: int) -> None:
    with py_lmdb(tmp_path / "data", count, "saturated") as other:
        benchmark.pedantic(other.commit, rounds=ROUNDS // 10)


def synced_page_ns(fd: int) -> int:
    """One page written over and synced: the least that a commit can wait for."""
    start = time.perf_counter_ns()
    os.pwrite(fd, bytes(4_096), 0)
    os.fdatasync(fd)
    return time.perf_counter_ns() - start


@counts
def test_idle_commits_interleaved(
    benchmark: Any, subject: Subject, tmp_path: Path, count: int
) -> None:
    figures = []

    def one_of_each() -> None:
        (rows,), _ = subject.rows(count)
        start = time.perf_counter_ns()
        subject.commit_idle(rows)
        ours = time.perf_counter_ns() - start
        figures.append((ours, other.commit(), synced_page_ns(page)))

    page = os.open(tmp_path / "page", os.O_RDWR | os.O_CREAT)
    try:
        with py_lmdb(tmp_path / "other", count, "idle") as other:
            benchmark.pedantic(one_of_each, rounds=ROUNDS, warmup_rounds=1)
    finally:
        os.close(page)
    names = ("commit_us", "py_lmdb_us", "fdatasync_us")
    medians = [median(column) / 1e3 for column in zip(*figures, strict=True)]
    columns = dict(zip(names, medians, strict=True))
    benchmark.extra_info.update(columns)
    print("\nidle,", count, "rows:", ", ".join(f"{k} {v:,.0f}" for k, v in columns.items()))
