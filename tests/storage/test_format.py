"""What other processes see of a store: the files' format, the lock, copies, other versions."""

import signal
import subprocess
import threading
from pathlib import Path

import pytest

from fastilp._core.store import Store
from fastilp.errors import StorageError
from tests.storage.reader import read
from tests.storage.rows import account_id, command, environment, pack, run


def edit(path: Path, database: str, key: bytes, value: bytes) -> None:
    run("edit_store.py", path, database, key.hex(), value.hex())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one account and one record, closed."""
    store = Store(str(tmp_path / "data"), map_size=1 << 20)
    store.write(1, [(0, pack(0, debits_posted=3))], [(b"a", b"1")])
    store.close()
    return tmp_path / "data"


def test_another_reader_finds_it_all(path: Path) -> None:
    store = Store(str(path))
    seen = read(path)
    assert seen.rows == {account_id(0): pack(0, debits_posted=3)}
    assert seen.records == {b"a": b"1"}
    assert seen.tickets == []
    assert seen.meta["node_id"] == store.node_id
    assert int.from_bytes(seen.meta["incarnation"], "little") == store.incarnation == 2
    assert int.from_bytes(seen.meta["format"], "little") == 2
    assert seen.databases == ["meta", "records", "rows"]
    assert seen.meta["clean"] == b"\0"
    store.close()
    assert read(path).meta["clean"] == b"\1"


def test_another_reader_finds_the_journal(path: Path) -> None:
    """While the store runs and does not idle, thus does not fold."""
    store = Store(str(path))
    store.write(1, [(0, pack(0, debits_posted=1))], [(b"b", b"2")], [b"a"])
    done = threading.Event()

    def keep_busy() -> None:
        ticket = 1
        while not done.wait(0.005):
            ticket += 1
            store.write(ticket, [(1, pack(1, credits_posted=ticket))])
            store.wait(ticket)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    seen = read(path)
    done.set()
    busy.join()
    assert seen.rows.keys() == {account_id(0), account_id(1)}
    assert seen.rows[account_id(0)] == pack(0, debits_posted=1)
    assert seen.records == {b"b": b"2"}
    assert len(seen.tickets) > 1 and seen.tickets == sorted(seen.tickets)
    store.close()


def test_a_newer_format_is_refused_and_not_touched(path: Path) -> None:
    edit(path, "meta", b"format", (3).to_bytes(4, "little"))
    for read_only in (False, True):
        with pytest.raises(StorageError, match="written in format 3, this fastilp reads format 2"):
            Store(str(path), read_only=read_only)
    assert int.from_bytes(read(path).meta["incarnation"], "little") == 1


def test_a_foreign_environment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.mkdir()
    edit(path, "theirs", b"key", b"value")
    with pytest.raises(StorageError, match="not fastilp's"):
        Store(str(path))
    with pytest.raises(StorageError, match="not fastilp's"):
        Store(str(path), read_only=True)


def test_a_second_node_is_refused_until_the_first_has_gone(path: Path) -> None:
    with subprocess.Popen(
        command("hold.py", path), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
        with pytest.raises(StorageError) as refusal:
            Store(str(path))
        assert f"{path}: another node (process {holder.pid}) uses this" in str(refusal.value)
        assert "data_dir of its own" in str(refusal.value)
        reader = Store(str(path), read_only=True)
        assert reader.get(b"a") == b"1"
        reader.close()
        holder.send_signal(signal.SIGKILL)
    Store(str(path)).close()


def test_a_read_only_store_writes_nothing(path: Path) -> None:
    before = (path / "data.mdb").stat().st_mtime_ns, (path / "data.mdb").stat().st_size
    reader = Store(str(path), read_only=True)
    with pytest.raises(StorageError, match="read-only"):
        reader.write(1, [(0, pack(0))])
    assert reader.rows() == [pack(0, debits_posted=3)]
    reader.close()
    assert before == ((path / "data.mdb").stat().st_mtime_ns, (path / "data.mdb").stat().st_size)


def test_a_read_only_store_follows_growth(path: Path, tmp_path: Path) -> None:
    """And copies while another process writes: the node need not be asked."""
    with subprocess.Popen(
        command("submit.py", tmp_path / "live", 1, 2000, 0),
        env=environment(), stdout=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        writer.stdout.readline()
        reader = Store(str(tmp_path / "live"), read_only=True)
        size = int(reader.stats()["map_size"])
        steps = []
        for line in writer.stdout:
            steps.append(int(reader.get(b"ticket") or b"0"))
            assert steps[-1] >= int(line.split()[1])
            if len(steps) == 200:
                break
        reader.backup(str(tmp_path / "copy"))
        writer.kill()
    assert steps == sorted(steps)
    copy = Store(str(tmp_path / "copy"))
    assert int(copy.get(b"ticket") or 0) >= steps[-1]
    copy.close()
    assert size > 0
    reader.close()
