"""One exchange through an embedded switch: a Prepare in, forwarded, its Fulfill in, relayed.

Timed is `receive` and `process` both ways; `take` is apart. Packets are handed in by one call for
all links (`Switch.receive`), and for comparison by one call for each link (`Link.receive`). The
reference in the same run is one `hashlib.sha256(32 bytes).digest()`: machines differ, the multiple
less so.
"""

import gc
import hashlib
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.subject import FULFILL, NOW_MS, PACKETS, PREIMAGE, Subject
from fastilp import Link

REFERENCE_CALLS = 20_000
ROUNDS = 15


def reference_ns() -> float:
    """One hashlib.sha256 of 32 bytes, ns."""
    digest = hashlib.sha256
    start = time.perf_counter_ns()
    for _ in range(REFERENCE_CALLS):
        digest(PREIMAGE).digest()
    return (time.perf_counter_ns() - start) / REFERENCE_CALLS


Batch = list[tuple[Link, int, bytes]]
ByLink = list[tuple[Link, list[tuple[int, bytes]]]]


def by_link(batch: Batch) -> ByLink:
    """What each link has in this batch."""
    grouped: dict[Link, list[tuple[int, bytes]]] = {}
    for link, request_id, packet in batch:
        grouped.setdefault(link, []).append((request_id, packet))
    return list(grouped.items())


def receive_by_link(grouped: ByLink) -> None:
    for link, packets in grouped:
        link.receive(packets)


def exchange_all(subject: Subject, batches: list[Batch], each_link: bool) -> tuple[float, float]:
    """ns per exchange, and ns per exchange of `take`."""
    clock = time.perf_counter_ns
    switch = subject.switch
    receive: Callable[[Any], None] = receive_by_link if each_link else switch.receive
    spent = taking = 0
    for batch in batches:
        requests = by_link(batch) if each_link else batch
        start = clock()
        receive(requests)
        switch.process(NOW_MS)
        middle = clock()
        forwarded = switch.take()
        after_take = clock()
        triples = [(link, request_id, FULFILL) for link, request_id, _ in forwarded]
        answers = by_link(triples) if each_link else triples
        again = clock()
        receive(answers)
        switch.process(NOW_MS)
        end = clock()
        switch.take()
        done = clock()
        spent += middle - start + end - again
        taking += after_take - middle + done - end
    return spent / PACKETS, taking / PACKETS


@pytest.mark.parametrize("each_link", [False, True], ids=["switch", "link"])
@pytest.mark.parametrize("size", [1, 16, 256])
def test_exchange(
    subject: Subject, benchmark: BenchmarkFixture, size: int, each_link: bool
) -> None:
    batches = [
        [(link, request_id, packet) for request_id, (link, packet) in enumerate(batch)]
        for batch in subject.batches(size, random.Random(size))
    ]
    before = subject.switch.statuses()["fulfilled"]
    figures = []

    # The collector walks all of pytest's objects and leaves cold caches behind: not our subject.
    gc.collect()
    gc.freeze()

    def measured() -> None:
        figures.append((*exchange_all(subject, batches, each_link), reference_ns()))

    benchmark.pedantic(measured, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    exchange, taking, reference = (median(column) for column in zip(*figures, strict=True))
    ratio = median(spent / once for spent, _, once in figures)
    benchmark.extra_info.update(
        exchange_ns=round(exchange), take_ns=round(taking), sha256_ns=round(reference),
        multiple_of_sha256=round(ratio, 2),
    )  # fmt: skip
    call = "Link.receive" if each_link else "Switch.receive"
    print(
        f"\nexchange, batches of {size}, {call}: {exchange:.0f} ns = {ratio:.2f} x "
        f"hashlib.sha256 ({reference:.0f} ns); take {taking:.0f} ns"
    )
    assert subject.switch.statuses()["fulfilled"] - before == PACKETS * (ROUNDS + 1)
    sums = subject.switch.ledger.sums()["USD", 9]
    assert sums["debits_posted"] == sums["credits_posted"]
