"""Every row of Interledger.rs' inventory has a test of its name, or the guide for its operators
says that it is not there yet."""

import re
import subprocess
import sys
from pathlib import Path

# The rows of its account fields, endpoints, refusals, ILP-over-HTTP and commands.
ROWS = {
    *(f"ACC-{number:02}" for number in range(1, 20)),
    *(f"API-{number:02}" for number in (*range(1, 22), 24)),
    *(f"ERR-{number:02}" for number in range(1, 9)),
    *(f"HTTP-{number:02}" for number in range(1, 7)),
    *(f"CLI-{number:02}" for number in range(1, 17)),
}
ROW = r"(acc|api|err|http|cli)[-_](\d\d)(?!\d)"


def rows_in(text: str) -> set[str]:
    return {f"{kind.upper()}-{number}" for kind, number in re.findall(ROW, text, re.IGNORECASE)}


def not_there_yet(checkout: Path) -> set[str]:
    """The first column of the guide's last table; `A to B` is everything between."""
    guide = (checkout / "docs" / "interledger-rs.md").read_text()
    section = guide.partition("## Not there yet")[2]
    found: set[str] = set()
    for cell in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE):
        found |= rows_in(cell)
        for kind, first, last in re.findall(r"(\w+)-(\d\d) to \w+-(\d\d)", cell):
            found |= {f"{kind}-{number:02}" for number in range(int(first), int(last) + 1)}
    return found


def test_every_row_has_a_test_or_is_not_there_yet(checkout: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/api", "tests/cli"]
    listed = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=checkout, capture_output=True, text=True,
    )  # fmt: skip
    assert listed.returncode == 0, listed
    # Of tests of our commands only where a row is about nothing but the command.
    ours = "test_calls.py::test_sends"
    tests = [line for line in listed.stdout.splitlines() if "::" in line and ours not in line]
    tested = rows_in("\n".join(line.partition("::")[2] for line in tests))
    assert tested >= ROWS - not_there_yet(checkout)
    # Nobody is told that something is missing which is not.
    assert not_there_yet(checkout) & ROWS <= {"API-02", "API-19", "ERR-03"}
