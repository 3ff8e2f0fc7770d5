"""Payments between two nodes: `python -m fastilp.loadtest.paying`, a task on its standard input,
JSON lines on its standard output.

Imports the worker's words and the histogram; asks by aiohttp. As in the benches of Interledger.rs,
an exchange is a payment, from when it is ordered over the API of one node until the other one has
told of every packet and of the end, and the order has been answered. What arrived is counted from
the notifications.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter

import aiohttp
from pydantic import BaseModel, ConfigDict

from fastilp.loadtest.cpu import cpu_ns, rss_bytes
from fastilp.loadtest.engine import Histogram
from fastilp.loadtest.worker import (
    PROGRESS_SECONDS,
    SHARES,
    Event,
    emit,
    flow_result,
    raise_limits,
)

# Once the order is answered, the last of its packets have long arrived.
_TOLD_SECONDS = 10.0


class PayingTask(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    orders_url: str
    payer_token: str
    receiver: str
    """Where its SPSP endpoint is."""
    incoming_url: str
    receiver_token: str
    amount: int
    window: int
    payer_pid: int
    receiver_pid: int
    core: int | None
    warm_up_seconds: float
    seconds: float


class _Arriving:
    """What the receiver has told of one connection so far."""

    __slots__ = ("amount", "closed", "ended")

    def __init__(self) -> None:
        self.amount = 0
        self.closed = False
        self.ended = asyncio.Event()


class Paying:
    def __init__(self, task: PayingTask) -> None:
        self._task = task
        self._histogram = Histogram()
        self._arriving: dict[str, _Arriving] = {}
        self._totals = Counter[str]()
        self._codes = Counter[str]()
        self._packets = self._amount = 0
        self._stopped = False
        self._sending = True

    def stop(self) -> None:
        """End the measuring early; the result covers what there is."""
        self._stopped = True

    async def run(self) -> Event:
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            headers = {"Authorization": f"Bearer {self._task.receiver_token}"}
            async with session.ws_connect(self._task.incoming_url, headers=headers) as incoming:
                listening = asyncio.create_task(self._listen(incoming))
                try:
                    return await self._measured(session)
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)

    async def _measured(self, session: aiohttp.ClientSession) -> Event:
        payers = [asyncio.create_task(self._payer(session)) for _ in range(self._task.window)]
        try:
            await self._turn("warm-up", self._task.warm_up_seconds)
            self._histogram = Histogram()
            before = self._sample()
            rss = await self._turn("measuring", self._task.seconds)
            after = self._sample()
            self._sending = False
            await asyncio.gather(*payers)
        finally:
            for payer in payers:
                payer.cancel()
        result = self._result(before, after)
        return {"event": "result", "interrupted": self._stopped, **result, "rss": rss}

    async def _payer(self, session: aiohttp.ClientSession) -> None:
        while self._sending:
            await self._pay(session)

    async def _pay(self, session: aiohttp.ClientSession) -> None:
        task, began = self._task, time.monotonic_ns()
        body = {"receiver": task.receiver, "source_amount": task.amount}
        headers = {"Authorization": f"Bearer {task.payer_token}"}
        self._totals["sent"] += 1
        async with session.post(task.orders_url, json=body, headers=headers) as response:
            status, receipt = response.status, await response.read()
        if status != 200:
            self._totals["rejected"] += 1
            self._codes[str(status)] += 1
            return
        destination = json.loads(receipt)["to"]
        arriving = self._arriving.setdefault(destination, _Arriving())
        try:
            await asyncio.wait_for(arriving.ended.wait(), _TOLD_SECONDS)
        except TimeoutError:
            self._totals["timed_out"] += 1
            return
        finally:
            del self._arriving[destination]
        self._totals["fulfilled"] += 1
        self._histogram.record(time.monotonic_ns() - began)

    async def _listen(self, incoming: aiohttp.ClientWebSocketResponse) -> None:
        async for message in incoming:
            told = json.loads(message.data)
            arriving = self._arriving.setdefault(told["destination"], _Arriving())
            arriving.amount += told["amount"]
            arriving.closed = arriving.closed or told["connection_closed"]
            if told["amount"]:
                self._packets += 1
                self._amount += told["amount"]
            if arriving.closed and arriving.amount >= self._task.amount:
                arriving.ended.set()

    async def _turn(self, phase: str, seconds: float) -> list[int]:
        start = last = time.monotonic()
        done = self._exchanges()
        rss: list[int] = []
        while (left := start + seconds - time.monotonic()) > 0 and not self._stopped:
            await asyncio.sleep(min(left, PROGRESS_SECONDS))
            now, answered = time.monotonic(), self._exchanges()
            p99 = self._histogram.summary((0.99,))["quantiles"][0][1]
            emit(
                {"event": "progress", "phase": phase, "elapsed": now - start, "seconds": seconds,
                 "rate": (answered - done) / (now - last), "p99_us": p99 / 1000}
            )  # fmt: skip
            last, done = now, answered
            if now - start >= len(rss):
                rss.append(rss_bytes([self._task.payer_pid, self._task.receiver_pid]))
        return rss

    def _exchanges(self) -> int:
        return self._totals["fulfilled"] + self._totals["rejected"]

    def _sample(self) -> dict[str, float]:
        return {
            "time": time.monotonic(),
            "tool_cpu": time.process_time(),
            "payer_ns": cpu_ns([self._task.payer_pid]),
            "receiver_ns": cpu_ns([self._task.receiver_pid]),
            "exchanges": self._exchanges(),
            "packets": self._packets,
        }

    def _result(self, before: dict[str, float], after: dict[str, float]) -> Event:
        change = {name: after[name] - before[name] for name in after}
        seconds, exchanges, packets = change["time"], change["exchanges"], change["packets"]
        cpu_us = (change["payer_ns"] + change["receiver_ns"]) / 1000
        throughput = exchanges / seconds
        totals = {name: self._totals[name] for name in ("sent", "fulfilled", "rejected")}
        return {
            "seconds": seconds,
            "exchanges": exchanges,
            "throughput": throughput,
            "flow_throughput": [throughput],
            "cpu_us_per_exchange": cpu_us / exchanges if exchanges else None,
            "packets_per_second": packets / seconds,
            "payer_cpu_us_per_packet": change["payer_ns"] / 1000 / packets if packets else None,
            "receiver_cpu_us_per_packet": (
                change["receiver_ns"] / 1000 / packets if packets else None
            ),
            "cpu_share": cpu_us / 1e6 / seconds,
            "tool_cpu_share": change["tool_cpu"] / seconds,
            "codes": dict(self._codes),
            "totals": [
                {**totals, "timed_out": self._totals["timed_out"], "lost": 0, "wrong": 0,
                 "in_flight": 0}
            ],
            "received": {
                "prepares": self._packets, "fulfilled": self._packets, "rejected": 0,
                "amount": self._amount, "malformed": 0, "unmatched": 0,
            },
            "flows": [flow_result("measured", self._histogram.summary(SHARES))],
        }  # fmt: skip


async def _paid(paying: Paying) -> Event:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, paying.stop)
    return await paying.run()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = PayingTask.model_validate_json(sys.stdin.buffer.read())
    raise_limits(task.core)
    try:
        emit(asyncio.run(_paid(Paying(task))))
    except (aiohttp.ClientError, OSError) as error:
        emit({"event": "error", "message": str(error) or type(error).__name__})
        sys.exit(1)


if __name__ == "__main__":
    main()
