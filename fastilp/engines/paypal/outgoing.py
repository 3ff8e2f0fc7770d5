"""Payments: each under its key is one payout that succeeds. Imports the neighbours.

A payout is a batch of one item, whose `sender_batch_id` is made from the settlement's key. It is in
the store before PayPal hears of it, and PayPal refuses a second batch with that id, naming the
first one: so it may be asked for again, for as long as PayPal remembers. A payout that has ended
without paying gets a successor with an id of its own; one that nobody can tell about never does.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from fastilp.engines import paid
from fastilp.engines.backoff import now_ms
from fastilp.engines.context import Context
from fastilp.engines.errors import NotNowError
from fastilp.engines.paypal.accounts import Details
from fastilp.engines.paypal.client import Client, PayPalError
from fastilp.engines.paypal.money import text_of, units_of
from fastilp.errors import DecodeError

# PayPal refuses an id twice for 30 days; after that it would pay again.
REMEMBERED_MS = 28 * 24 * 3_600_000
PAYOUTS = "/v1/payments/payouts"
# An item's `transaction_status` that is the end, and the payee never had the money. Not those that
# come after SUCCESS, for it may have been credited: a person decides about them.
FAILED = frozenset({"FAILED", "RETURNED", "CANCELED", "DENIED"})
# Its states on the way; a person hears of others, such as UNCLAIMED and REVERSED.
UNDER_WAY = frozenset({"NEW", "PENDING", "PROCESSING"})
# The same as FAILED, of a batch.
DENIED = frozenset({"DENIED", "CANCELED"})
_BATCH_LINK = re.compile(r".*/v1/payments/payouts/([A-Za-z0-9_-]{1,64})(?:\?.*)?", re.ASCII)
_BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

Find = Callable[[], Awaitable[Details]]


class Outgoing:
    def __init__(
        self, context: Context, client: Client, currency: str, scale: int, poll_ms: int
    ) -> None:
        self._context = context
        self._client = client
        self._currency = currency
        self._scale = scale
        self._poll_s = poll_ms / 1_000
        self._awaited: dict[str, asyncio.Event] = {}
        self.said: dict[str, str] = {}
        """What PayPal says to a payout that is on its way, by key, if it hangs there."""

    async def pay(self, find: Find, units: int, key: str) -> None:
        """`find`: where to, asked for when it is written down. Returns when it is paid. Raises
        NotNowError to be called again."""
        with self._context.read() as records:
            if paid.is_paid(records, key):
                return
            record = records.get(f"sent/{key}")
        if record is None:
            record = self._written(key, _order(key, 0, await find(), units))
        if record["batch"] is None:
            record = self._written(key, record | {"batch": await self._ask(record)})
        await self._wait(key, record)

    def is_awaited(self, batch: str) -> bool:
        return batch in self._awaited

    def look_at(self, batch: str) -> None:
        """PayPal says that something has happened to it."""
        if batch in self._awaited:
            self._awaited[batch].set()

    def _written(self, key: str, record: dict[str, Any]) -> dict[str, Any]:
        with self._context.change() as change:
            change.put(f"sent/{key}", record)
        return record

    async def _ask(self, record: dict[str, Any]) -> str:
        """For the payout; PayPal's id of it. Raises NotNowError."""
        name = record["sender_batch_id"]
        # Whichever way the clock was set.
        if abs(now_ms() - record["created_ms"]) > REMEMBERED_MS:
            raise NotNowError(
                f"whether PayPal has the payout {name} cannot be told any more: look for it there"
            )
        item = {
            "recipient_type": "EMAIL",
            "receiver": record["email"],
            "amount": {
                "value": text_of(int(record["units"]), self._scale),
                "currency": self._currency,
            },
            "note": record["note"],
            "sender_item_id": name,
        }
        body = {"sender_batch_header": {"sender_batch_id": name}, "items": [item]}
        try:
            answer = await self._client.post(PAYOUTS, orjson.dumps(body))
        except PayPalError as error:
            batch = _duplicate_of(error.answer)
            if batch is None:
                raise
            return batch
        batch = _part(answer, "batch_header").get("payout_batch_id")
        if not isinstance(batch, str) or not _BATCH_ID.fullmatch(batch):
            raise NotNowError("PayPal took a payout and does not say its id")
        return batch

    async def _wait(self, key: str, record: dict[str, Any]) -> None:
        """Until it is paid. Raises NotNowError if it never will be."""
        batch = record["batch"]
        event = self._awaited[batch] = asyncio.Event()
        try:
            while True:
                event.clear()
                status, transaction = await self._status(record)
                if status == "SUCCESS":
                    return self._ended(key, transaction)
                if status in FAILED:
                    self._give_up(key, record, status)
                if status not in UNDER_WAY:
                    self.said[key] = status
                try:
                    await asyncio.wait_for(event.wait(), self._poll_s)
                except TimeoutError:
                    continue
        finally:
            self._awaited.pop(batch, None)
            self.said.pop(key, None)

    async def _status(self, record: dict[str, Any]) -> tuple[str, str]:
        """Of the item, and its transaction. Raises NotNowError."""
        answer = await self._client.get(f"{PAYOUTS}/{record['batch']}")
        header = _part(answer, "batch_header")
        sender = _part(header, "sender_batch_header").get("sender_batch_id")
        if sender != record["sender_batch_id"]:
            raise NotNowError(f"PayPal shows another payout as {record['batch']}")
        items = answer.get("items")
        if not isinstance(items, list) or len(items) != 1:
            # It has not been looked at, or never will be.
            status = str(header.get("batch_status"))
            return ("DENIED" if status in DENIED else "PENDING"), ""
        item = items[0] if isinstance(items[0], dict) else {}
        amount = _part(_part(item, "payout_item"), "amount")
        try:
            units = units_of(amount.get("value"), self._scale)
        except DecodeError as error:
            raise NotNowError(f"PayPal shows a payout of an amount that is none: {error}") from None
        if (units, amount.get("currency")) != (int(record["units"]), self._currency):
            raise NotNowError(f"PayPal shows another amount in the payout {record['batch']}")
        return str(item.get("transaction_status")), str(item.get("transaction_id"))

    def _ended(self, key: str, transaction: str) -> None:
        with self._context.change() as change:
            paid.note(change, key, transaction=transaction)
        self._context.log.info("paid", key=key, transaction=transaction)

    def _give_up(self, key: str, record: dict[str, Any], status: str) -> None:
        """The money is where it was. The next call asks for a payout with another id."""
        to = Details(record["email"], record["note"])
        self._written(key, _order(key, record["attempt"] + 1, to, int(record["units"])))
        raise NotNowError(f"the payout {record['batch']} to {record['email']} ended as {status}")


