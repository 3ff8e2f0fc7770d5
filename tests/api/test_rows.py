"""Every row of Interledger.rs' inventory has a test of its name."""

import re
import subprocess
import sys
from pathlib import Path

# The rows of its account fields, endpoints, refusals, ILP-over-HTTP, commands and settlement.
ROWS = {
    *(f"ACC-{number:02}" for number in range(1, 20)),
    *(f"API-{number:02}" for number in (*range(1, 22), 24)),
    *(f"ERR-{number:02}" for number in range(1, 9)),
    *(f"HTTP-{number:02}" for number in range(1, 7)),
    *(f"CLI-{number:02}" for number in range(1, 17)),
    *(f"BAL-{number:02}" for number in range(1, 6)),
    *(f"SET-{number:02}" for number in range(1, 5)),
}
ROW = r"(acc|api|err|http|cli|bal|set)[-_](\d\d)(?!\d)"


def rows_in(text: str) -> set[str]:
    return {f"{kind.upper()}-{number}" for kind, number in re.findall(ROW, text, re.IGNORECASE)}


def test_every_row_has_a_test(checkout: Path) -> None:
    folders = ["tests/api", "tests/cli", "tests/settlement"]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *folders]
    listed = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=checkout, capture_output=True, text=True,
    )  # fmt: skip
    assert listed.returncode == 0, listed
    # Of tests of our commands only where a row is about nothing but the command.
    ours = "test_calls.py::test_sends"
    tests = [line for line in listed.stdout.splitlines() if "::" in line and ours not in line]
    tested = rows_in("\n".join(line.partition("::")[2] for line in tests))
    assert tested >= ROWS
