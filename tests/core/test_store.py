"""The store in one process: queue, commits, journal, folding, reads, room, backup, wake-ups."""

import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastilp._core.store import Store, lmdb_version
from fastilp.errors import StorageError, UsageError
from tests.helpers import until
from tests.storage.rows import Books, account_id, by_id, pack

FOLD_SLICE = 256


def folded(store: Store, ticket: int) -> bool:
    assert store.wait(ticket)
    until(lambda: store.stats()["journal_records"] == 0)
    return True


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "data")


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    with_store = Store(path, map_size=1 << 20, preallocate=1 << 20)
    yield with_store
    with_store.close()


def test_a_new_store_is_empty_and_has_an_identity(store: Store, path: str) -> None:
    assert store.rows() == []
    assert list(store.items()) == []
    assert (store.path, store.incarnation, store.committed_ticket) == (path, 1, 0)
    assert len(store.node_id) == 16 and store.node_id != bytes(16)
    assert store.stats()["health"] == "healthy"


def test_identity_stays_and_incarnation_is_raised(path: str) -> None:
    seen = []
    for _ in range(3):
        store = Store(path)
        seen.append((store.node_id, store.incarnation, store.was_clean))
        store.close()
    assert len({node_id for node_id, _, _ in seen}) == 1
    assert [incarnation for _, incarnation, _ in seen] == [1, 2, 3]
    assert [clean for _, _, clean in seen] == [True] * 3


def test_rows_and_records_are_back_after_closing(path: str) -> None:
    store = Store(path)
    store.write(1, [(0, pack(0, debits_posted=5)), (1, pack(1, credits_posted=5))], [(b"a", b"1")])
    store.write(2, [(1, pack(1, credits_posted=7))], [(b"b", b"")], [b"a"])
    store.close()
    store = Store(path)
    assert by_id(store.rows()) == {
        account_id(0): pack(0, debits_posted=5),
        account_id(1): pack(1, credits_posted=7),
    }
    assert list(store.items()) == [(b"b", b"")]
    assert store.committed_ticket == 0
    store.close()


def test_commits_are_grouped_and_the_newest_copy_of_a_row_wins(store: Store) -> None:
    count = 2000
    for ticket in range(1, count + 1):
        store.write(ticket, [(0, pack(0, debits_posted=ticket)), (1, pack(1))])
    assert store.wait(count)
    commits, rows = int(store.stats()["commits"]), int(store.stats()["rows"])
    assert commits < count / 2, "one commit carries many submissions"
    assert rows <= 2 * commits, "a queued row is replaced, not appended"
    assert by_id(store.rows())[account_id(0)] == pack(0, debits_posted=count)


def test_a_call_may_carry_the_same_row_twice(store: Store) -> None:
    store.write(1, [(3, pack(3, debits_posted=1)), (3, pack(3, debits_posted=2))])
    assert store.wait(1)
    assert store.rows() == [pack(3, debits_posted=2)]
    assert store.stats()["rows"] == 1


def test_a_ticket_without_rows_is_committed(store: Store) -> None:
    store.write(7)
    assert store.wait(7) and store.committed_ticket == 7


def test_wait_ends_after_its_time(store: Store) -> None:
    assert store.wait(1, timeout=0.01) is False
    assert store.wait(0, timeout=0.0) is True


def test_reads_see_queued_journaled_and_folded_writes(store: Store) -> None:
    store.write(1, puts=[(b"x/1", b"one"), (b"x/2", b"two"), (b"y", b"why")])
    for settle in (lambda: None, lambda: store.wait(1), lambda: folded(store, 1)):
        settle()
        assert store.get(b"x/1") == b"one"
        assert store.get(b"none") is None
        assert list(store.items(b"x/")) == [(b"x/1", b"one"), (b"x/2", b"two")]
        assert [key for key, _ in store.items()] == [b"x/1", b"x/2", b"y"]
    store.write(2, puts=[(b"x/3", b"three"), (b"x/1", b"ONE")], deletes=[b"x/2", b"never"])
    for settle in (lambda: None, lambda: store.wait(2), lambda: folded(store, 2)):
        settle()
        assert store.get(b"x/2") is None
        assert list(store.items(b"x/")) == [(b"x/1", b"ONE"), (b"x/3", b"three")]


def test_writes_of_one_key_keep_their_order(store: Store) -> None:
    for ticket in range(1, 501):
        if ticket % 3:
            store.write(ticket, puts=[(b"key", b"%d" % ticket)])
        else:
            store.write(ticket, deletes=[b"key"])
    assert store.get(b"key") == b"500"
    folded(store, 500)
    assert store.get(b"key") == b"500"


def test_folding_empties_the_journal_in_slices(store: Store) -> None:
    rows = [(index, pack(index, debits_posted=index)) for index in range(4 * FOLD_SLICE)]
    store.write(1, rows)
    folded(store, 1)
    stats = store.stats()
    assert stats["fold_rows"] == len(rows)
    assert stats["folds"] == 4 + 1, "a commit for each slice, and one that deletes the record"
    assert by_id(store.rows()) == {account_id(index): row for index, row in rows}


