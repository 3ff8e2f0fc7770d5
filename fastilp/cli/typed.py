"""What a person types to call this program again. Imports the standard library only."""

import shlex
import sys
from pathlib import Path


def program() -> str:
    """As it was called, from this folder."""
    called = sys.argv[0]
    if called.endswith("__main__.py"):
        return shlex.join((sys.executable, "-m", "fastilp"))
    if Path(called).is_relative_to(Path.cwd()):
        called = str(Path(called).relative_to(Path.cwd()))
    return shlex.quote(called)
