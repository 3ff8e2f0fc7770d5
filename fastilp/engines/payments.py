"""Settlements that the connector has asked for. Imports the neighbours.

Taking one is a single transaction: the record under its key, the account's leftover added, the part
that is too fine for the ledger kept as the new leftover. Only then the connector is told that it is
taken, and only then the ledger is touched. The record answers repeated calls as long as it is kept,
and after that a digest of it: a connector may repeat what it noted a year ago.
"""

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any

from fastilp.engines.backoff import now_ms
from fastilp.engines.errors import EngineError
from fastilp.engines.outbox import DONE, WAITING, Outbox
from fastilp.engines.quantity import Quantity
from fastilp.engines.settings import EngineSettings
from fastilp.engines.store import ACCOUNTS, LEFTOVERS, PAID, PAYMENTS, Change, Store, View

# For a person to read.
KEPT_MS = 90 * 24 * 3_600_000
# A repeated call that comes later than this is taken for a new one. fastilp's own records of
# settlements can be repeated for 400 days.
DIGEST_KEPT_MS = 3 * 366 * 24 * 3_600_000
_DIGEST_BYTES = 16

Send = Callable[[str, Quantity, str], Awaitable[None]]
NOTHING = Quantity(0, 0)


class Payments:
    """`send` is the engine's send_money."""

    def __init__(self, store: Store, send: Send, settings: EngineSettings, at_a_time: int) -> None:
        self._store = store
        self._send = send
        self.outbox = Outbox(store, PAYMENTS, self._pay, settings, at_a_time)

    def take(
        self, account_id: str, quantity: Quantity, key: str, scale: int, units_max: int | None
    ) -> None:
        """Returns when it is on the disk, or was before. Raises EngineError."""
        with self._store.write() as change:
            digest = _known_digest(change, key)
            if digest is None:
                self._take(change, account_id, quantity, key, scale, units_max)
            elif digest != _digest(account_id, quantity):
                raise EngineError("this Idempotency-Key was used for another call", status=409)
        self.outbox.wake()

    async def sweep(self) -> None:
        """Of what was done long ago a digest is enough; of what is older still, nothing."""
        moment_ms = now_ms()

        def shorten(change: Change, key: str, record: Any) -> None:
            if record["state"] == DONE and record["done_ms"] < moment_ms - KEPT_MS:
                digest = _digest(record["account"], Quantity.of_json(record))
                change.put(PAID, key, [digest, record["done_ms"]])
                change.delete(PAYMENTS, key)

        def forget(change: Change, key: str, record: Any) -> None:
            if record[1] < moment_ms - DIGEST_KEPT_MS:
                change.delete(PAID, key)

        await self._store.walk(PAYMENTS, shorten)
        await self._store.walk(PAID, forget)

    def _take(
        self,
        change: Change,
        account_id: str,
        quantity: Quantity,
        key: str,
        scale: int,
        units_max: int | None,
    ) -> None:
        account = change.get(ACCOUNTS, account_id)
        if account is None or account["closing"]:
            raise unknown_account(account_id)
        if quantity.amount == 0:
            raise EngineError('"amount" must be more than 0', status=400)
        whole, rest = quantity.split(scale)
        # As Interledger.rs's engine does: a rest waits for the settlement after it.
        earlier, still = leftover(change, account_id).split(scale)
        whole, rest = whole + earlier, rest + still
        if units_max is not None and whole.amount > units_max:
            raise EngineError(
                f'"amount" is more than the ledger can carry, {units_max}', status=400
            )
        change.put(LEFTOVERS, account_id, rest.to_json())
        record = {"account": account_id, **quantity.to_json(), "units": str(whole.amount)}
        if whole.amount > 0:
            self.outbox.add(change, key, record | {"unit_scale": scale})
        else:
            ended = {"state": DONE, "created_ms": now_ms(), "done_ms": now_ms()}
            change.put(PAYMENTS, key, record | ended)

    async def _pay(self, key: str, record: Any) -> None:
        units = Quantity(int(record["units"]), record["unit_scale"])
        await self._send(record["account"], units, key)


def _known_digest(view: View, key: str) -> str | None:
    """Of the settlement that had this key."""
    kept = view.get(PAYMENTS, key)
    if kept is not None:
        return _digest(kept["account"], Quantity.of_json(kept))
    old = view.get(PAID, key)
    return None if old is None else str(old[0])


def _digest(account_id: str, quantity: Quantity) -> str:
    call = f"{account_id} {quantity.amount} {quantity.scale}"
    return blake2b(call.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def leftover(view: View, account_id: str) -> Quantity:
    """What was asked for and is still too fine for the ledger."""
    kept = view.get(LEFTOVERS, account_id)
    return NOTHING if kept is None else Quantity.of_json(kept)


def is_owed(view: View, account_id: str) -> bool:
    """Whether a payment to this account is still to be made."""
    waiting = (record for _, record in view.items(PAYMENTS) if record["state"] == WAITING)
    return any(record["account"] == account_id for record in waiting)


def unknown_account(account_id: str) -> EngineError:
    return EngineError(f"there is no account {account_id!r}", status=404)
