"""Runs a test network until it has paid once, or until Ctrl-C. Imports testnet.

All its programs end with us, on SIGTERM and a closed terminal too. What they kept is deleted,
unless something failed: then the logs are needed.
"""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastilp.cli.testnet_shown import Steps, show, to_try
from fastilp.errors import FastILPError
from fastilp.testnet.ethereum import EthereumLedger
from fastilp.testnet.ledgers import SIDES, Ports, TestLedger
from fastilp.testnet.lightning import LightningLedger
from fastilp.testnet.network import Network
from fastilp.testnet.programs import Programs
from fastilp.testnet.xrp import XrpLedger

LEDGERS: dict[str, type[TestLedger]] = {
    "eth": EthereumLedger,
    "xrp": XrpLedger,
    "ln": LightningLedger,
}
_LOOK_SECONDS = 1.0


def run(kind: type[TestLedger], *, once: bool, as_json: bool) -> None:
    """Raises FastILPError where a part cannot be had, fails, or the sums do not agree."""
    steps = Steps()
    with _interruptible(), _programs(steps) as programs:
        ports = Ports(usual=not once)
        network = Network(kind(programs, ports, steps.begin), programs, ports, steps.begin)
        network.start()
        network.pay()
        report = network.settle()
        steps.end()
        show(report, as_json)
        if report.problems and once:
            raise FastILPError("; ".join(report.problems))
        if not once:
            steps.say(to_try(network))
            with suppress(KeyboardInterrupt):
                _play(network, programs, steps, as_json)
            steps.begin("all of it ends")


def _play(network: Network, programs: Programs, steps: Steps, as_json: bool) -> None:
    """Until Ctrl-C. Balances are shown when they have changed, and stayed so for two looks."""
    ended: set[str] = set()
    shown = seen = [network.balances(side) for side in SIDES]
    while True:
        time.sleep(_LOOK_SECONDS)
        for program in programs.all:
            if (how := program.ended()) and how not in ended:
                ended.add(how)
                steps.say(how)
        # A node that somebody has killed does not answer until it is started again.
        with suppress(FastILPError):
            now = [network.balances(side) for side in SIDES]
            if now == seen and now != shown:
                show(network.look(), as_json)
                shown = now
            seen = now


@contextmanager
def _programs(steps: Steps) -> Iterator[Programs]:
    """Ended, whatever happens."""
    directory = Path(tempfile.mkdtemp(prefix="fastilp-testnet-"))
    programs = Programs(directory)
    try:
        yield programs
    except FastILPError:
        programs.stop()
        steps.fail()
        if programs.all:
            steps.say(f"The logs are in {directory}")
        else:
            shutil.rmtree(directory)
        raise
    except BaseException:
        # A terminal that has gone takes no line: the programs first.
        programs.stop()
        steps.fail()
        shutil.rmtree(directory, ignore_errors=True)
        raise
    if late := programs.stop():
        raise FastILPError(f"{', '.join(late)} had to be killed; the logs are in {directory}")
    steps.end()
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and a terminal that is closed are as good as Ctrl-C."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
