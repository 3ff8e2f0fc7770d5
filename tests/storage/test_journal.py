"""The journal's file: what a crash leaves in it, what does not belong there, coming round, growing.

Files are made by hand from the description in docs/ledger.md.
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastilp._core.store import Store
from fastilp.errors import StorageError
from tests.storage import journal
from tests.storage.journal import BLOCK, body, record
from tests.storage.reader import read
from tests.storage.rows import account_id, command, environment, pack, run, unpack

ID = 0x0123456789ABCDEF


def edit(path: Path, database: str, key: bytes, value: bytes) -> None:
    run("edit_store.py", path, database, key.hex(), value.hex())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one account and one record, closed."""
    store = Store(str(tmp_path / "data"), map_size=1 << 20)
    store.write(1, [(0, pack(0, debits_posted=3))], [(b"a", b"1")])
    store.close()
    return tmp_path / "data"


def put(path: Path, *records: bytes, at: int = BLOCK, sequence: int = 1) -> None:
    """These records behind each other, the first one at the tail."""
    node_id = read(path).meta["node_id"]
    edit(path, "meta", b"journal", journal.tail(ID, at, sequence))
    whole = journal.file_header(node_id, ID).ljust(at, b"\0") + b"".join(records)
    (path / "journal").write_bytes(whole)


def change(path: Path, at: int, data: bytes) -> None:
    with (path / "journal").open("r+b") as file:
        file.seek(at)
        file.write(data)


def debits(*posted: int) -> list[bytes]:
    """A record for each: account 0 has so much."""
    return [
        record(body(number, pack(0, debits_posted=amount)), ID, number)
        for number, amount in enumerate(posted, 1)
    ]


def found(path: Path) -> int:
    """What account 0 has, said by readers and by a writer alike."""
    reader = Store(str(path), read_only=True)
    rows = reader.rows()
    reader.close()
    store = Store(str(path))
    assert store.rows() == rows
    store.close()
    (row,) = rows
    return unpack(row)["debits_posted"]


def test_records_are_replayed(path: Path) -> None:
    put(path, record(body(9, pack(0, debits_posted=9)), ID, 1),
        record(body(10, pack(1, credits_posted=9)), ID, 2))  # fmt: skip
    for read_only in (True, False):
        store = Store(str(path), read_only=read_only)
        assert sorted(store.rows()) == [pack(0, debits_posted=9), pack(1, credits_posted=9)]
        assert list(store.items()) == [(b"a", b"1"), (b"key", b"value")]
        assert store.get(b"key") == b"value"
        store.close()
    seen = read(path)
    assert seen.tickets == [] and "journal" not in seen.meta


@pytest.mark.parametrize("at", [4, 16, 50, 63, 64, 200, 239])
def test_a_torn_last_record_was_never_committed(path: Path, at: int) -> None:
    put(path, *debits(4, 5, 6))
    change(path, 3 * BLOCK + at, b"\xff")
    assert found(path) == 5


@pytest.mark.parametrize("size", [0, 10, 64, 100, 200])
def test_a_file_that_ends_in_a_record(path: Path, size: int) -> None:
    put(path, *debits(4, 5, 6))
    with (path / "journal").open("r+b") as file:
        file.truncate(3 * BLOCK + size)
    assert found(path) == 5


@pytest.mark.parametrize("at", [4, 16, 50, 63, 64, 200, 239])
def test_damage_in_the_middle_is_refused(path: Path, at: int) -> None:
    put(path, *debits(4, 5, 6))
    change(path, 2 * BLOCK + at, b"\xff")
    with pytest.raises(StorageError, match="a record is damaged; restore a backup"):
        Store(str(path), read_only=True).rows()
    with pytest.raises(StorageError, match="a record is damaged; restore a backup"):
        Store(str(path))


def test_what_no_sync_had_reached_may_be_missing(path: Path) -> None:
    """Durability "process" after a power cut: the disk took later blocks and not earlier ones."""
    first, second, third = debits(4, 5, 6)
    third = record(third[journal.HEADER_SIZE :].rstrip(b"\0"), ID, 3, synced=1)
    put(path, first, bytes(BLOCK), third)
    assert found(path) == 4
    put(path, bytes(BLOCK), second, third)
    with pytest.raises(StorageError, match="damaged"):
        Store(str(path))


