"""Payments that arrive, by the list of our account's transactions. Imports the neighbours.

PayPal lists a transaction up to three hours late, and says up to when its list is whole; a pending
one may succeed weeks after it began. So each look begins some days before the last one ended, or
where the oldest pending one did. A payment that is seen again has the same key.

What counts is what PayPal shows to us, by its status, currency and note. Nobody's word is taken for
it: neither the peer's nor a webhook's.
"""

import datetime
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from fastilp.engines.backoff import now_ms
from fastilp.engines.context import Context, OwnChange
from fastilp.engines.errors import NotNowError
from fastilp.engines.parking import park
from fastilp.engines.paypal.accounts import NOTE, account_of, is_ours
from fastilp.engines.paypal.client import Client
from fastilp.engines.paypal.money import units_of
from fastilp.engines.quantity import Quantity
from fastilp.errors import DecodeError

TRANSACTIONS = "/v1/reporting/transactions"
CURSOR = "cursor"
DAY_MS = 24 * 3_600_000
OVERLAP_MS = 3 * DAY_MS
# PayPal answers for 31 days at most.
WINDOW_MS = 30 * DAY_MS
PAGE = 500
PAGES_MAX = 200
# Payments from account to account: sent by hand, and payouts.
CODES = frozenset({"T0000", "T0001"})
PENDING, SUCCEEDED = "P", "S"
# So many are remembered not to be logged again.
STRAYS_MAX = 10_000
_KEY = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


class Arrival(NamedTuple):
    """A payment to us. `key` names it for ever: PayPal's id of the transaction."""

    key: str
    note: str
    units: int
    status: str
    begun_ms: int


class Incoming:
    def __init__(self, context: Context, client: Client, currency: str, scale: int) -> None:
        self._context = context
        self._client = client
        self._currency = currency
        self._scale = scale
        self._strays: set[str] = set()

    async def look(self) -> None:
        """At what has come. Raises NotNowError."""
        end_ms = now_ms()
        with self._context.read() as records:
            # What was paid before we were first started is not for us.
            cursor_ms = min(records.get(CURSOR) or end_ms, end_ms)
            pending = [record["begun_ms"] for _, record in records.items("pending/")]
        start_ms = min([cursor_ms - OVERLAP_MS, *pending])
        while start_ms < end_ms:
            until_ms = min(start_ms + WINDOW_MS, end_ms)
            whole_ms = await self._look(start_ms, until_ms)
            with self._context.change() as change:
                change.put(CURSOR, max(cursor_ms, min(until_ms, whole_ms)))
            start_ms = until_ms

    async def _look(self, start_ms: int, until_ms: int) -> int:
        """At one window. Until when PayPal's list is whole."""
        asked = {
            "start_date": _text(start_ms),
            "end_date": _text(until_ms),
            "fields": "transaction_info",
            "page_size": str(PAGE),
        }
        whole_ms = until_ms
        for page in range(1, PAGES_MAX + 1):
            answer = await self._client.get(TRANSACTIONS, **asked, page=str(page))
            listed = answer.get("transaction_details")
            if not isinstance(listed, list):
                raise NotNowError("PayPal lists no transactions")
            with self._context.change() as change:
                for arrival in self._arrivals(listed):
                    self._take(change, arrival)
            refreshed = answer.get("last_refreshed_datetime")
            if refreshed is not None:
                whole_ms = min(whole_ms, _milliseconds(refreshed))
            pages = answer.get("total_pages", 1)
            if type(pages) is not int:
                raise NotNowError("PayPal does not say how many pages there are")
            if page >= pages:
                return whole_ms
        raise NotNowError(f"PayPal lists more than {PAGES_MAX} pages")

    def _arrivals(self, listed: list[Any]) -> Iterable[Arrival]:
        for each in listed:
            info = each.get("transaction_info") if isinstance(each, dict) else None
            if not isinstance(info, dict) or info.get("transaction_event_code") not in CODES:
                continue
            texts = (info.get("transaction_note"), info.get("transaction_subject"))
            notes = {
                found for text in texts if isinstance(text, str) for found in NOTE.findall(text)
            }
            amount = info.get("transaction_amount")
            if len(notes) != 1 or not isinstance(amount, dict):
                # Other business of the same account.
                continue
            arrival = self._arrival(info, amount, notes.pop())
            if arrival is not None:
                yield arrival

    def _arrival(self, info: dict[str, Any], amount: dict[str, Any], note: str) -> Arrival | None:
        key = info.get("transaction_id")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise NotNowError("PayPal lists a transaction without an id")
        try:
            units = units_of(amount.get("value"), self._scale)
        except DecodeError as error:
            raise NotNowError(f"PayPal lists {key} with an amount that is none: {error}") from None
        if units <= 0:
            # Our own payout to somebody.
            return None
        if amount.get("currency_code") != self._currency:
            self._context.log.warning("payment of another currency", key=key, amount=amount)
            return None
        begun_ms = _milliseconds(info.get("transaction_initiation_date"))
        return Arrival(key, note, units, str(info.get("transaction_status")), begun_ms)

    def _take(self, change: OwnChange, arrival: Arrival) -> None:
        if arrival.status == PENDING:
            change.put(f"pending/{arrival.key}", {"begun_ms": arrival.begun_ms})
            return
        change.delete(f"pending/{arrival.key}")
        if arrival.status != SUCCEEDED:
            return
        account_id = account_of(change, arrival.note)
        if account_id is not None:
            change.credit(account_id, Quantity(arrival.units, self._scale), arrival.key)
        elif is_ours(change, arrival.note):
            account_id = change.get(f"note/{arrival.note}")
            park(change, arrival.note, arrival.key, arrival.units, account=account_id)
        elif arrival.key not in self._strays:
            # PayPal lists it for days.
            if len(self._strays) >= STRAYS_MAX:
                self._strays.clear()
            self._strays.add(arrival.key)
            self._context.log.warning("payment with no note of ours", **arrival._asdict())


def _text(moment_ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(moment_ms / 1_000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _milliseconds(text: Any) -> int:
    """Raises NotNowError."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return int(moment.timestamp() * 1_000)
    except (TypeError, ValueError, OverflowError):
        raise NotNowError(f"PayPal answers {str(text)[:40]!r} for a time") from None
