"""Runs a document with commands: `python tools/run_example.py examples/two-nodes.md`.

What stands in ```bash is typed into one shell, in order; the ```text behind such a block is what it
prints, where … stands for anything within a line. Comments <!--! … --> are typed too, and not seen
by readers: waiting, mostly. Imports the standard library only. The shell works in a temporary
folder, with our examples/ in it, and ends what it has started.
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 120
_BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$|<!--!(.*?)-->", re.DOTALL | re.MULTILINE)
# Between the outputs of two blocks: the ASCII record separator, which no command prints.
_BETWEEN = "\x1e"
# `fastilp` is a program and no function, so that a node in the background is a job of its own.
_PREAMBLE = f"""
set -eu -o pipefail
mkdir .bin
cat > .bin/fastilp <<'END'
#!/bin/sh
PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m fastilp "$@"
END
cat > .bin/python <<'END'
#!/bin/sh
PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} "$@"
END
chmod +x .bin/fastilp .bin/python
ln -s {shlex.quote(str(ROOT / "examples"))} examples
export PATH="$PWD/.bin:$PATH"
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
"""


class Block(NamedTuple):
    """What is typed, and what it must print; None: whatever it likes."""

    typed: str
    printed: str | None = None


class ExampleError(Exception):
    """The document does not say what happens."""


def blocks_of(text: str) -> list[Block]:
    blocks: list[Block] = []
    for kind, body, hidden in _BLOCK.findall(text):
        if kind != "text":
            blocks.append(Block(body or hidden))
        elif not blocks or blocks[-1].printed is not None:
            raise ExampleError(f"there is no command that could print this:\n{body}")
        else:
            blocks[-1] = blocks[-1]._replace(printed=body)
    if not blocks:
        raise ExampleError("there is nothing to type in it")
    return blocks


def run(document: Path, instead: Mapping[str, str] | None = None) -> None:
    """`instead`: texts that are others on this machine, such as ports. Raises ExampleError."""
    text = document.read_text()
    for word, other in (instead or {}).items():
        text = text.replace(word, other)
    blocks = blocks_of(text)
    with tempfile.TemporaryDirectory(prefix="fastilp-example-") as folder:
        done = _typed(blocks, Path(folder))
        # What the nodes said goes with the folder.
        logs = "".join(path.read_text() for path in sorted(Path(folder).glob("*.log")))
    outputs = done.stdout.split(_BETWEEN)
    for block, output in zip(blocks, outputs, strict=False):
        if block.printed is not None and not _matches(block.printed, output):
            raise ExampleError(
                f"{block.typed}printed\n{output}instead of\n{block.printed}{done.stderr}"
            )
    if done.returncode != 0:
        failed = blocks[min(len(outputs), len(blocks)) - 1]
        raise ExampleError(f"{failed.typed}ended with {done.returncode}:\n{done.stderr}{logs}")


def _typed(blocks: Sequence[Block], folder: Path) -> "subprocess.CompletedProcess[str]":
    between = f"\nprintf '\\x{ord(_BETWEEN):02x}'\n"
    command = ["bash", "-c", _PREAMBLE + between.join(each.typed for each in blocks)]
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ILP_CLI_")},
    )  # fmt: skip
    try:
        output, complaints = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        # With all that it has started.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise ExampleError(f"it is not at its end after {TIMEOUT_SECONDS} seconds") from None
    return subprocess.CompletedProcess(command, process.returncode, output, complaints)


def _matches(expected: str, output: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.rstrip("\n").split("…"))
    return re.fullmatch(pattern, output.rstrip("\n")) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a document of examples/.")
    parser.add_argument("document", type=Path, nargs="+")
    for document in parser.parse_args().document:
        try:
            run(document)
        except ExampleError as error:
            sys.exit(f"{document}: {error}")
        print(f"{document}: as it says")


if __name__ == "__main__":
    main()
