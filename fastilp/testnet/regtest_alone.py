"""Lightning on this machine as a program of its own: `python -m fastilp.testnet.regtest_alone DIR`.
Imports `regtest` and errors.

For a container beside those of the nodes: at ports that are known, until a signal ends it. The file
`ready` in the directory, which must not be there before, is written when the channel is open.
"""

import signal
import sys
from pathlib import Path
from typing import NoReturn

from fastilp.errors import FastILPError
from fastilp.testnet.regtest import Regtest, check

# The chain's two, the Electrum server's, then each wallet's: its RPC, and where its peer dials.
PORTS = (18443, 18444, 50001, 7001, 9735, 7002, 9736)
READY = "ready"


def main(directory: Path) -> None:
    """Raises FastILPError; SystemExit at a signal."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    check()
    directory.mkdir(parents=True)
    found = Regtest(directory, _tell, PORTS)
    try:
        found.start()
        (directory / READY).touch()
        _tell("ready")
        while True:
            signal.pause()
    finally:
        found.stop()


def _end(*_: object) -> NoReturn:
    sys.exit(0)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FastILPError as error:
        sys.exit(f"regtest: {error}")
