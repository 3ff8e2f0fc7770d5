"""`kill -9` of a process that submits: what it knew to be committed is there and adds up."""

import random
import signal
import subprocess
import time
from pathlib import Path

from fastilp._core.store import Store
from tests.storage.reader import Seen, read
from tests.storage.rows import Books, by_id, command, environment, unpack

ACCOUNTS = 1000
SEED = 7


def run_and_kill(path: Path, start: int, pause: float) -> int:
    """The highest step that the process said was committed before it was killed."""
    process = subprocess.Popen(
        command("submit.py", path, SEED, ACCOUNTS, start),
        env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        assert process.stdout.readline().startswith("open ")
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        # A line may be cut off by the kill.
        lines = [line.split() for line in process.stdout.read().splitlines(keepends=True)
                 if line.endswith("\n")]  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    return max((int(step) for _, step in lines), default=start)


def check(seen: Seen, books: Books, committed: int) -> int:
    """Compare what lies on the disk with books that count along; return its step."""
    step = int(seen.records.get(b"ticket", b"0"))
    assert step >= committed, "a committed ticket is missing"
    for _ in books.steps_to(step):
        pass
    assert books.ticket == step, "the disk is behind an earlier state"
    assert seen.rows == books.rows()
    counters = [unpack(row) for row in seen.rows.values()]
    assert sum(one["debits_posted"] for one in counters) == sum(
        one["credits_posted"] for one in counters
    )
    return step


def test_kills_leave_what_was_committed(tmp_path: Path, soak: bool) -> None:
    path = tmp_path / "data"
    chance = random.Random(11)
    books = Books(SEED, ACCOUNTS)
    step = 0
    rounds = 50 if soak else 5
    for _ in range(rounds):
        committed = run_and_kill(path, step, chance.uniform(0.05, 0.6))
        step = check(read(path), books, committed)
    assert step > rounds, "every run got something done"
    store = Store(str(path))
    assert (store.incarnation, store.was_clean) == (rounds + 1, False)
    assert by_id(store.rows()) == books.rows()
    assert store.get(b"ticket") == b"%d" % step
    assert store.stats()["journal_records"] == 0, "replay leaves an empty journal"
    store.close()
    assert read(path).tickets == []
