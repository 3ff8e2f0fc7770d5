"""The process that sends and receives: `python -m fastilp.loadtest.worker`, a Task on its standard
input, JSON lines on its standard output.

Imports the engine and what builds its packets and sockets. It has the tools' core for itself, so
that only the target's work is on the target's core.
"""

import json
import os
import resource
import signal
import sys
import time
from typing import Any

from fastilp.errors import FastILPError
from fastilp.loadtest import packets
from fastilp.loadtest.cpu import cpu_ns, rss_bytes
from fastilp.loadtest.engine import Engine
from fastilp.loadtest.greeting import connect, listen, pair, welcome
from fastilp.loadtest.task import SLOT_BITS, Flow, Peer, Task

PROGRESS_SECONDS = 0.25
# A tail of a thousandth of a percent needs a hundred thousand values; the curve shows that far.
QUANTILES = (0.5, 0.9, 0.99, 0.999)
CURVE = tuple(1 - 10 ** (-step / 5) for step in range(26))  # 0, 37, 60, 75, 84, 90, … 99.999 %
SHARES = (*QUANTILES, *CURVE)
_TIMEOUT_GRACE_MS = 1_000

Event = dict[str, Any]


class Worker:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._engine = Engine(slot_bits=SLOT_BITS, seed=time.time_ns() & 0xFFFF_FFFF)
        self._engine.set_answers(
            packets.fulfill(task.answer_payload),
            packets.reject(),
            task.reject_share,
            packets.FULFILLMENT,
        )
        self._engine.set_times(task.expires_in_ms, task.expires_in_ms + _TIMEOUT_GRACE_MS)
        self._engine.set_stall(task.stall_ms, task.stall_period_ms)
        self._stopped = False

    def run(self) -> Event:
        self._open()
        self._turn("warm-up", self._task.warm_up_seconds)
        self._engine.clear()
        before = self._sample()
        rss = self._turn("measuring", self._task.seconds)
        after = self._sample()
        flows = [
            flow_result(flow.name, self._engine.latency(index, SHARES))
            for index, flow in enumerate(self._task.flows)
        ]
        self._engine.set_sending(False)
        self._engine.run(self._task.drain_seconds)
        return {
            "event": "result",
            "interrupted": self._stopped,
            **self._result(before, after),
            "flows": flows,
            "rss": rss,
        }

    def stop(self) -> None:
        """End the measuring early; the result covers what there is."""
        self._stopped = True

    def _open(self) -> None:
        task = self._task
        if task.listen_port is not None:
            self._listen(task.listen_port)
        for peer in task.receivers:
            self._add(connect(peer).detach(), peer.kind == "btp")
        for flow in task.flows:
            self._open_flow(flow)

    def _listen(self, port: int) -> None:
        """HTTP connections come and go during the run; a BTP or batch peer comes once, before."""
        listener = listen(port)
        if self._task.transport == "http":
            self._engine.add_connection(listener.detach(), "http", "listener")
            return
        with listener:
            self._add(welcome(listener, self._task.transport).detach(), False)

    def _open_flow(self, flow: Flow) -> None:
        made = packets.template(flow.destination, flow.amount, flow.payload)
        heads: list[bytes] = []
        if self._task.transport == "http":
            indexes = [self._add_client(flow.senders[0], flow.depth) for _ in range(flow.sockets)]
            size = len(made.packet)
            heads = [
                packets.request_head(f"{each.host}:{each.port}", each.path, each.token, size)
                for each in flow.senders
            ]
        else:
            indexes = [self._add_sender(peer) for peer in flow.senders]
        self._engine.add_flow(
            indexes, window=flow.window, rate=flow.rate, heads=heads, **made._asdict()
        )

    def _add(self, fd: int, masks: bool) -> int:
        return self._engine.add_connection(fd, self._task.transport, "peer", masks=masks)

    def _add_client(self, peer: Peer, depth: int) -> int:
        fd = connect(peer).detach()
        return self._engine.add_connection(fd, "http", "client", depth=depth)

    def _add_sender(self, peer: Peer) -> int:
        if peer.kind != "pair":
            return self._add(connect(peer).detach(), peer.kind == "btp")
        ours, theirs = pair()
        self._add(theirs.detach(), False)
        return self._add(ours.detach(), self._task.transport == "btp")

    def _turn(self, phase: str, seconds: float) -> list[int]:
        """Run, telling how it goes. Returns the target's memory over time."""
        start = last = time.monotonic()
        done = self._answered()
        rss: list[int] = []
        while (left := start + seconds - time.monotonic()) > 0 and not self._stopped:
            self._engine.run(min(left, PROGRESS_SECONDS))
            now, answered = time.monotonic(), self._answered()
            emit(
                {
                    "event": "progress",
                    "phase": phase,
                    "elapsed": now - start,
                    "seconds": seconds,
                    "rate": (answered - done) / (now - last),
                    "p99_us": self._engine.latency(0, (0.99,))["quantiles"][0][1] / 1000,
                }
            )
            last, done = now, answered
            if now - start >= len(rss):
                rss.append(rss_bytes(self._task.pids))
            if not any(self._engine.open_connections(i) for i in range(len(self._task.flows))):
                raise FastILPError("the target closed every connection")
        return rss

    def _counts(self) -> list[dict[str, int]]:
        return [self._engine.counts(index) for index in range(len(self._task.flows))]

    def _answered(self) -> int:
        return sum(each["fulfilled"] + each["rejected"] for each in self._counts())

    def _sample(self) -> dict[str, Any]:
        return {
            "time": time.monotonic(),
            "cpu_ns": cpu_ns(self._task.pids) if self._task.pids else 0,
            "tool_cpu": time.process_time(),
            "counts": self._counts(),
        }

    def _result(self, before: dict[str, Any], after: dict[str, Any]) -> Event:
        seconds = after["time"] - before["time"]
        changes = [
            {name: end[name] - start[name] for name in end}
            for start, end in zip(before["counts"], after["counts"], strict=True)
        ]
        exchanges = sum(each["fulfilled"] + each["rejected"] for each in changes)
        cpu_us = (after["cpu_ns"] - before["cpu_ns"]) / 1000
        return {
            "seconds": seconds,
            "exchanges": exchanges,
            "throughput": exchanges / seconds,
            "flow_throughput": [
                (each["fulfilled"] + each["rejected"]) / seconds for each in changes
            ],
            "cpu_us_per_exchange": cpu_us / exchanges if exchanges and self._task.pids else None,
            "cpu_share": cpu_us / 1e6 / seconds if self._task.pids else None,
            "tool_cpu_share": (after["tool_cpu"] - before["tool_cpu"]) / seconds,
            "codes": self._engine.codes(),
            "totals": self._counts(),
            "received": self._engine.received(),
        }


def flow_result(name: str, summary: dict[str, Any]) -> Event:
    """What is told of a flow's latencies, from the summary of SHARES."""
    quantiles = summary["quantiles"]
    return {
        "name": name,
        "latency_us": {
            **{_label(share): value / 1000 for share, value in quantiles[: len(QUANTILES)]},
            "max": summary["max"] / 1000,
            "min": summary["min"] / 1000,
            "mean": summary["mean"] / 1000,
        },
        "measured": summary["count"],
        "curve": [(share, value / 1000) for share, value in quantiles[len(QUANTILES) :]],
    }


def raise_limits(core: int | None) -> None:
    """As many files as the hard limit allows, and a core."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if core is not None:
        os.sched_setaffinity(0, {core})


def _label(share: float) -> str:
    return f"p{share * 100:g}"


def emit(event: Event) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main() -> None:
    # Ctrl-C is for whoever started us, and that one ends us by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = Task.model_validate_json(sys.stdin.buffer.read())
    raise_limits(task.core)
    try:
        worker = Worker(task)
        signal.signal(signal.SIGTERM, lambda number, frame: worker.stop())
        emit(worker.run())
    except FastILPError as error:
        emit({"event": "error", "message": str(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