def test_the_last_attempt_counts(path: Path) -> None:
    """A write reported as failed may have left a whole record behind the one before it, and its
    repetition, larger, another one at the start; or the other way round."""
    first = record(body(1, pack(0, debits_posted=1)), ID, 7, attempt=7)
    old = record(body(2, pack(0, debits_posted=2)), ID, 8, attempt=8)
    new = record(body(3, pack(0, debits_posted=3)), ID, 8, attempt=9)
    for behind, start, wanted in [(old, new, 3), (new, old, 3), (old, b"", 2), (b"", new, 3)]:
        put(path, first + behind, at=4 * BLOCK, sequence=7)
        change(path, BLOCK, start)
        assert found(path) == wanted


def test_records_of_other_runs_are_not_taken(path: Path) -> None:
    stale = record(body(2, pack(0, debits_posted=99)), ID ^ 1, 2)
    put(path, *debits(4), stale, *debits(0, 0, 0)[2:])
    with pytest.raises(StorageError, match="damaged"):
        Store(str(path))
    put(path, *debits(4), stale, stale)
    assert found(path) == 4
    put(path, *debits(4), record(body(9, pack(0, debits_posted=99)), ID, 9, synced=0))
    assert found(path) == 4


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda file: file.unlink(), "the file journal is missing and the last commits are in it"),
        (lambda file: file.write_bytes(b""), "damaged"),
        (lambda file: file.write_bytes(bytes(1 << 20)), "damaged"),
    ],
)
def test_a_file_that_is_needed(path: Path, spoil: Callable[[Path], object], message: str) -> None:
    put(path, *debits(4))
    spoil(path / "journal")
    with pytest.raises(StorageError, match=message):
        Store(str(path), read_only=True).rows()
    with pytest.raises(StorageError, match=message):
        Store(str(path))


def test_a_file_that_is_not_needed(path: Path) -> None:
    """After an orderly close all is in the databases, whatever the file has."""
    for content in (None, b"", b"anything" * 1000):
        if content is None:
            (path / "journal").unlink()
        else:
            (path / "journal").write_bytes(content)
        assert found(path) == 3


@pytest.mark.parametrize("node_id, journal_id", [(bytes(16), ID), (None, ID ^ 1)])
def test_the_file_of_another_node_or_time(
    path: Path, node_id: bytes | None, journal_id: int
) -> None:
    put(path, *debits(4))
    change(path, 0, journal.file_header(node_id or read(path).meta["node_id"], journal_id))
    with pytest.raises(StorageError, match="journal is not the one that belongs to data.mdb"):
        Store(str(path), read_only=True).rows()
    with pytest.raises(StorageError, match="journal is not the one that belongs to data.mdb"):
        Store(str(path))


def test_newer_formats_are_refused(path: Path) -> None:
    row = pack(0)
    node_id = read(path).meta["node_id"]
    refusal = "written in format 3, this fastilp reads format 2"
    for spoil in (
        lambda: change(path, BLOCK, record(body(1, row, version=3), ID, 1)),
        lambda: change(path, BLOCK, record(body(1, row), ID, 1, version=3)),
        lambda: change(path, 0, journal.file_header(node_id, ID, version=3)),
    ):
        change(path, 0, bytes(2 * BLOCK))
        edit(path, "meta", b"journal", journal.tail(ID))
        change(path, 0, journal.file_header(node_id, ID))
        spoil()
        with pytest.raises(StorageError, match=refusal):
            Store(str(path), read_only=True).rows()
        with pytest.raises(StorageError, match=refusal):
            Store(str(path))


@pytest.mark.parametrize("cut", [1, 20, 60, 170])
def test_a_record_whose_lengths_do_not_add_up(path: Path, cut: int) -> None:
    put(path, record(body(9, pack(0))[:-cut], ID, 1))
    with pytest.raises(StorageError, match="damaged; restore a backup"):
        Store(str(path))


