"""What a turn asks of malloc does not depend on how many packets are in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "tests" / "programs"


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer has its own malloc",
)
@pytest.mark.parametrize("durable", [False, True], ids=["memory", "durable"])
def test_packets_allocate_nothing(tmp_path: Path, durable: bool) -> None:
    library = tmp_path / "count.so"
    source = str(PROGRAMS / "count_allocations.c")
    subprocess.run(["gcc", "-Wall", "-shared", "-fPIC", "-o", library, source], check=True)
    result = subprocess.run(
        [
            sys.executable,
            str(PROGRAMS / "steady_state.py"),
            str(tmp_path / "data") if durable else "memory",
        ],
        env={
            **os.environ,
            "LD_PRELOAD": str(library),
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    counted = json.loads(result.stdout)
    assert counted["1000"] == counted["10"] > 0, "allocations of 1,000 packets and of 10"
