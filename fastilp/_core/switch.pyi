from typing import final

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp._core.terminal import Terminal

@final
class Switch(Terminal):
    """The data plane: bytes and a time go in, bytes come out (docs/data-path.md). Not
    thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        address: str,
        *,
        in_flight_max: int = 65_536,
        hold_max_ms: int = ...,
        window_min_ms: int = 100,
    ) -> None: ...
    def process(self, now_ms: int) -> None:
        """Do everything that is due at `now_ms` (Unix time): the only call that does work."""
    def next_deadline_ms(self) -> int | None:
        """When process must be called again even if nothing arrives; None if nothing is in
        flight."""
    def fileno(self) -> int:
        """Readable when a commit that the switch waits for has ended; -1 for a memory ledger."""
    def punt_account(self, request_id: int) -> Account:
        """Which account a punted Prepare (taken from `control`) came in on."""
    def in_flight(self) -> int: ...
    def drain(self) -> None:
        """Refuse new Prepares from now on (T00, store_unavailable); answers go on. For shutdown."""
    def waiting(self) -> int:
        """Fulfills that wait for their commit."""
