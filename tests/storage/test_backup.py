"""`storage.backup`: a copy of a node that runs, from another process, checked and usable."""

import subprocess
from pathlib import Path

import pytest

from fastilp._core.store import Store
from fastilp.errors import StorageError
from fastilp.storage.backup import backup, inspect
from tests.storage import journal
from tests.storage.reader import read
from tests.storage.rows import Books, by_id, command, environment, run, unpack


def test_backup_of_a_store_that_another_process_writes(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copies" / "first"
    with subprocess.Popen(
        command("submit.py", live, 3, 500, 0),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(50)]
        made = backup(str(live), str(copy))
        more = [writer.stdout.readline() for _ in range(50)]
        writer.kill()
    seen = read(copy)
    step = int(seen.records[b"ticket"])
    assert step >= int(told[-1].split()[1]) and len(more) == 50
    books = Books(3, 500)
    for _ in books.steps_to(step):
        pass
    assert seen.rows == books.rows(), "the copy is one state"
    assert (made.accounts, made.records) == (len(seen.rows), 1)
    assert made.node_id == seen.meta["node_id"] == read(live).meta["node_id"]
    assert made.size == (copy / "data.mdb").stat().st_size
    store = Store(str(copy))
    assert store.incarnation == made.incarnation + 1
    assert by_id(store.rows()) == books.rows()
    store.close()


def test_what_cannot_be_copied(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no store in it"):
        backup(str(tmp_path / "none"), str(tmp_path / "copy"))
    Store(str(tmp_path / "data")).close()
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    with pytest.raises(StorageError, match="is not empty"):
        backup(str(tmp_path / "data"), str(full))


def test_backups_beside_a_writer_that_comes_round_again_and_again(tmp_path: Path) -> None:
    """What the reader wants of the journal's file may be written over at any moment."""
    live = tmp_path / "live"
    with subprocess.Popen(
        command("come_round.py", live, 0), env=environment(), stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = 0
        for number in range(5):
            told = max(told, int(writer.stdout.readline()))
            copy = tmp_path / f"copy{number}"
            backup(str(live), str(copy))
            seen = read(copy)
            step = int(seen.records[b"step"])
            assert step >= told
            assert {unpack(row)["debits_posted"] for row in seen.rows.values()} == {step}
            assert sorted(path.name for path in copy.iterdir()) == ["data.mdb", "lock.mdb"]
            assert "journal" not in seen.meta
        writer.kill()


def test_a_damaged_copy_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    Store(str(path)).close()
    assert (inspect(str(path)).accounts, inspect(str(path)).records) == (0, 0)
    journal_id, node_id = 7, read(path).meta["node_id"]
    run("edit_store.py", path, "meta", b"journal".hex(), journal.tail(journal_id).hex())
    record = journal.record(b"cut off", journal_id, 1)
    (path / "journal").write_bytes(journal.file_header(node_id, journal_id) + record)
    with pytest.raises(StorageError, match="damaged"):
        inspect(str(path))
