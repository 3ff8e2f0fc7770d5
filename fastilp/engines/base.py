"""What an engine is: four methods, and the context that they work in. Imports the neighbours.

The framework owns HTTP, idempotency, leftovers, retries and the store; an engine owns the ledger.
What it must promise is small: `send_money` is called again with the same key until it returns, by
this process or by the one after a crash, and pays at most once per key; every payment that arrives
is credited under a key of its own, the same one however often it is seen.
"""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from fastilp.engines.context import Context, Records
from fastilp.engines.errors import EngineError
from fastilp.engines.quantity import Quantity
from fastilp.engines.settings import EngineSettings

Settings = TypeVar("Settings", bound=EngineSettings)


class Engine(ABC, Generic[Settings]):
    """Subclass it for a ledger; `serve` in `process` runs it."""

    scale: int
    """Decimals of the ledger's smallest unit: `send_money` gets whole units of it."""
    units_max: int | None = None
    """The largest payment that the ledger can carry at all."""
    parks = False
    """Whether it keeps payments of nobody, by `parking`."""
    at_a_time = 16
    """So many calls of send_money are under way at most."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context = context
        self.settings = settings

    async def start(self) -> None:
        """Before the first call. Raises ConfigError for settings that cannot work; a ledger that
        does not answer is no reason to fail."""

    async def stop(self) -> None:
        """After the last call."""

    async def create_account(self, account_id: str) -> None:
        """The connector has an account with this peer. Called again until it returns, unless it
        raises an EngineError other than NotNowError while the connector waits for the answer:
        that one it is told."""

    async def delete_account(self, account_id: str) -> None:
        """All payments to this account are done, and the connector has none any more."""

    @abstractmethod
    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        """Pay the peer of this account. Returns when the ledger cannot undo it any more; raises
        anything to be called again with the same key, after longer and longer times."""

    async def receive_message(self, account_id: str, message: bytes) -> bytes:
        """Answer the peer's engine."""
        raise EngineError("this engine takes no messages", status=400)

    def problems(self) -> list[str]:
        """Sentences for an operator: why payments do not move now. Empty ones do not count, and
        the same one counts once."""
        return []

    def remarks(self) -> dict[str, str]:
        """By key: what keeps a payment that send_money is at. For an operator, as a problem."""
        return {}

    def ledger_id(self, records: Records, key: str) -> str | None:
        """What this payment is called on the ledger, if it has got that far."""
        return None

    def peer(self, records: Records, account_id: str) -> dict[str, Any]:
        """Who the account's peer is on the ledger, for an operator to compare."""
        return {}
