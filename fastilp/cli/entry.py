"""Where `fastilp` begins. Imports nothing but the standard library, and that little: an interrupt
has to end the program quietly while everything else is still being imported.

Modules that are loaded by name come in here, and nowhere else in the command line.
"""

import os
import signal
from importlib import import_module
from typing import Any

INTERRUPTED_STATUS = 130


def load(module: str) -> Any:
    """Import a module by its name; Ctrl-C while that lasts ends the process.

    Not by an exception: much of what runs during an import would print it, or change it into
    another one. Nothing has been begun yet that would have to be cleaned up.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        # Ignored, as in a shell's background jobs; or somebody else's affair.
        return import_module(module)
    signal.signal(signal.SIGINT, _end)
    try:
        return import_module(module)
    finally:
        signal.signal(signal.SIGINT, before)


def _end(number: int, frame: object) -> None:
    os._exit(INTERRUPTED_STATUS)


def main() -> None:
    load("fastilp.cli.main").main()
