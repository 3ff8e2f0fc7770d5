"""Payments that have arrived, on their way to the connector. Imports the neighbours.

A credit is named by its key, which is the connector's Idempotency-Key as well. It is repeated under
this key, with the very same body, until the connector acknowledges it; what an earlier call came
to does not matter, since the connector answers a repeated key as it did the first time.
"""

from typing import Any

from fastilp.engines.connector import Connector
from fastilp.engines.outbox import Outbox
from fastilp.engines.quantity import Quantity
from fastilp.engines.settings import EngineSettings
from fastilp.engines.store import CREDITS, Change, Store
from fastilp.errors import UsageError

KEY_BYTES_MAX = 255
AT_A_TIME = 16


class Credits:
    def __init__(self, store: Store, connector: Connector, settings: EngineSettings) -> None:
        self._connector = connector
        self.outbox = Outbox(store, CREDITS, self._tell, settings, AT_A_TIME)

    def add(self, change: Change, account_id: str, quantity: Quantity, key: str) -> bool:
        """See `OwnChange.credit`."""
        if not 0 < len(key.encode()) <= KEY_BYTES_MAX:
            raise UsageError(f"the key {key!r} must have 1 to {KEY_BYTES_MAX} bytes")
        if quantity.amount <= 0:
            raise UsageError(f"a credit of {quantity}, must be more than nothing")
        if change.get(CREDITS, key) is not None:
            return False
        self.outbox.add(change, key, {"account": account_id, **quantity.to_json()})
        return True

    def wake(self) -> None:
        self.outbox.wake()

    async def _tell(self, key: str, record: Any) -> None:
        await self._connector.credit(record["account"], Quantity.of_json(record), key)
