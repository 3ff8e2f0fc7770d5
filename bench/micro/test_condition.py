"""One condition check in a column of 256, by each kernel that this machine can run, as a multiple
of one `hashlib.sha256(32 bytes).digest()` in the same run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastilp._core import condition

TIMES = Path(__file__).parent / "condition_times.py"
ROOT = Path(__file__).parents[2]


def times(kernel: str) -> list[str]:
    return subprocess.run(
        [sys.executable, TIMES],
        env=os.environ | {"FASTILP_SHA256": kernel, "PYTHONPATH": str(ROOT)},
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip


@pytest.mark.parametrize("kernel", condition.kernels())
def test_condition(benchmark: BenchmarkFixture, kernel: str) -> None:
    name, check_ns, hashlib_ns, ratio = benchmark.pedantic(times, (kernel,), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        ns_per_row=float(check_ns), sha256_ns=float(hashlib_ns), multiple_of_sha256=float(ratio)
    )
    print(f"\n{name}: {check_ns} ns a row = {ratio} x hashlib.sha256 ({hashlib_ns} ns)")
    assert name == kernel