def test_a_busy_journal_is_folded_at_its_bound(path: str) -> None:
    """Without a pause between submissions, one fold slice goes between two commits."""
    store = Store(path, map_size=1 << 20)
    row = 0
    ticket = 0
    while int(store.stats()["folds"]) == 0:
        ticket += 1
        store.write(ticket, [((row + i) % 5000, pack((row + i) % 5000)) for i in range(500)])
        row += 500
        store.wait(ticket)
    assert int(store.stats()["journal_records"]) <= ticket
    books_before = by_id(store.rows())
    store.close()
    store = Store(path)
    assert by_id(store.rows()) == books_before
    store.close()


def test_rows_written_during_a_fold_round_are_the_newest(path: str) -> None:
    """A round takes many commits; rows keep changing meanwhile and must not go back."""
    books = Books(seed=1, accounts=3000)
    store = Store(path, map_size=1 << 20)
    store.write(10**6, [(index, pack(index)) for index in range(3000)])
    for step in range(300):
        rows = books.step()
        store.write(10**6 + books.ticket, rows)
        if step % 50 == 0:
            time.sleep(0.06)  # longer than the pause after which folding begins
    assert store.wait(10**6 + books.ticket)
    expected = {account_id(index): pack(index) for index in range(3000)} | books.rows()
    assert by_id(store.rows()) == expected
    folded(store, 10**6 + books.ticket)
    assert by_id(store.rows()) == expected
    store.close()


def test_the_map_grows_while_running(path: str) -> None:
    store = Store(path, map_size=1, preallocate=0)
    assert int(store.stats()["map_size"]) == 64 * 1024
    for ticket in range(1, 40):
        store.write(
            ticket,
            [(i, pack(i, debits_posted=ticket)) for i in range(400)],
            [(b"%d" % ticket, bytes(20_000))],
        )
        assert store.wait(ticket)
    folded(store, 39)
    stats = store.stats()
    assert int(stats["grows"]) >= 4 and int(stats["map_size"]) > int(stats["used_size"])
    assert stats["failures"] == 0
    store.close()
    store = Store(path, map_size=1)
    assert len(store.rows()) == 400 and len(list(store.items())) == 39
    store.close()


def test_readers_and_a_growing_map(path: str) -> None:
    """Resizing waits for readers and they for it; neither sees half of anything."""
    store = Store(path, map_size=1)
    wrong: list[set[bytes]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            values = {row[16:32] for row in store.rows()}
            if len(values) > 1:
                wrong.append(values)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for ticket in range(1, 100):
        store.write(ticket, [(i, pack(i, debits_pending=ticket)) for i in range(300)])
        store.wait(ticket)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert int(store.stats()["grows"]) > 0
    store.close()


def test_the_file_is_preallocated_ahead(path: str) -> None:
    ahead = 4 << 20
    store = Store(path, map_size=1 << 20, preallocate=ahead)
    data = os.path.join(path, "data.mdb")

    def reserved() -> int:
        return os.stat(data).st_blocks * 512

    assert reserved() >= ahead
    for ticket in range(1, 30):
        store.write(ticket, puts=[(b"%d" % ticket, bytes(500_000))])
        store.wait(ticket)
    until(lambda: reserved() >= int(store.stats()["used_size"]) + ahead)
    assert int(store.stats()["room_size"]) >= ahead
    assert os.stat(data).st_size < reserved()
    store.close()


def test_only_one_store_on_a_directory_in_a_process(store: Store, path: str) -> None:
    for read_only in (False, True):
        with pytest.raises(StorageError, match=f"{path}: this process has it open already"):
            Store(path, read_only=read_only)
    store.write(1, [(0, pack(0))])
    assert store.wait(1)


def test_what_is_not_a_store_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(StorageError, match="is not a directory"):
        Store(str(file))
    with pytest.raises(StorageError, match="there is no store in it"):
        Store(str(tmp_path / "none"), read_only=True)
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "data.mdb").write_bytes(b"garbage" * 10_000)
    with pytest.raises(StorageError, match="not an LMDB file"):
        Store(str(garbage))
    with pytest.raises(StorageError, match="cannot be created"):
        Store("/proc/none")


def test_calls_that_cannot_be(store: Store) -> None:
    with pytest.raises(UsageError, match="501 control records"):
        store.write(1, puts=[(b"%d" % i, b"") for i in range(250)], deletes=[b"x"] * 251)
    for key in (b"", bytes(512)):
        with pytest.raises(UsageError, match="1 to 511 bytes"):
            store.write(1, puts=[(key, b"")])
        with pytest.raises(UsageError, match="1 to 511 bytes"):
            store.get(key)
    with pytest.raises(TypeError):
        store.write(1, puts=[(b"key", "text")])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="a row has 128 bytes"):
        store.write(1, [(0, bytes(127))])
    assert store.get(b"key") is None
    assert store.wait(1, timeout=0.05) is False, "nothing of a refused call is written"
    store.write(1, puts=[(bytes(511), b"longest")])
    folded(store, 1)
    assert store.get(bytes(511)) == b"longest"


