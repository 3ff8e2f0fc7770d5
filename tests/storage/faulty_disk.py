"""Disks that misbehave, for tests of the store and of a whole node: `stall.c` preloaded into a
process, and a small tmpfs that can be filled.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent / "stall.c"


def compile_shim(folder: Path) -> Path:
    library = folder / "stall.so"
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run([*command, "-ldl"], check=True)
    return library


def preload(shim: Path) -> str:
    """Beside what is preloaded already: a sanitizer's runtime has to come first."""
    return " ".join(filter(None, [os.environ.get("LD_PRELOAD", ""), str(shim)]))


@contextmanager
def mounted(disk: Path, size: str) -> Iterator[Path]:
    """An empty file system of this size in the new folder `disk`."""
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    try:
        result = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if result.returncode != 0:
        pytest.skip(f"a small disk needs the right to mount: {result.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
