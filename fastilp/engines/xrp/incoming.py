"""Payments that arrive, by the list of our account's transactions. Imports the neighbours.

Only validated ledgers are looked at, which are never undone. The cursor is the number of the next
ledger; it moves in the transaction that holds the credits of the ledgers behind it, so a crash
neither skips nor repeats one, and what was missed while the engine was down is next. A
node that does not have the ledgers that are next is not skipped over, but told of.

What counts is `meta.delivered_amount`: the field `Amount` of a partial payment is what its sender
would like to have paid.
"""

from typing import Any, NamedTuple

from fastilp.engines.context import Context, OwnChange
from fastilp.engines.errors import NotNowError
from fastilp.engines.parking import park
from fastilp.engines.quantity import Quantity
from fastilp.engines.xrp.accounts import account_of, is_ours
from fastilp.engines.xrp.rpc import Rpc, as_number, field
from fastilp.engines.xrp.wallet import SCALE, TAG_MAX

PAGE = 200
CURSOR = "cursor"


class Arrival(NamedTuple):
    """A payment to us. `key` names it for ever: the hash of its transaction."""

    key: str
    sender: str
    tag: int | None
    drops: int


class Incoming:
    def __init__(self, context: Context, rpc: Rpc, address: str) -> None:
        self._context = context
        self._rpc = rpc
        self._address = address
        self.strays = 0
        """Payments that can never be anybody's; they are in the log and on the ledger only."""

    async def look(self) -> None:
        """At all ledgers that have come. Raises NotNowError."""
        last = (await self._rpc.ledger()).number
        first = self.next_ledger()
        if first == 0:
            # What was paid before we were first started is not for us.
            self._move(last + 1, [])
        elif first <= last:
            await self._scan(first, last)

    def next_ledger(self) -> int:
        """The first one that was not looked at; 0 before the first look."""
        with self._context.read() as records:
            return int(records.get(CURSOR) or 0)

    async def _scan(self, first: int, last: int) -> None:
        asked = {
            "account": self._address,
            "ledger_index_min": first,
            "ledger_index_max": last,
            "forward": True,
            "limit": PAGE,
        }
        marker: Any = None
        while True:
            page = asked if marker is None else asked | {"marker": marker}
            result = await self._rpc.call("account_tx", **page)
            if as_number(result.get("ledger_index_min")) > first:
                has = result.get("ledger_index_min")
                raise NotNowError(f"the XRP node has ledgers from {has} on, and {first} is next")
            entries = [_Entry(each) for each in field(result, "transactions", list)]
            arrivals = [found for found in map(self._arrival, entries) if found is not None]
            marker = result.get("marker")
            if marker is None:
                # A node that is behind the one we asked before has searched less.
                end = min(last, as_number(result.get("ledger_index_max")))
                self._move(max(end + 1, first), arrivals)
                return
            # The page may end in the middle of a ledger, which is looked at again after a crash.
            self._move(max([first, *(entry.ledger for entry in entries)]), arrivals)

    def _arrival(self, entry: "_Entry") -> Arrival | None:
        """None if it pays us no XRP."""
        transaction, meta = entry.transaction, entry.meta
        if transaction.get("TransactionType") != "Payment":
            return None
        if transaction.get("Destination") != self._address:
            return None
        if meta.get("TransactionResult") != "tesSUCCESS":
            return None
        delivered = meta.get("delivered_amount")
        if not isinstance(delivered, str) or not (delivered.isascii() and delivered.isdigit()):
            # Of another currency, or so old that the ledger does not know.
            self._context.log.warning("payment of no XRP", key=entry.hash, delivered=delivered)
            return None
        tag = transaction.get("DestinationTag")
        if tag is not None and as_number(tag) > TAG_MAX:
            raise NotNowError(f"the XRP node answers {tag!r} for a tag")
        drops = as_number(delivered)
        sender = str(field(transaction, "Account", str))
        return Arrival(entry.hash, sender, tag, drops) if drops > 0 else None

    def _move(self, next_ledger: int, arrivals: list[Arrival]) -> None:
        with self._context.change() as change:
            for arrival in arrivals:
                self._take(change, arrival)
            change.put(CURSOR, next_ledger)

    def _take(self, change: OwnChange, arrival: Arrival) -> None:
        account_id = account_of(change, arrival.tag)
        if account_id is not None:
            change.credit(account_id, Quantity(arrival.drops, SCALE), arrival.key)
        elif is_ours(change, arrival.tag):
            notes = {"sender": arrival.sender, "account": change.get(f"tag/{arrival.tag}")}
            park(change, str(arrival.tag), arrival.key, arrival.drops, **notes)
        else:
            self.strays += 1
            self._context.log.warning("payment with no tag of ours", **arrival._asdict())


class _Entry:
    """Of the list. Raises NotNowError if it is not validated."""

    def __init__(self, entry: Any) -> None:
        if not isinstance(entry, dict) or entry.get("validated") is not True:
            raise NotNowError("the XRP node shows transactions that are not validated")
        self.transaction: dict[str, Any] = field(entry, "tx", dict)
        self.meta: dict[str, Any] = field(entry, "meta", dict)
        self.hash: str = field(self.transaction, "hash", str)
        self.ledger = as_number(self.transaction.get("ledger_index"))
