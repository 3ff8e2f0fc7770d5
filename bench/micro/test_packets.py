"""Packets in Python (encode, decode) and the route lookup in C at 100,000 routes."""

import random

from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.subject import FULFILL, NOW_MS, PREIMAGE, ROUTES, destination
from fastilp import Fulfill, Prepare
from fastilp._core.forwarding import ForwardingTable

LOOKUPS = 4_096
PREPARE = Prepare(
    amount=107, expires_at=NOW_MS, execution_condition=bytes(32),
    destination="g.hub.region7.node7000.x", data=bytes(200),
)  # fmt: skip


def encode_prepare() -> bytes:
    return bytes(
        Prepare(
            amount=107, expires_at=NOW_MS, execution_condition=PREIMAGE,
            destination="g.hub.region7.node7000.x", data=PREIMAGE,
        )
    )  # fmt: skip


def test_encode_prepare(benchmark: BenchmarkFixture) -> None:
    assert Prepare.decode(benchmark(encode_prepare)).amount == 107


def test_decode_prepare(benchmark: BenchmarkFixture) -> None:
    assert benchmark(Prepare.decode, bytes(PREPARE)) == PREPARE


def test_decode_fulfill(benchmark: BenchmarkFixture) -> None:
    assert benchmark(Fulfill.decode, FULFILL).fulfillment == PREIMAGE


def test_route(benchmark: BenchmarkFixture) -> None:
    """ns of one lookup = the figure / 4,096."""
    table = ForwardingTable()
    for route in range(ROUTES):
        table.set(destination(route).encode(), route)
    source = random.Random(1)
    wanted = [source.randrange(ROUTES) for _ in range(LOOKUPS)]
    addresses = [f"{destination(route)}.alice.token".encode() for route in wanted]
    assert benchmark(table.find_all, addresses) == sum(wanted)
    assert benchmark.stats is not None
    benchmark.extra_info["ns_per_lookup"] = round(benchmark.stats.stats.median * 1e9 / LOOKUPS, 1)