def test_a_journal_that_was_a_database_is_taken_over(path: Path, tmp_path: Path) -> None:
    """Format 1: ticket, big-endian, and record, in LMDB."""
    edit(path, "meta", b"format", (1).to_bytes(4, "little"))
    for ticket in (9, 256):
        value = body(ticket, pack(0, debits_posted=ticket), version=1)
        edit(path, "journal", ticket.to_bytes(8, "big"), value)
    (path / "journal").unlink()
    reader = Store(str(path), read_only=True)
    assert reader.rows() == [pack(0, debits_posted=256)]
    assert list(reader.items()) == [(b"a", b"1"), (b"key", b"value")]
    reader.backup(str(tmp_path / "copy"))
    reader.close()
    assert "journal" in read(path).databases, "reading changes nothing"
    for place in (path, tmp_path / "copy"):
        store = Store(str(place))
        assert store.rows() == [pack(0, debits_posted=256)]
        assert store.get(b"key") == b"value"
        store.close()
        seen = read(place)
        assert seen.databases == ["meta", "records", "rows"]
        assert int.from_bytes(seen.meta["format"], "little") == 2


def test_both_checksums_are_the_same(tmp_path: Path) -> None:
    """Of the processor's instruction and of the table; the tests' reader has a third one."""
    for kernel in ("portable", "fastest"):
        with subprocess.Popen(
            command("come_round.py", tmp_path / kernel, 0),
            env=environment(FASTILP_CRC32C=kernel), stdout=subprocess.PIPE, text=True,
        ) as writer:  # fmt: skip
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(20)]
            writer.kill()
        assert int(read(tmp_path / kernel).records[b"step"]) >= told[-1]


def run_and_kill(path: Path, start: int, durability: str, pause: float) -> int:
    """The highest step that was said to be committed before the kill."""
    process = subprocess.Popen(
        command("come_round.py", path, start, durability),
        env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        told = int(process.stdout.readline())
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().splitlines(keepends=True)
    return max([told, *(int(line) for line in lines if line.endswith("\n"))])


@pytest.mark.parametrize("durability", ["commit", "process"])
def test_kills_of_a_writer_that_comes_round(tmp_path: Path, durability: str, soak: bool) -> None:
    path, chance = tmp_path / "data", random.Random(5)
    step = ends = rounds = 0
    wanted = 40 if soak else 5
    # A slow machine gets longer, until the writer has come round.
    while rounds < wanted or ends == 0 and rounds < 3 * wanted:
        rounds += 1
        seconds = chance.uniform(0.1, 0.6) * (1 if rounds <= wanted else rounds)
        told = run_and_kill(path, step, durability, seconds)
        seen = read(path)
        step = int(seen.records[b"step"])
        assert step >= told, "a committed step is missing"
        assert {unpack(row)["debits_posted"] for row in seen.rows.values()} == {step}
        _, _, sequence = journal.TAIL.unpack(seen.meta["journal"])
        ends += sequence * 10 * BLOCK > 2 * (path / "journal").stat().st_size
    assert ends > 0, "it came round"
    store = Store(str(path))
    assert len(store.rows()) == 300 and store.get(b"step") == b"%d" % step
    store.close()


def test_the_file_grows_with_what_is_not_folded(tmp_path: Path) -> None:
    """Many accounts, each touched once: they take long to fold."""
    path = tmp_path / "data"
    store = Store(str(path), map_size=1 << 20)
    size = (path / "journal").stat().st_size
    count = 100_000
    for ticket in range(1, count // 1000 + 1):
        rows = [(index, pack(index, debits_posted=ticket))
                for index in range(ticket * 1000 - 1000, ticket * 1000)]  # fmt: skip
        store.write(ticket, rows)
        store.wait(ticket)
    grown = (path / "journal").stat().st_size
    assert size < grown <= 64 << 20
    assert store.stats()["failures"] == 0
    store.close()
    # More room may have been made since it was looked at; none is given up.
    assert grown <= (path / "journal").stat().st_size <= 64 << 20
    store = Store(str(path))
    rows = store.rows()
    assert len(rows) == count
    assert all(unpack(row)["debits_posted"] == int.from_bytes(row[:16], "big") // 1001 + 1
               for row in rows[:1000])  # fmt: skip
    store.close()


def test_a_record_that_is_larger_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data"
    store = Store(str(path), map_size=1 << 20)
    value = bytes(5 << 20)
    store.write(1, [(0, pack(0, debits_posted=1))])
    for ticket in range(2, 8):
        store.write(ticket, puts=[(b"%d" % ticket, value)])
    assert store.wait(7)
    assert (path / "journal").stat().st_size > 5 << 20
    store.close()
    store = Store(str(path))
    assert len(list(store.items())) == 6
    assert store.rows() == [pack(0, debits_posted=1)]
    assert account_id(0) == store.rows()[0][:16]
    store.close()
