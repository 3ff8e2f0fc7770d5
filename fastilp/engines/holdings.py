"""What an engine holds, for a person: accounts, payments to peers, payments of nobody. Imports the
neighbours.

All lists come by pages, and a page looks at a bounded number of records, between which others get
their turn. Amounts are texts, as JSON has no numbers of 256 bits.
"""

import asyncio
import heapq
from datetime import UTC, datetime
from typing import Any

import structlog

from fastilp.engines import parking
from fastilp.engines.accounts import Accounts
from fastilp.engines.base import Engine
from fastilp.engines.context import OwnChange, Records
from fastilp.engines.credits import Credits
from fastilp.engines.errors import EngineError
from fastilp.engines.payments import Payments, leftover
from fastilp.engines.store import ACCOUNTS, CREDITS, PAYMENTS, SLICE, Store, View

# A page that is looked for among more of them ends early, and says where to go on.
SLICES_MAX = 100

Page = dict[str, Any]
"""A list, and under `next` where the next page begins; None after the last one."""

_log = structlog.get_logger("fastilp.engine")


class Holdings:
    def __init__(
        self,
        store: Store,
        engine: Engine[Any],
        accounts: Accounts,
        payments: Payments,
        credits: Credits,
    ) -> None:
        self._store = store
        self._engine = engine
        self._accounts = accounts
        self._payments = payments
        self._credits = credits

    def accounts(self, after: str, limit: int) -> Page:
        """In the order of their ids."""
        with self._store.read() as view:
            records = view.page(ACCOUNTS, after, limit + 1)
            found = [self._account(view, *each) for each in records[:limit]]
        return {"accounts": found, "next": found[-1]["id"] if len(records) > limit else None}

    async def payments(self, after: str, limit: int, account_id: str, open_only: bool) -> Page:
        """Against the order of their keys: those of fastilp's node are in the order of time."""
        found: list[dict[str, Any]] = []
        remarks = self._engine.remarks()
        for _ in range(SLICES_MAX):
            with self._store.read() as view:
                keys = self._slice(view, after, open_only)
                for key in keys:
                    record, after = view.get(PAYMENTS, key), key
                    if record is None or account_id not in ("", record["account"]):
                        continue
                    found.append(self._payment(view, key, record, remarks.get(key, "")))
                    if len(found) == limit:
                        return {"payments": found, "next": key}
            if len(keys) < SLICE:
                return {"payments": found, "next": None}
            await asyncio.sleep(0)
        return {"payments": found, "next": after}

    def payment(self, key: str) -> dict[str, Any]:
        """Raises EngineError."""
        with self._store.read() as view:
            record = view.get(PAYMENTS, key)
            if record is None:
                raise EngineError(f"there is no payment {key!r}", status=404)
            return self._payment(view, key, record, self._engine.remarks().get(key, ""))

    def parked(self, after: str, limit: int) -> Page:
        """In the order of their owners. Raises EngineError."""
        self._check_parks()
        with self._store.read() as view:
            records = parking.page(Records(view), after, limit + 1)
        found = [self._parked(*each) for each in records[:limit]]
        following = f"{found[-1]['owner']}/{found[-1]['key']}" if len(records) > limit else None
        return {"parked": found, "next": following}

    def credit(self, key: str, account_id: str) -> dict[str, Any]:
        """A parked payment, because a person says so; again as often as it is asked for. Raises
        EngineError."""
        self._check_parks()
        with self._store.write() as change:
            own = OwnChange(change, self._credits)
            is_new = parking.credit_by_hand(own, account_id, key, self._engine.scale)
            record = change.get(CREDITS, key)
        self._credits.wake()
        if is_new:
            _log.warning("parked payment credited by hand", key=key, account=account_id)
        names = ("account", "amount", "scale", "state")
        return {"key": key, **{name: record[name] for name in names}}

    def _check_parks(self) -> None:
        if not self._engine.parks:
            raise EngineError("this engine parks no payments", status=404)

    def _slice(self, view: View, after: str, open_only: bool) -> list[str]:
        if not open_only:
            return [key for key, _ in view.page_back(PAYMENTS, after, SLICE)]
        waiting = self._payments.outbox.waiting()
        return heapq.nlargest(SLICE, (key for key in waiting if not after or key < after))

    def _account(self, view: View, account_id: str, record: Any) -> dict[str, Any]:
        state = "ready" if record["ready"] else "setting up"
        return {
            "id": account_id,
            "state": "closing" if record["closing"] else state,
            "error": self._accounts.failing.get(account_id),
            "leftover": leftover(view, account_id).to_json(),
            "peer": self._engine.peer(Records(view), account_id),
        }

    def _payment(self, view: View, key: str, record: Any, remark: str) -> dict[str, Any]:
        """`amount` is what was asked for, `units` what is paid: with the leftover from before, and
        without what is too fine."""
        return {
            "key": key,
            "account": record["account"],
            "amount": record["amount"],
            "scale": record["scale"],
            "units": record["units"],
            "units_scale": record.get("unit_scale", self._engine.scale),
            "state": record["state"],
            "tries": record.get("tries", 0),
            "error": record.get("note") or remark or None,
            "ledger_id": self._engine.ledger_id(Records(view), key),
            "created_at": _moment(record["created_ms"]),
            "done_at": _moment(record.get("done_ms")),
        }

    def _parked(self, owner: str, key: str, record: Any) -> dict[str, Any]:
        notes = {name: note for name, note in record.items() if name not in ("units", "parked_ms")}
        return {
            "key": key,
            "owner": owner,
            "amount": record["units"],
            "scale": self._engine.scale,
            "notes": notes,
            "parked_at": _moment(record.get("parked_ms")),
        }


def _moment(value_ms: int | None) -> str | None:
    if value_ms is None:
        return None
    return datetime.fromtimestamp(value_ms / 1_000, UTC).isoformat(timespec="milliseconds")
