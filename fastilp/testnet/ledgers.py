"""What a test network needs of a ledger. Imports the neighbours.

`PAYER` and `PAYEE` are the two sides: alice's engine, which settles, and bob's. All amounts are
integers in the ledger's smallest unit, which is that of the nodes' accounts, too.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from typing import ClassVar, NamedTuple

from fastilp.errors import FastILPError
from fastilp.ports import free_port
from fastilp.testnet.programs import Programs

PAYER, PAYEE = 0, 1
SIDES = (PAYER, PAYEE)
HOST = "127.0.0.1"

Tell = Callable[[str], None]
"""Told what is done next."""


class Launch(NamedTuple):
    """An engine of this ledger: the words behind `fastilp engine`, and its secrets."""

    words: tuple[str, ...]
    environment: dict[str, str]


class Ports:
    """`usual` ports, so that what documents say can be typed; `any` where nobody types."""

    def __init__(self, usual: bool) -> None:
        self._usual = usual

    def address(self, port: int) -> str:
        """host:port; another port if this one is taken."""
        return f"{HOST}:{self.number(port)}"

    def number(self, port: int) -> int:
        """0, of which the system makes a free one, where nobody types."""
        if not self._usual:
            return 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                return free_port()
            return port


class TestLedger(ABC):
    """A ledger on this machine, with money for two engines."""

    __test__ = False  # Not a test, whatever its name begins with.

    asset_code: ClassVar[str]
    asset_scale: ClassVar[int]
    amount: ClassVar[int]
    """The payment, and the threshold at which it is settled."""
    extra: ClassVar[str]
    package: ClassVar[str]
    """What engines of this ledger need: an extra of ours, and a package that comes with it."""

    def __init__(self, programs: Programs, ports: Ports, tell: Tell) -> None:
        self.programs = programs
        self.ports = ports
        self.tell = tell

    def check(self) -> None:
        """Raises FastILPError if the engines could not run, before anything is started."""
        if find_spec(self.package) is None or find_spec("lmdb") is None:
            raise FastILPError(f"its engine is not installed: pip install 'fastilp[{self.extra}]'")

    @abstractmethod
    def start(self) -> None:
        """Returns when it serves. Raises FastILPError that says what is to be installed."""

    @abstractmethod
    def engine(self, side: int) -> Launch:
        """After `start`."""

    @abstractmethod
    def balance(self, side: int) -> int:
        """What the engine of this side has there."""

    @abstractmethod
    def fees(self, side: int) -> int:
        """What it has paid to the ledger itself, until now."""

    @abstractmethod
    def hints(self) -> list[str]:
        """Commands that look at the ledger."""
