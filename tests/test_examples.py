"""The documents under examples/ are typed into a shell, and print what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import free_ports
from tools import run_example

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted((ROOT / "examples").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_it_says_is_what_happens(document: Path) -> None:
    # What is not so on this machine: ports that are free.
    ports = sorted({*re.findall(r"(?<=:)[789]770\b", document.read_text())})
    instead = {
        f":{port}": f":{free}" for port, free in zip(ports, free_ports(len(ports)), strict=True)
    }
    assert len(instead) > 1
    run_example.run(document, instead)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```bash\necho a b c\n```\n```text\na … c\n```\n", None),
        ("<!--! word=hidden -->\n```bash\necho $word\n```\n```text\nhidden\n```\n", None),
        ("```bash\necho a\n```\n```text\nb\n```\n", "printed\na\ninstead of\nb\n"),
        ("```bash\necho a\nfalse\n```\n```text\na\n```\n```bash\necho b\n```\n", "ended with 1"),
        ("```bash\ntrue\n```\n```bash\nexit 3\n```\n", "ended with 3"),
        ("```text\nb\n```\n", "no command that could print"),
        ("# nothing\n", "nothing to type"),
    ],
)
def test_documents_that_say_what_does_not_happen(
    tmp_path: Path, text: str, complaint: str | None
) -> None:
    document = tmp_path / "document.md"
    document.write_text(text)
    if complaint is None:
        run_example.run(document)
        return
    with pytest.raises(run_example.ExampleError, match=re.escape(complaint)):
        run_example.run(document)


def test_what_runs_in_the_background_ends_with_the_document(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    pid = tmp_path / "pid"
    document.write_text(f"```bash\nsleep 1000 &\necho $! > {pid}\n```\n")
    command = [sys.executable, run_example.__file__, str(document)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
