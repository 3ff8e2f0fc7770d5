"""Where `fastilp` begins. Imports nothing but the standard library, and that little: an interrupt
has to end the program quietly while everything else is still being imported.

Until a command begins, Ctrl-C ends the process at once, and not by an exception: much of what runs
during an import would print it, swallow it, or change it into another one. Nothing has been begun
yet that would have to be cleaned up.
"""

import os
import signal
from importlib import import_module

INTERRUPTED_STATUS = 130


def main() -> None:
    # Else it is ignored, as in a shell's background jobs, or somebody else's affair.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    import_module("fastilp.cli.main").main()


def begin() -> None:
    """A command begins: from here on an interrupt is its own affair."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: object) -> None:
    os._exit(INTERRUPTED_STATUS)
