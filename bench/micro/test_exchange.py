"""One exchange through an embedded switch: a Prepare in, forwarded, its Fulfill in, relayed.

Timed is `receive` and `process` both ways; `take` is apart. The reference in the same run is one
`hashlib.sha256(32 bytes).digest()`: machines differ, the multiple less so.
"""

import gc
import hashlib
import random
import time
from statistics import median

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


Batch = list[tuple[Link, list[tuple[int, bytes]]]]


def group(batch: list[tuple[Link, bytes]]) -> Batch:
    """What each link has in this batch, as the loop of a shell would hand it in."""
    by_link: dict[Link, list[tuple[int, bytes]]] = {}
    for request_id, (link, packet) in enumerate(batch):
        by_link.setdefault(link, []).append((request_id, packet))
    return list(by_link.items())


def exchange_all(subject: Subject, batches: list[Batch]) -> tuple[float, float]:
    """ns per exchange, and ns per exchange of `take`."""
    clock = time.perf_counter_ns
    switch = subject.switch
    spent = taking = 0
    for batch in batches:
        start = clock()
        for link, packets in batch:
            link.receive(packets)
        switch.process(NOW_MS)
        middle = clock()
        forwarded = [(link, link.take()) for link in switch.dirty_links()]
        after_take = clock()
        answers = [(link, [(i, FULFILL) for i, _ in packets]) for link, packets in forwarded]
        again = clock()
        for link, packets in answers:
            link.receive(packets)
        switch.process(NOW_MS)
        end = clock()
        for link in switch.dirty_links():
            link.take()
        done = clock()
        spent += middle - start + end - again
        taking += after_take - middle + done - end
    return spent / PACKETS, taking / PACKETS


@pytest.mark.parametrize("size", [1, 16, 256])
def test_exchange(subject: Subject, benchmark: BenchmarkFixture, size: int) -> None:
    batches = [group(batch) for batch in subject.batches(size, random.Random(size))]
    before = subject.switch.statuses()["fulfilled"]
    figures = []

    # The collector walks all of pytest's objects and leaves cold caches behind: not our subject.
    gc.collect()
    gc.freeze()

    def measured() -> None:
        figures.append((*exchange_all(subject, batches), reference_ns()))

    benchmark.pedantic(measured, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    exchange, taking, reference = (median(column) for column in zip(*figures, strict=True))
    ratio = median(spent / once for spent, _, once in figures)
    benchmark.extra_info.update(
        exchange_ns=round(exchange), take_ns=round(taking), sha256_ns=round(reference),
        multiple_of_sha256=round(ratio, 2),
    )  # fmt: skip
    print(
        f"\nexchange, batches of {size}: {exchange:.0f} ns = {ratio:.2f} x hashlib.sha256 "
        f"({reference:.0f} ns); take {taking:.0f} ns"
    )
    assert subject.switch.statuses()["fulfilled"] - before == PACKETS * (ROUNDS + 1)
    sums = subject.switch.ledger.sums()["USD", 9]
    assert sums["debits_posted"] == sums["credits_posted"]
