"""A million routes and accounts: one lookup, one change of the table, and what it takes to load.

Lookups are of uniformly random routes that are there, 256 at a time in C, beside
`hashlib.sha256(32 bytes).digest()` in the same round. Loading runs in a process of its own.
"""

import gc
import json
import random
import subprocess
import sys
import time
from statistics import median

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.test_exchange import reference_ns
from fastilp._core.forwarding import ForwardingTable

ROUTES = 1_000_000
LOOKUPS = 65_536
ROUNDS = 15
MEMORY_MB_MAX = 600


def route(number: int) -> bytes:
    """Six to eight segments."""
    segments = ["g", f"region{number % 97}", f"net{number % 1009}", f"node{number}", "us", "a"]
    return ".".join([*segments, *["east", "pop7"][: number % 3]]).encode()


@pytest.fixture(scope="module")
def routes() -> list[bytes]:
    return [route(number) for number in range(ROUTES)]


@pytest.mark.parametrize("below", [b"", b".alice"], ids=["itself", "below"])
def test_lookup(routes: list[bytes], benchmark: BenchmarkFixture, below: bytes) -> None:
    """Addresses that are routes, and addresses one segment below, where most lookups ask in vain
    at a depth that other routes have."""
    table = ForwardingTable()
    for number, prefix in enumerate(routes):
        table.set(prefix, number)
    wanted = random.Random(3).choices(range(ROUTES), k=LOOKUPS)
    # Copies, one behind the other: where Python keeps the routes is not the subject.
    addresses = [b"".join([routes[number], below]) for number in wanted]
    expected = sum(wanted)
    figures = []
    gc.collect()
    gc.freeze()

    def measured() -> None:
        start = time.perf_counter_ns()
        assert table.find_all(addresses) == expected
        figures.append(((time.perf_counter_ns() - start) / LOOKUPS, reference_ns()))

    benchmark.pedantic(measured, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    ratio = median(lookup / once for lookup, once in figures)
    lookup_ns = median(lookup for lookup, _ in figures)
    print(
        f"\nlookup of a route{below.decode()}, {ROUTES:,} routes: {lookup_ns:.0f} ns = "
        f"{ratio:.2f} x hashlib.sha256; {table.memory_size / ROUTES:.1f} bytes a route, prefixes "
        f"of {sum(map(len, routes)) / ROUTES:.1f} characters included"
    )


def test_change(routes: list[bytes], benchmark: BenchmarkFixture) -> None:
    """The dearest insert and delete, in CPU time of the thread, from none to a million and back."""
    table, slowest_ns, clock = ForwardingTable(), {"insert": 0, "delete": 0}, time.thread_time_ns

    def measured() -> None:
        for prefix in routes:
            start = clock()
            table.set(prefix, 1)
            slowest_ns["insert"] = max(slowest_ns["insert"], clock() - start)
        for prefix in routes:
            start = clock()
            table.remove(prefix)
            slowest_ns["delete"] = max(slowest_ns["delete"], clock() - start)

    benchmark.pedantic(measured, rounds=1)  # type: ignore[no-untyped-call]
    dearest = ", ".join(f"{kind} {spent / 1e6:.3f} ms" for kind, spent in slowest_ns.items())
    print(f"\ndearest change on the way to {ROUTES:,} routes and back: {dearest}")
    assert len(table) == 0


def test_load(benchmark: BenchmarkFixture) -> None:
    figures = {}

    def measured() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "bench.micro.million", str(ROUTES)],
            capture_output=True, check=True, text=True,
        )  # fmt: skip
        figures.update(json.loads(done.stdout))

    benchmark.pedantic(measured, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(figures)
    print(
        f"\n{ROUTES:,} accounts and routes: {figures['process_mb']} MB in memory, "
        f"{figures['accounts_bytes_each']} bytes an account, {figures['routes_bytes_each']} a "
        f"route; loaded in {figures['all_s']} s ({figures['all_cpu_s']} s of CPU)"
    )
    assert figures["process_mb"] <= MEMORY_MB_MAX
