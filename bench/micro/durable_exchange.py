"""What an exchange costs with a ledger in memory, written (`process`) and synced (`commit`).

durable_exchange.py [ACCOUNTS WINDOW]: a closed loop over `receive`, `process` and `take`, so many
exchanges in flight, in interleaved rounds of all three ledgers. Printed per exchange: CPU of the
thread that runs the switch (without this script's own share), CPU of the store's writer thread, and
exchanges per second of wall-clock time. Before that, what `fdatasync` alone takes on this disk: the
rest is ours.
"""

import gc
import hashlib
import os
import random
import select
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fastilp import Fulfill, Ledger, Link, Prepare, Switch

PREIMAGE = bytes(range(32))
FULFILL = bytes(Fulfill(fulfillment=PREIMAGE, data=bytes(100)))
NOW_MS = 1_800_000_000_000
ROUNDS, EXCHANGES = 7, 40_000
KINDS = ("memory", "process", "commit")
CASES = ((2, 64), (2, 1_024), (10_000, 64), (10_000, 1_024))

Rows = list[tuple[int, bytes]]


def writer_ns() -> int:
    """CPU time of the store's threads in this process, ns."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("fastilp-store"):
            total += int((task / "schedstat").read_text().split()[0])
    return total


@dataclass
class Spent:
    switch_ns: int = 0
    writer_ns: int = 0
    wall_ns: int = 0
    commits: int = 0


@dataclass
class Subject:
    """One switch, and what its peers have yet to say."""

    ledger: Ledger
    switch: Switch
    links: list[Link]
    packets: list[bytes]
    answers: list[tuple[Link, Rows]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(2))
    spent: list[Spent] = field(default_factory=list)
    next_id: int = 0

    @classmethod
    def make(cls, ledger: Ledger, accounts: int) -> "Subject":
        switch = Switch(ledger, address="g.hub")
        handles = [
            switch.add_account(f"account{i}", asset_code="USD", asset_scale=9)
            for i in range(accounts)
        ]
        links = [switch.open_link(handle) for handle in handles]
        for i, handle in enumerate(handles):
            switch.set_route(f"g.hub.node{i}", handle)
        packets = [
            bytes(
                Prepare(
                    amount=1 + i,
                    expires_at=NOW_MS + 30_000,
                    execution_condition=hashlib.sha256(PREIMAGE).digest(),
                    destination=f"g.hub.node{i}.x",
                    data=bytes(200),
                )
            )
            for i in range(accounts)
        ]
        return cls(ledger, switch, links, packets)

    def arrivals(self, count: int) -> list[tuple[Link, Rows]]:
        """So many Prepares, between accounts chosen at random."""
        by_link: dict[int, Rows] = {}
        size = len(self.links)
        for _ in range(count):
            source = self.chance.randrange(size)
            target = (source + self.chance.randrange(1, size)) % size
            self.next_id = (self.next_id + 1) & 0xFFFFFFFF
            by_link.setdefault(source, []).append((self.next_id, self.packets[target]))
        return [(self.links[source], rows) for source, rows in by_link.items()]

    def turn(self, arrivals: list[tuple[Link, Rows]], spent: Spent) -> int:
        """One batch; returns how many exchanges ended with it."""
        clock = time.thread_time_ns
        start = clock()
        for link, rows in arrivals:
            link.receive(rows)
        for link, rows in self.answers:
            link.receive(rows)
        self.switch.process(NOW_MS)
        sent = [(link, link.take()) for link in self.switch.dirty_links()]
        spent.switch_ns += clock() - start
        ended, self.answers = 0, []
        for link, rows in sent:
            prepares = [(request_id, FULFILL) for request_id, packet in rows if packet[0] == 12]
            ended += len(rows) - len(prepares)
            if prepares:
                self.answers.append((link, prepares))
        return ended

    def run(self, window: int) -> None:
        spent = Spent()
        open_count = ended = 0
        # What arrives is made beforehand, so that it is not in the wall-clock time either.
        ready = deque(self.arrivals(1) for _ in range(EXCHANGES))
        writer, commits = writer_ns(), self.commits()
        start = time.perf_counter_ns()
        while ended < EXCHANGES:
            arrivals = [ready.popleft()[0] for _ in range(min(window - open_count, len(ready)))]
            open_count += len(arrivals)
            now_ended = self.turn(arrivals, spent)
            open_count -= now_ended
            ended += now_ended
            if not now_ended and not self.answers and ended < EXCHANGES:
                select.select([self.switch.fileno()], [], [], 1)
        spent.wall_ns = time.perf_counter_ns() - start
        spent.writer_ns = writer_ns() - writer
        spent.commits = self.commits() - commits
        self.spent.append(spent)

    def commits(self) -> int:
        return 0 if self.ledger.store is None else int(self.ledger.store.stats()["commits"])

    def row(self, kind: str) -> str:
        def each(name: str) -> float:
            return median(getattr(spent, name) for spent in self.spent) / EXCHANGES

        switch_us, writer_us = each("switch_ns") / 1e3, each("writer_ns") / 1e3
        per_second = 1e9 / each("wall_ns")
        per_commit = 1 / each("commits") if each("commits") else 0
        return (
            f"{kind:8} switch {switch_us:6.2f} us  writer {writer_us:6.2f} us  "
            f"sum {switch_us + writer_us:6.2f} us  {per_second:9,.0f} /s {per_commit:5.0f} a commit"
        )


def case(accounts: int, window: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subjects = {
            kind: Subject.make(
                Ledger.memory()
                if kind == "memory"
                else Ledger.open(os.path.join(folder, kind), durability=kind),
                accounts,
            )
            for kind in KINDS
        }
        for _ in range(ROUNDS):
            for subject in subjects.values():
                subject.run(window)
        print(f"{accounts:,} accounts, {window:,} in flight", flush=True)
        for kind, subject in subjects.items():
            print("  " + subject.row(kind), flush=True)
            subject.ledger.check()
            subject.ledger.close()


def synced_page_us(folder: str) -> float:
    """One page written over and synced, the median of 100."""
    took = []
    fd = os.open(os.path.join(folder, "page"), os.O_RDWR | os.O_CREAT)
    for _ in range(100):
        start = time.perf_counter_ns()
        os.pwrite(fd, bytes(4_096), 0)
        os.fdatasync(fd)
        took.append((time.perf_counter_ns() - start) / 1e3)
    os.close(fd)
    return median(took)


def main() -> None:
    chosen = [int(word) for word in sys.argv[1:]]
    # The collector walks the many objects of this script: not our subject.
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        print(f"fdatasync of one page alone: {synced_page_us(folder):.0f} us", flush=True)
    for accounts, window in [(chosen[0], chosen[1])] if chosen else CASES:
        case(accounts, window)


main()
