"""The switch without sockets, as a Python program embeds it: `python -m fastilp.loadtest.embedded`,
a task on its standard input, JSON lines on its standard output.

Imports _core and the tasks. What is measured is the CPU time of `receive` and `process`, both ways,
and of the ledger's writer thread; choosing packets and `take` are not. So it shows what accounts
and routes cost the data plane, where the cost of sockets would hide it: a socket for each of 10,000
accounts brings one packet at a time.
"""

import gc
import os
import random
import select
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Prepare, Reject
from fastilp._core.switch import Switch
from fastilp.loadtest import packets
from fastilp.loadtest.cpu import rss_bytes
from fastilp.loadtest.engine import Histogram
from fastilp.loadtest.task import SLOT_BITS, Destination
from fastilp.loadtest.worker import (
    PROGRESS_SECONDS,
    SHARES,
    Event,
    emit,
    flow_result,
    raise_limits,
)

_PREPARE, _FULFILL = 12, 13
_ID_MAX = 1 << 31
# Different packets that are sent over and over: more than any cache holds of what they touch.
_POOL = 65_536
_WAIT_SECONDS = 0.05
# Expiries of the pool, from its making. Money is never held so long: the switch shortens them.
_EXPIRES_IN = timedelta(hours=2)


class EmbeddedTask(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    data_dir: str
    durability: Literal["commit", "process"]
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    routes: tuple[str, int, int] | None
    """Prefix of the prefixes, digits, count; None: the accounts' own addresses alone."""
    destination: Destination
    window: int
    batch: int
    amount: int
    payload: int
    answer_payload: int
    core: int | None
    warm_up_seconds: float
    seconds: float


class Embedded:
    def __init__(self, task: EmbeddedTask) -> None:
        self._task = task
        self._random = random.Random(1)
        self._ledger = Ledger.open(task.data_dir, durability=task.durability)
        self._switch = Switch(
            self._ledger, task.address, in_flight_max=max(65_536, 2 * task.window)
        )
        senders = self._open(task.senders)
        self._open(task.receivers)
        self._fill_routes()
        self._pool = [(self._random.choice(senders), self._packet()) for _ in range(_POOL)]
        self._fulfill = packets.fulfill(task.answer_payload)
        self._sent_ns: dict[int, int] = {}
        self._next_id = 0
        self._answers: list[tuple[Link, int, bytes]] = []
        self._histogram = Histogram()
        self._totals = {"sent": 0, "fulfilled": 0, "rejected": 0}
        self._codes: dict[str, int] = {}
        self._received = self._amount = 0
        self._timed_ns = 0
        self._stopped = False

    def run(self) -> Event:
        # Millions of packets, links and routes are no garbage; do not walk them.
        gc.collect()
        gc.freeze()
        self._turns("warm-up", self._task.warm_up_seconds)
        self._histogram = Histogram()
        before = self._sample()
        rss = self._turns("measuring", self._task.seconds)
        after = self._sample()
        self._drain()
        result = self._result(before, after)
        result["books"] = {
            account.name: self._switch.balance(account) for account in self._switch.accounts()
        }
        self._ledger.close()
        return {"event": "result", "interrupted": self._stopped, **result, "rss": rss}

    def stop(self) -> None:
        """End the measuring early; the result covers what there is."""
        self._stopped = True

    def _open(self, names: tuple[str, ...]) -> list[Link]:
        links = []
        for name in names:
            account = self._switch.add_account(
                name, asset_code="AAA", asset_scale=9,
                in_flight_in_max=1 << SLOT_BITS, in_flight_out_max=1 << SLOT_BITS,
            )  # fmt: skip
            self._switch.set_route(f"{self._task.address}.{name}", account)
            links.append(self._switch.open_link(account))
        return links

    def _fill_routes(self) -> None:
        if self._task.routes is None:
            return
        prefix, digits, count = self._task.routes
        accounts = [self._switch.account(name) for name in self._task.receivers]
        for number in range(count):
            self._switch.set_route(f"{prefix}{number:0{digits}}", accounts[number % len(accounts)])

    def _packet(self) -> bytes:
        task = self._task
        return bytes(
            Prepare(
                amount=task.amount,
                expires_at=datetime.now(UTC) + _EXPIRES_IN,
                execution_condition=packets.CONDITION,
                destination=task.destination.numbered(
                    self._random.randrange(task.destination.count)
                ),
                data=self._random.randbytes(task.payload),
            )
        )

    def _prepares(self) -> list[tuple[Link, int, bytes]]:
        count = min(self._task.window - len(self._sent_ns), self._task.batch)
        now = time.monotonic_ns()
        chosen = []
        for link, packet in self._random.choices(self._pool, k=count) if count > 0 else ():
            self._next_id = (self._next_id + 1) % _ID_MAX
            self._sent_ns[self._next_id] = now
            chosen.append((link, self._next_id, packet))
        self._totals["sent"] += len(chosen)
        return chosen

    def _turn(self, sends: bool) -> None:
        """One batch: answers first, then Prepares, as a node's turn has them."""
        batch = self._answers + (self._prepares() if sends else [])
        self._answers = []
        if not batch:
            select.select([self._switch.fileno()], [], [], _WAIT_SECONDS)
        now_ms = time.time_ns() // 1_000_000
        start = time.thread_time_ns()
        self._switch.receive(batch)
        self._switch.process(now_ms)
        self._timed_ns += time.thread_time_ns() - start
        for link, request_id, packet in self._switch.take():
            if packet[0] == _PREPARE:
                self._received += 1
                self._amount += Prepare.decode(packet).amount
                self._answers.append((link, request_id, self._fulfill))
            else:
                self._answered(request_id, packet)

    def _answered(self, request_id: int, packet: bytes) -> None:
        self._histogram.record(time.monotonic_ns() - self._sent_ns.pop(request_id))
        if packet[0] == _FULFILL:
            self._totals["fulfilled"] += 1
            return
        self._totals["rejected"] += 1
        code = Reject.decode(packet).code
        self._codes[code] = self._codes.get(code, 0) + 1

    def _turns(self, phase: str, seconds: float) -> list[int]:
        start = last = time.monotonic()
        end, done = start + seconds, self._exchanges()
        rss: list[int] = []
        while (now := time.monotonic()) < end and not self._stopped:
            self._turn(True)
            if now - last < PROGRESS_SECONDS:
                continue
            p99 = self._histogram.summary((0.99,))["quantiles"][0][1]
            rate = (self._exchanges() - done) / (now - last)
            emit(
                {"event": "progress", "phase": phase, "elapsed": now - start, "seconds": seconds,
                 "rate": rate, "p99_us": p99 / 1000}
            )  # fmt: skip
            last, done = now, self._exchanges()
            if now - start >= len(rss):
                rss.append(rss_bytes([os.getpid()]))
        return rss

    def _drain(self) -> None:
        end = time.monotonic() + 30
        while self._sent_ns and time.monotonic() < end:
            self._turn(False)

    def _exchanges(self) -> int:
        return self._totals["fulfilled"] + self._totals["rejected"]

    def _sample(self) -> dict[str, Any]:
        return {
            "time": time.monotonic(),
            "timed_ns": self._timed_ns,
            # All other threads: there is one, the writer.
            "writer_ns": time.process_time_ns() - time.thread_time_ns(),
            "exchanges": self._exchanges(),
        }

    def _result(self, before: dict[str, Any], after: dict[str, Any]) -> Event:
        change = {name: after[name] - before[name] for name in after}
        exchanges, seconds = change["exchanges"], change["time"]
        cpu_us = (change["timed_ns"] + change["writer_ns"]) / 1000
        throughput = exchanges / seconds
        return {
            "seconds": seconds,
            "exchanges": exchanges,
            "throughput": throughput,
            "flow_throughput": [throughput],
            "cpu_us_per_exchange": cpu_us / exchanges if exchanges else None,
            "writer_us_per_exchange": change["writer_ns"] / 1000 / exchanges if exchanges else None,
            "cpu_share": cpu_us / 1e6 / seconds,
            # The one core does both; what choosing and taking packets took is not the switch's.
            "tool_cpu_share": 0.0,
            "codes": self._codes,
            "totals": [
                {**self._totals, "timed_out": 0, "lost": 0, "wrong": 0,
                 "in_flight": len(self._sent_ns)}
            ],
            "received": {
                "prepares": self._received, "fulfilled": self._received, "rejected": 0,
                "amount": self._amount, "malformed": 0, "unmatched": 0,
            },
            "flows": [flow_result("measured", self._histogram.summary(SHARES))],
        }  # fmt: skip


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = EmbeddedTask.model_validate_json(sys.stdin.buffer.read())
    raise_limits(task.core)
    embedded = Embedded(task)
    signal.signal(signal.SIGTERM, lambda number, frame: embedded.stop())
    emit(embedded.run())


if __name__ == "__main__":
    main()
