"""Disks that stall, fail and fill up: nothing that was submitted is lost, nothing blocks, and it
recovers by itself.

The faulty disk is `stall.c`, preloaded into a process that serves a store; the full one is a small
tmpfs.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastilp._core.store import Store
from tests.helpers import until
from tests.storage.faulty_disk import compile_shim, fill, mounted, preload
from tests.storage.reader import read
from tests.storage.rows import account_id, by_id, command, environment, pack, unpack

ACCOUNTS = list(range(20))


class Server:
    """A store in another process, on a disk that can be told to misbehave."""

    def __init__(self, path: Path, flags: Path, shim: Path, durability: str) -> None:
        self.path, self.flags, self.durability, self.ticket = path, flags, durability, 0
        self.process = subprocess.Popen(
            command("serve_store.py", path, durability), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            env=environment(LD_PRELOAD=preload(shim), FASTILP_TEST_DISK=str(flags)),
        )  # fmt: skip
        self.answer()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, do: str, **more: object) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def write(self, count: int = 1) -> int:
        for _ in range(count):
            self.ticket += 1
            self.ask("write", ticket=self.ticket, accounts=ACCOUNTS)
        return self.ticket

    def committed(self) -> None:
        assert self.ask("wait", ticket=self.ticket) is True

    def disk(self, fault: str, on: bool) -> None:
        if on:
            (self.flags / fault).touch()
        else:
            (self.flags / fault).unlink()

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            stats: dict[str, Any] = self.ask("stats")
            if holds(stats):
                return stats
            time.sleep(0.01)

    def failed_again(self) -> None:
        before = self.ask("stats")["failures"]
        self.until(lambda stats: bool(stats["failures"] > before))

    def expect(self, ticket: int) -> None:
        """Every account and the record stand at `ticket`."""
        debits = [[account_id(index).hex(), ticket] for index in ACCOUNTS]
        assert self.ask("read") == {"debits": debits, "ticket": str(ticket)}

    def end(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def server(tmp_path: Path, shim: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    flags = tmp_path / "flags"
    flags.mkdir()
    server = Server(tmp_path / "data", flags, shim, getattr(request, "param", "commit"))
    yield server
    for fault in list(flags.iterdir()):
        fault.unlink()
    server.end()


def test_a_stalled_disk_blocks_nobody(server: Server, soak: bool) -> None:
    before = server.write(10)
    server.committed()
    server.disk("stall", True)
    server.write()
    end = time.monotonic() + (5 if soak else 1)
    while time.monotonic() < end:
        server.write(10)  # each answer is proof that submitting did not wait
    stats = server.ask("stats")
    assert stats["committed"] in (before, before + 1), "what was under way may have got through"
    assert stats["health"] == "healthy", "a slow disk is seen in the tickets, not in the health"
    server.disk("stall", False)
    server.committed()
    server.expect(server.ticket)
    after = server.ask("stats")
    assert after["commits"] <= stats["commits"] + 3, "what gathered meanwhile is one record"
    assert after["slowest_commit_us"] >= 900_000
    assert server.ask("close") is None
    assert read(server.path).meta["clean"] == b"\1"


def test_a_writer_that_is_slow_after_the_wake_up_leaves_nothing_to_read(server: Server) -> None:
    """Or the loop would turn for nothing until the writer gets to run again."""
    server.disk("late-wake", True)
    server.write()
    assert server.ask("sleep", ticket=server.ticket) is True
    server.disk("late-wake", False)
    server.committed()
    server.expect(server.ticket)


@pytest.mark.parametrize("fault", ["sync-eio", "write-enospc", "write-eio"])
def test_a_failing_commit_is_kept_and_tried_again(server: Server, fault: str) -> None:
    kept = server.write(10)
    server.committed()
    server.disk(fault, True)
    server.write(10)
    stats = server.until(lambda stats: stats["failures"] >= 3)
    assert stats["health"] == "failing"
    assert stats["committed"] == kept
    server.write(10)
    server.disk(fault, False)
    server.committed()
    stats = server.until(lambda stats: stats["health"] == "healthy")
    assert stats["reopens"] == 0
    server.expect(server.ticket)
    assert server.ask("close") is None
    store = Store(str(server.path), read_only=True)
    assert by_id(store.rows()) == {
        account_id(index): pack(index, debits_posted=server.ticket) for index in ACCOUNTS
    }
    store.close()


def test_a_file_system_that_must_have_the_page_cache(server: Server) -> None:
    server.write(10)
    server.committed()
    server.disk("no-direct", True)
    server.write(10)
    server.committed()
    stats = server.ask("stats")
    assert (stats["health"], stats["failures"]) == ("healthy", 0)
    server.process.kill()
    server.process.wait()
    store = Store(str(server.path))
    assert by_id(store.rows()) == {
        account_id(index): pack(index, debits_posted=server.ticket) for index in ACCOUNTS
    }
    store.close()


def test_a_torn_write_is_repeated_or_was_never_there(server: Server) -> None:
    kept = server.write()
    server.committed()
    server.disk("torn", True)
    many = list(range(200))
    server.ask("write", ticket=kept + 1, accounts=many)
    server.until(lambda stats: stats["failures"] >= 3)
    assert read(server.path).records == {b"ticket": b"%d" % kept}, "half a record is none"
    server.disk("torn", False)
    assert server.ask("wait", ticket=kept + 1) is True
    server.disk("torn", True)
    server.ask("write", ticket=kept + 2, accounts=many)
    server.until(lambda stats: stats["health"] == "failing")
    server.process.kill()
    server.process.wait()
    store = Store(str(server.path))
    assert by_id(store.rows()) == {
        account_id(index): pack(index, debits_posted=kept + 1) for index in many
    }
    assert store.get(b"ticket") == b"%d" % (kept + 1)
    store.close()


@pytest.mark.parametrize("server", ["commit", "process"], indirect=True)
def test_lmdb_that_gives_up_is_reopened_while_commits_go_on(server: Server) -> None:
    """Its meta page cannot be written, the journal can. What was not synced is written again."""
    server.write(10)
    server.committed()
    server.disk("meta-eio", True)
    stats = server.until(lambda stats: stats["failures"] >= 1 and stats["reopens"] >= 1)
    assert stats["health"] == "failing"
    server.ask("write", ticket=server.ticket + 1, accounts=ACCOUNTS[:1])
    server.ticket += 1
    server.committed()
    written = server.ask("stats")["rows"] - stats["rows"]
    assert written == (1 if server.durability == "commit" else len(ACCOUNTS))
    server.disk("meta-eio", False)
    server.until(lambda stats: stats["health"] == "healthy")
    server.process.kill()
    server.process.wait()
    seen = read(server.path)
    assert seen.records == {b"ticket": b"%d" % server.ticket}
    debits = {key: unpack(row)["debits_posted"] for key, row in seen.rows.items()}
    assert debits.pop(account_id(0)) == server.ticket
    assert set(debits.values()) == {server.ticket - 1}


def test_failures_while_folding_lose_nothing(server: Server) -> None:
    """The disk fails in turns while commits and folds alternate."""
    for fault in ["meta-eio", "write-eio", "sync-eio", "meta-eio", "write-enospc"] * 2:
        server.write(5)
        server.committed()
        server.disk(fault, True)
        server.failed_again()
        server.disk(fault, False)
    server.committed()
    server.until(lambda stats: stats["health"] == "healthy" and stats["journal_records"] == 0)
    server.expect(server.ticket)
    assert server.ask("close") is None
    seen = read(server.path)
    assert seen.tickets == []
    assert {unpack(row)["debits_posted"] for row in seen.rows.values()} == {server.ticket}
    assert seen.records == {b"ticket": b"%d" % server.ticket}


def test_closing_on_a_disk_that_fails_says_what_is_lost(server: Server) -> None:
    kept = server.write(3)
    server.committed()
    server.disk("write-eio", True)
    server.write()
    assert f"what was submitted after ticket {kept} is lost" in server.ask("close")
    assert server.ask("stats")["health"] == "closed"


@pytest.mark.parametrize("server", ["process"], indirect=True)
def test_durability_process_commits_without_syncing(server: Server) -> None:
    server.disk("stall", True)
    server.write()
    server.committed()
    server.disk("stall", False)
    server.disk("sync-eio", True)
    server.write()
    server.committed()
    server.until(lambda stats: stats["health"] == "failing")
    server.disk("sync-eio", False)
    server.until(lambda stats: stats["health"] == "healthy")
    server.process.kill()
    server.process.wait()
    seen = read(server.path)
    assert seen.records == {b"ticket": b"%d" % server.ticket}, "kill -9 takes nothing"


@pytest.mark.parametrize("server", ["process"], indirect=True)
def test_a_sync_after_a_failed_one_is_not_believed(server: Server, tmp_path: Path) -> None:
    """The failed one made the kernel forget what is dirty. What counts is what the disk has."""
    server.disk("sync-eio", True)
    server.disk("image", True)
    server.disk("image-journal", True)
    server.write(10)
    server.committed()
    server.until(lambda stats: stats["health"] == "failing" and stats["journal_records"] == 0)
    server.failed_again()
    server.disk("sync-eio", False)
    server.until(lambda stats: stats["health"] == "healthy")
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "data.mdb").write_bytes((server.flags / "image").read_bytes())
    (disk / "journal").write_bytes((server.flags / "image-journal").read_bytes())
    seen = read(disk)
    assert seen.records == {b"ticket": b"%d" % server.ticket}
    assert {unpack(row)["debits_posted"] for row in seen.rows.values()} == {server.ticket}
    before = server.ask("stats")["rows"]
    server.ask("write", ticket=server.ticket + 1, accounts=ACCOUNTS[:1])
    server.ticket += 1
    server.committed()
    assert server.ask("stats")["rows"] == before + len(ACCOUNTS), "the record carries every row"


def test_no_room_to_preallocate_is_noticed_before_a_commit_fails(server: Server) -> None:
    server.disk("full", True)
    server.write()
    for _ in range(300):
        server.ask("write", ticket=server.ticket + 1, accounts=list(range(2000)))
        server.ticket += 1
        server.committed()
        if server.ask("stats")["health"] == "no_space":
            break
    stats = server.ask("stats")
    assert (stats["health"], stats["failures"]) == ("no_space", 0)
    server.write()
    server.committed()
    server.disk("full", False)
    stats = server.until(lambda stats: stats["health"] == "healthy")
    assert stats["room_size"] >= 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "10m") as disk:
        yield disk


def test_a_full_disk(small_disk: Path) -> None:
    """First the room ahead cannot be had; then nothing more can be folded, the journal fills up,
    and commits fail. Free space mends it all."""
    store = Store(str(small_disk / "data"), map_size=1 << 20, preallocate=1 << 20)
    fill(small_disk / "filler")
    ticket, seen = 0, {"healthy"}
    committed_in = {}

    def settled(ticket: int, failures: int) -> bool:
        """It is committed, or two things have failed: the second one was the commit, no fold."""
        return store.committed_ticket >= ticket or int(store.stats()["failures"]) >= failures + 2

    while True:
        ticket += 1
        failures = int(store.stats()["failures"])
        store.write(ticket, [(i, pack(i, debits_posted=ticket)) for i in range(ticket * 50)])
        until(partial(settled, ticket, failures))
        health = str(store.stats()["health"])
        seen.add(health)
        if store.committed_ticket < ticket:
            break
        committed_in[health] = ticket
    assert seen == {"healthy", "no_space", "failing"}
    assert committed_in["no_space"] > committed_in["healthy"], "commits go on in the room"
    assert committed_in["failing"] > committed_in["no_space"], "and while nothing can be folded"
    store.write(ticket + 1, puts=[(b"late", b"1")])
    assert store.wait(ticket + 1, timeout=0.05) is False
    (small_disk / "filler").unlink()
    assert store.wait(ticket + 1)
    while store.stats()["health"] != "healthy":
        time.sleep(0.01)
    assert len(store.rows()) == ticket * 50
    assert {unpack(row)["debits_posted"] for row in store.rows()} == {ticket}
    store.close()
    seen_rows = read(small_disk / "data")
    assert len(seen_rows.rows) == ticket * 50 and seen_rows.records == {b"late": b"1"}