def _order(key: str, attempt: int, to: Details, units: int) -> dict[str, Any]:
    digest = hashlib.sha256(f"{attempt}:{key}".encode()).hexdigest()
    return {
        "attempt": attempt,
        "sender_batch_id": f"ilp-{digest[:48]}",
        "email": to.email,
        "note": to.note,
        "units": str(units),
        "batch": None,
        "created_ms": now_ms(),
    }


def _duplicate_of(answer: dict[str, Any]) -> str | None:
    """The batch that has our id already, if that is why PayPal refuses."""
    details = answer.get("details")
    for detail in details if isinstance(details, list) else []:
        if (
            not isinstance(detail, dict)
            or "SENDER_BATCH_ID" not in str(detail.get("field")).upper()
        ):
            continue
        links = detail.get("link") or detail.get("links") or answer.get("links")
        for link in links if isinstance(links, list) else []:
            href = link.get("href") if isinstance(link, dict) else None
            found = _BATCH_LINK.fullmatch(href) if isinstance(href, str) else None
            if found is not None:
                return found[1]
    return None


def _part(answer: dict[str, Any], name: str) -> dict[str, Any]:
    found = answer.get(name)
    if not isinstance(found, dict):
        raise NotNowError(f"PayPal answers without {name!r}")
    return found
