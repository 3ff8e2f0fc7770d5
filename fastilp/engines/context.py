"""What the framework gives an engine: its part of the store, the connector, and credits that are
never lost. Imports the neighbours.

An engine changes its records and credits a payment in one transaction: `with context.change() as
change` makes both last, or neither.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge

from fastilp.engines.connector import Connector
from fastilp.engines.credits import Credits
from fastilp.engines.outbox import WAITING
from fastilp.engines.quantity import Quantity
from fastilp.engines.store import ACCOUNTS, CREDITS, ENGINE, PAYMENTS, Change, Store, View


class Records:
    """The engine's own records, by name, at one moment. JSON: amounts are texts."""

    def __init__(self, view: View) -> None:
        self._view = view

    def get(self, name: str) -> Any:
        """The record, or None."""
        return self._view.get(ENGINE, name)

    def items(self, prefix: str) -> list[tuple[str, Any]]:
        """In the order of their names."""
        return self._view.items(ENGINE, prefix)

    def is_waiting(self, key: str) -> bool:
        """Whether this payment is still asked for."""
        record = self._view.get(PAYMENTS, key)
        return record is not None and record["state"] == WAITING

    def page(self, prefix: str, after: str, size: int) -> list[tuple[str, Any]]:
        """In the order of their names, those with the prefix; `after` is one of them, or empty."""
        found = self._view.page(ENGINE, after or prefix, size)
        return [each for each in found if each[0].startswith(prefix)]

    def credited_to(self, key: str) -> str | None:
        """Whom this payment on the ledger was credited to."""
        record = self._view.get(CREDITS, key)
        return None if record is None else str(record["account"])

    def has_account(self, account_id: str) -> bool:
        """Whether the connector has it, and is not closing it."""
        record = self._view.get(ACCOUNTS, account_id)
        return record is not None and not record["closing"]

    def is_credited(self, key: str) -> bool:
        """Whether this payment on the ledger was credited, to whomever."""
        return self._view.get(CREDITS, key) is not None

    def first(self, prefix: str) -> tuple[str, Any]:
        """Raises LookupError if there is none."""
        return self._view.first(ENGINE, prefix)

    def accounts(self) -> list[str]:
        """Ids of the connector's accounts."""
        return [name for name, _ in self._view.items(ACCOUNTS)]


class OwnChange(Records):
    """The same, to be written."""

    def __init__(self, change: Change, credits: Credits) -> None:
        super().__init__(change)
        self._change = change
        self._credits = credits

    def put(self, name: str, record: Any) -> None:
        self._change.put(ENGINE, name, record)

    def delete(self, name: str) -> bool:
        return self._change.delete(ENGINE, name)

    def credit(self, account_id: str, quantity: Quantity, key: str) -> bool:
        """The peer of this account has paid. False, and nothing is done, if `key` was credited
        before: a key names one payment on the ledger, for ever."""
        return self._credits.add(self._change, account_id, quantity, key)


class Context:
    """One per engine."""

    def __init__(
        self,
        store: Store,
        connector: Connector,
        credits: Credits,
        registry: CollectorRegistry,
    ) -> None:
        self._store = store
        self._connector = connector
        self._credits = credits
        self.registry = registry
        """For metrics of the engine's own."""
        self.log = structlog.get_logger("fastilp.engine")

    def gauge(self, name: str, text: str, look: Callable[[], float]) -> None:
        """A figure of the engine's own: `look` is called when somebody asks."""
        Gauge(f"fastilp_engine_{name}", text, registry=self.registry).set_function(look)

    def check_room(self) -> None:
        """Before something is written that is not about money. Raises StorageError."""
        self._store.check_room()

    @contextmanager
    def read(self) -> Iterator[Records]:
        with self._store.read() as view:
            yield Records(view)

    @contextmanager
    def change(self) -> Iterator[OwnChange]:
        """Must not be awaited in: the store has one writer."""
        with self._store.write() as change:
            yield OwnChange(change, self._credits)
        self._credits.wake()

    def credit(self, account_id: str, quantity: Quantity, key: str) -> bool:
        """A change of its own: see `OwnChange.credit`."""
        with self.change() as change:
            return change.credit(account_id, quantity, key)

    async def message(self, account_id: str, message: bytes) -> bytes:
        """Ask the peer's engine, through both connectors. Raises NotNowError."""
        return await self._connector.message(account_id, message)
