"""What a switch does when it gets no more memory: what it refuses is whole afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer takes all of the address space for itself",
)
@pytest.mark.parametrize("kind", ["fulfills", "accounts"])
def test_no_more_memory(kind: str) -> None:
    program = ROOT / "tests" / "programs" / "out_of_memory.py"
    done = subprocess.run(
        [sys.executable, str(program), kind],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
