"""Circuit breaker: an account whose link keeps failing gets no packets for a while.

Looks at numbers that the core keeps of each next hop (`Switch.tally`), so a packet costs nothing.
What counts is a link failure, the T01 of our own transports: a peer that cannot be reached, a
connection that was lost, HTTP 5xx. What the peer answers never counts, neither does a packet that
expired: whoever sends packets could otherwise cut others off. Imports _core. Promises no more than
one suspension at a time per account, and that removing an account ends it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from fastilp._core.books import Account
from fastilp._core.switch import Switch

_SENT_MODULUS = 1 << 32


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Names and defaults of the Java connector and of interledger-relay's users."""

    window: int = 50
    """Prepares that are looked at together."""
    ratio: Fraction = Fraction(1, 5)
    """Of these, failures that open the circuit."""
    open_ms: int = 30_000


@dataclass(slots=True)
class _Circuit:
    account: Account
    sent: int
    failures: int
    closes_at_ms: int | None = None


class Breakers:
    """`on_change(account, open)` is told when a circuit opens or closes."""

    def __init__(
        self,
        switch: Switch,
        limits: BreakerLimits | None = None,
        on_change: Callable[[Account, bool], None] | None = None,
    ) -> None:
        self._switch = switch
        self.limits = limits or BreakerLimits()
        self._on_change = on_change
        self._circuits: dict[str, _Circuit] = {}

    def __len__(self) -> int:
        return len(self._circuits)

    def watch(self, account: Account) -> None:
        """From now on; twice is once."""
        if account.name not in self._circuits:
            self._circuits[account.name] = _Circuit(account, *self._now(account))

    def forget(self, username: str) -> None:
        """No longer, because it is not wanted or the account is closed."""
        circuit = self._circuits.pop(username, None)
        if circuit is not None and circuit.closes_at_ms is not None:
            self._switch.suspend(circuit.account, False)
            self._tell(circuit, False)

    def open(self) -> Iterator[str]:
        """Accounts that get no packets now."""
        return (name for name, one in self._circuits.items() if one.closes_at_ms is not None)

    def tick(self, now_ms: int) -> None:
        """Look at all of them; to be called a few times a second."""
        for circuit in self._circuits.values():
            if circuit.closes_at_ms is None:
                self._look(circuit, now_ms)
            elif now_ms >= circuit.closes_at_ms:
                circuit.closes_at_ms = None
                self._begin(circuit)
                self._switch.suspend(circuit.account, False)
                self._tell(circuit, False)

    def _look(self, circuit: _Circuit, now_ms: int) -> None:
        sent, failures = self._now(circuit.account)
        looked_at = (sent - circuit.sent) % _SENT_MODULUS
        if looked_at < self.limits.window:
            return
        if Fraction(failures - circuit.failures, looked_at) >= self.limits.ratio:
            circuit.closes_at_ms = now_ms + self.limits.open_ms
            self._switch.suspend(circuit.account, True)
            self._tell(circuit, True)
        self._begin(circuit)

    def _begin(self, circuit: _Circuit) -> None:
        circuit.sent, circuit.failures = self._now(circuit.account)

    def _now(self, account: Account) -> tuple[int, int]:
        sent, failures, _, _ = self._switch.tally(account)
        return sent, failures

    def _tell(self, circuit: _Circuit, is_open: bool) -> None:
        if self._on_change is not None:
            self._on_change(circuit.account, is_open)