def test_a_closed_store_refuses(path: str) -> None:
    store = Store(path)
    store.write(1, puts=[(b"k", b"v")])
    store.close()
    store.close()
    assert store.committed_ticket == 1
    assert store.stats()["health"] == "closed"
    assert store.wait(2, timeout=30.0) is False
    with pytest.raises(StorageError, match="cannot write"):
        store.write(2)
    with pytest.raises(StorageError, match="cannot read"):
        store.rows()
    store.asleep(1)
    store.awake()


def test_a_store_that_is_dropped_writes_what_it_has(path: str) -> None:
    store = Store(path)
    store.write(1, [(0, pack(0, debits_posted=1))])
    del store
    store = Store(path)
    assert store.rows() == [pack(0, debits_posted=1)]
    store.close()


def test_backup_is_a_store_of_its_own(store: Store, tmp_path: Path) -> None:
    store.write(1, [(0, pack(0, debits_posted=1))], [(b"k", b"v")])
    store.wait(1)
    copy = tmp_path / "copy"
    store.backup(str(copy))
    with pytest.raises(StorageError, match="is not empty"):
        store.backup(str(copy))
    store.write(2, [(0, pack(0, debits_posted=2))])
    restored = Store(str(copy))
    assert restored.rows() == [pack(0, debits_posted=1)]
    assert restored.get(b"k") == b"v"
    assert restored.node_id == store.node_id
    restored.close()


def test_backup_while_writing_is_one_state(path: str, tmp_path: Path) -> None:
    store = Store(path, map_size=1 << 20)
    done = threading.Event()

    def write() -> None:
        ticket = 0
        while not done.is_set():
            ticket += 1
            store.write(
                ticket,
                [(i, pack(i, debits_pending=ticket)) for i in range(500)],
                [(b"ticket", b"%d" % ticket)],
            )
            store.wait(ticket)

    thread = threading.Thread(target=write)
    thread.start()
    for number in range(5):
        copy = str(tmp_path / f"copy{number}")
        store.backup(copy)
        restored = Store(copy)
        tickets = {int.from_bytes(row[16:32], "little") for row in restored.rows()}
        assert tickets <= {int(restored.get(b"ticket") or 0)}
        restored.close()
    done.set()
    thread.join()
    store.close()


def test_fork_poisons_the_child_and_leaves_the_parent(store: Store) -> None:
    store.write(1, [(0, pack(0))])
    pid = os.fork()
    if pid == 0:
        # No assert here: an exception in the child would run the parent's test session again.
        try:
            store.write(2, [(0, pack(0))])
            code = 1
        except StorageError:
            code = 0 if store.stats()["health"] == "closed" and not store.wait(5) else 2
        store.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.write(2, [(0, pack(0, debits_posted=2))])
    assert store.wait(2)
    assert store.rows() == [pack(0, debits_posted=2)]


def readable(store: Store, timeout: float) -> bool:
    return bool(select.select([store.fileno()], [], [], timeout)[0])


def emptied(store: Store) -> None:
    """A wake-up that is just being written is taken out by the next `awake`."""
    store.awake()
    while readable(store, 0):
        store.awake()


def test_wake_up_comes_only_when_asked_for(store: Store) -> None:
    store.write(1)
    store.wait(1)
    assert not readable(store, 0)
    store.asleep(1)
    assert readable(store, 0), "the ticket is committed already"
    store.awake()
    assert not readable(store, 0)
    store.asleep(2)
    assert not readable(store, 0)
    store.write(2)
    assert readable(store, 60)
    emptied(store)
    store.asleep(3)
    store.awake()
    store.write(3)
    store.wait(3)
    assert not readable(store, 0)


def test_wake_ups_are_never_lost(store: Store) -> None:
    """Sleep for each ticket right after submitting it: the declaration and the commit race."""
    for ticket in range(1, 500):
        store.write(ticket, [(0, pack(0, debits_pending=ticket))])
        if ticket % 7 == 0:
            time.sleep(0.0002)
        while store.committed_ticket < ticket:
            store.asleep(ticket)
            assert readable(store, 60), f"ticket {ticket}: nobody woke us"
            store.awake()


def test_queued_control_bytes_are_bounded(store: Store) -> None:
    """Far more than fits: what is refused is refused whole, what is taken is written."""
    value = bytes(8 << 20)
    ticket, refused = 0, 0
    for number in range(40):
        try:
            store.write(ticket + 1, puts=[(b"%d" % number, value)])
            ticket += 1
        except StorageError as error:
            refused += 1
            assert "control records already wait" in str(error)
    assert store.wait(ticket)
    assert len(list(store.items())) == ticket == 40 - refused
    with pytest.raises(UsageError, match="control records of .* bytes in one call"):
        store.write(ticket + 1, puts=[(b"k", bytes(65 << 20))])


def test_lmdb_is_fit() -> None:
    assert (0, 9, 24) <= lmdb_version() < (1, 0, 0)
