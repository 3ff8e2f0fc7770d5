"""Settlement of the node's accounts: when what is owed is paid, and through which engine. Imports
_core, storage and the rest of settlement.

What an account's holder has earned beyond `settle_to` is due once the clearing balance reaches
`settle_threshold`; the switch reports that once per batch, so one settlement may cover several
Fulfills. Without an engine nothing is debited. While a settlement of an account is under way no
other begins by itself: what comes due meanwhile goes with the next one.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterator

from fastilp._core.books import Account
from fastilp.control.accounts import Accounts, Puts
from fastilp.control.alerts import SETTLEMENT_FAILING, Alerts
from fastilp.control.credits import Credits
from fastilp.control.engine_accounts import EngineAccounts
from fastilp.control.engine_client import Before, EngineAnswer, EngineClient
from fastilp.control.entries import Entry
from fastilp.control.outbox import AMOUNT_MAX, Also, Outbox, no_more
from fastilp.control.quantities import Quantity
from fastilp.control.tables import NodeTables
from fastilp.errors import ConflictError, StorageError, UsageError
from fastilp.storage.kinds import ACCOUNTS, TOMBSTONES
from fastilp.storage.ledger import Ledger
from fastilp.storage.outbox import (
    CREATED,
    EVERY,
    MANUAL,
    PENDING,
    PREFUND,
    REFUSED,
    THRESHOLD,
    WANTED,
    EngineAccount,
    SettlementIntent,
)
from fastilp.types import AccountDetails

_log = logging.getLogger("fastilp.settlement")

# An engine that is started a little later than its node is no trouble.
_TRIES_BEFORE_ALERT = 3
_NOT_FOUND = 404
_FORGOTTEN = b"the engine forgot the account, and may have paid: look at the ledger, then decide"
_LOOKS_PER_INTERVAL = 20
_LOOK_MIN_SECONDS, _LOOK_MAX_SECONDS = 0.02, 1.0
# Accounts looked at before others get a turn.
_SLICE = 200


def clearing_of(counters: dict[str, int]) -> int:
    """What we owe the holder beyond what it has prepaid."""
    balance = counters["credits_posted"] - counters["debits_posted"] - counters["debits_pending"]
    return balance - counters["prepaid_posted"] + counters["prepaid_pending"]


class Settlement:
    """`settle_every_seconds`: an account that owes its holder nothing due yet is settled so long
    after it began to; None: by threshold alone."""

    def __init__(
        self,
        accounts: Accounts,
        tables: NodeTables,
        ledger: Ledger,
        client: EngineClient,
        alerts: Alerts,
        now_ms: Callable[[], int],
        *,
        settle_every_seconds: float | None = None,
        first_interval_ms: int = 1_000,
        kept_days: int = 400,
    ) -> None:
        self._accounts = accounts
        self._tables = tables
        self._ledger = ledger
        self._client = client
        self._alerts = alerts
        self._every_seconds = settle_every_seconds
        self.credits = Credits(ledger)
        self.engine_accounts = EngineAccounts(ledger, client, first_interval_ms=first_interval_ms)
        self.outbox = Outbox(
            ledger,
            self._deliver,
            now_ms,
            on_tried=self._tried,
            first_interval_ms=first_interval_ms,
            kept_days=kept_days,
        )
        self.engine_accounts.is_pending = self.outbox.is_pending
        # Those with thresholds, by name; and when what they are owed is to be paid.
        self._settlers: dict[str, Entry] = {}
        self._due_at: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._renewing = asyncio.Event()

    def restore(self) -> None:
        """Take up what earlier runs left. Raises StorageError."""
        self.outbox.restore()
        self.engine_accounts.restore()

    def start(self) -> None:
        for intent in self.outbox.open():
            self._alert(intent)
        self._tables.on_engines = self._renewing.set
        self._renewing.set()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._renew()), loop.create_task(self._look())]
        self.engine_accounts.start()
        self.outbox.start()

    async def close(self) -> None:
        """Begin nothing any more, ask nobody; the next run goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.engine_accounts.close()
        await self.outbox.close()
        await self._client.close()

    # --- Accounts -------------------------------------------------------------------------------

    def engine_of(self, entry: Entry) -> str | None:
        """Its own, or that of its asset."""
        by_asset = self._tables.engines.get(entry.account.asset_code)
        return by_asset if entry.is_plain else entry.details.settlement_engine_url or by_asset

    def engine_of_account(self, account: Account) -> str | None:
        """None for one that is not open, too."""
        entry = self._accounts.find(account.name)
        if entry is None or entry.account is not account or entry.closing:
            return None
        return self.engine_of(entry)

    def account_opened(self, account: Account, details: AccountDetails) -> None:
        """A new account, or one whose details have changed."""
        entry = self._accounts.find(account.name)
        if entry is None:
            return
        if details.settle_threshold is None or details.settle_to is None:
            self._settlers.pop(account.name, None)
        else:
            self._settlers[account.name] = entry
        self._tell_engine(account, self.engine_of(entry))
        self._evaluate(entry, PREFUND)

    def account_shut(self, username: str) -> None:
        """It is being closed."""
        self._settlers.pop(username, None)
        self._due_at.pop(username, None)

    def records_without(self, account: Account) -> Puts:
        """What is written in the transaction in which it is closed for good."""
        return self.engine_accounts.leaving(account.id)

    def account_closed(self, account: Account) -> None:
        """For good. What is under way for it ends; its engine forgets it behind that."""
        self._tell_engine(account, None)

    def _tell_engine(self, account: Account, engine_url: str | None) -> None:
        try:
            self.engine_accounts.set(account.id, account.name, engine_url)
        except StorageError as error:
            about = {"account": account.name, "reason": str(error)}
            _log.error("an engine is not told of an account", extra=about)

    def found(self, account_id: bytes) -> tuple[Account, Entry | None] | None:
        """An account whose engine may credit it: an open one with its entry, or one that is open
        no more, on which late credits land."""
        account = self._ledger.find(account_id)
        if account is None or account.kind != "account":
            return None
        entry = self._accounts.find(account.name)
        if entry is None or entry.account.id != account_id:
            is_late = self._has_left(account) or self._is_closed(account)
            return (account, None) if is_late else None
        return (account, entry) if self.engine_of(entry) is not None else None

    def _has_left(self, account: Account) -> bool:
        """The settings, and is not open while they do not have it."""
        store = self._ledger.store
        record = None if store is None else ACCOUNTS.get(store, account.name)
        return record is not None and record.account_id == account.id

    def _is_closed(self, account: Account) -> bool:
        """For good."""
        store = self._ledger.store
        return store is not None and TOMBSTONES.get(store, account.id.hex()) is not None

    # --- Triggers -------------------------------------------------------------------------------

    def due(self, account: Account) -> None:
        """The switch says that the clearing balance has reached the threshold."""
        entry = self._settlers.get(account.name)
        if entry is not None and entry.account is account:
            self._evaluate(entry, THRESHOLD)

    def settle(
        self, entry: Entry, amount: int | None = None, also: Also = no_more
    ) -> tuple[SettlementIntent, int]:
        """Now, whatever the threshold is: `amount`, or down to `settle_to`. Returns the ticket too.
        Raises UsageError, ConflictError, StorageError."""
        engine_url = self.engine_of(entry)
        if engine_url is None or entry.closing:
            raise ConflictError(
                f"account `{entry.account.name}` has no settlement engine: set its"
                " settlement_engine_url, or the engine of its asset (PUT /settlement/engines)"
            )
        if amount is None:
            settle_to = entry.details.settle_to or 0
            amount = min(self._clearing(entry) - settle_to, AMOUNT_MAX)
            if amount <= 0:
                raise ConflictError(
                    f"nothing is to be settled: the clearing balance is {self._clearing(entry)},"
                    f" and settle_to {settle_to}; give an amount to pay ahead"
                )
        self._due_at.pop(entry.account.name, None)
        return self.outbox.add(entry.account, amount, engine_url, MANUAL, also)

    def _clearing(self, entry: Entry) -> int:
        return clearing_of(self._accounts.switch.counters(entry.account))

    def _evaluate(self, entry: Entry, reason: str, *, is_time: bool = False) -> None:
        """`is_time`: the threshold does not matter now."""
        details, account = entry.details, entry.account
        threshold, settle_to = details.settle_threshold, details.settle_to
        if threshold is None or settle_to is None or threshold <= settle_to or entry.closing:
            return
        engine_url = self.engine_of(entry)
        if engine_url is None or self.outbox.is_busy(account.id):
            return
        clearing = self._clearing(entry)
        if clearing <= settle_to or (clearing < threshold and not is_time):
            return
        if reason == PREFUND and clearing > 0:
            reason = THRESHOLD
        self._due_at.pop(account.name, None)
        try:
            self.outbox.add(account, min(clearing - settle_to, AMOUNT_MAX), engine_url, reason)
        except (StorageError, UsageError) as error:
            # The next look finds it again.
            about = {"account": account.name, "reason": str(error)}
            _log.error("a settlement could not begin", extra=about)

    async def _look(self) -> None:
        """Time-based settlement; and whatever was due when nothing could begin."""
        delay = _LOOK_MAX_SECONDS
        if self._every_seconds is not None:
            delay = self._every_seconds / _LOOKS_PER_INTERVAL
        delay = min(max(delay, _LOOK_MIN_SECONDS), _LOOK_MAX_SECONDS)
        while True:
            await asyncio.sleep(delay)
            for number, entry in enumerate(list(self._settlers.values())):
                if number % _SLICE == _SLICE - 1:
                    await asyncio.sleep(0)
                try:
                    self._look_at(entry)
                except Exception:
                    # The others are looked at, and this one the next time again.
                    _log.exception("a look failed", extra={"account": entry.account.name})

    def _look_at(self, entry: Entry) -> None:
        name = entry.account.name
        self._evaluate(entry, THRESHOLD)
        if self._every_seconds is None:
            return
        now = asyncio.get_running_loop().time()
        if self._clearing(entry) <= (entry.details.settle_to or 0):
            self._due_at.pop(name, None)
        elif now >= self._due_at.setdefault(name, now + self._every_seconds):
            self._evaluate(entry, EVERY, is_time=True)

    async def _renew(self) -> None:
        """The engines of assets have changed, or the node has started: every account has the one
        that it has now, and no other."""
        while True:
            await self._renewing.wait()
            self._renewing.clear()
            try:
                await self._leave_engines()
                await self._join_engines()
            except Exception:
                _log.exception("engines are not told of all accounts; the next change tells them")

    async def _join_engines(self) -> None:
        for number, entry in enumerate(self._with_engines()):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if not entry.closing:
                self.account_opened(entry.account, entry.details)

    async def _leave_engines(self) -> None:
        """That accounts have no more: an asset has none now, or the settings were others in the
        last run."""
        page = self.engine_accounts.page(None, _SLICE)
        while page:
            for record in page:
                if record.state in (WANTED, CREATED):
                    self._leave_engine(record)
            await asyncio.sleep(0)
            page = self.engine_accounts.page(page[-1], _SLICE)

    def _leave_engine(self, record: EngineAccount) -> None:
        account = self._ledger.find(record.account_id)
        entry = None if account is None else self._accounts.find(account.name)
        if entry is not None and entry.account.id != record.account_id:
            entry = None
        if entry is None and account is not None and self._has_left(account):
            # Its engine still takes what comes late.
            return
        engine_url = None if entry is None else self.engine_of(entry)
        if engine_url == record.engine_url:
            return
        try:
            self.engine_accounts.set(record.account_id, record.username, engine_url)
        except StorageError as error:
            about = {"account": record.username, "reason": str(error)}
            _log.error("an engine is not told of an account", extra=about)

    def _with_engines(self) -> Iterator[Entry]:
        """Most accounts of a large node have none, and cost nothing."""
        if not self._tables.engines:
            # Each account's own was told when the account was opened.
            return
        for entry in self._accounts.after(""):
            if not entry.is_plain or entry.account.asset_code in self._tables.engines:
                yield entry

    # --- The outbox asks ------------------------------------------------------------------------

    async def _deliver(self, intent: SettlementIntent, before: Before) -> EngineAnswer:
        account = self._ledger.find(intent.account_id)
        if account is None:
            raise StorageError(f"no account has the id {intent.account_id.hex()}")
        if self.engine_of_account(account) == intent.engine_url:
            await self.engine_accounts.ensure(account, intent.engine_url)
        answer = await self._ask(intent, before)
        if answer.status == _NOT_FOUND:
            # It has lost its memory, or somebody has deleted the account there.
            await self.engine_accounts.ensure(account, intent.engine_url, again=True)
            if intent.may_be_paid:
                # With the account it may have forgotten the key: it would pay once more.
                return EngineAnswer(_NOT_FOUND, _FORGOTTEN)
            answer = await self._ask(intent, before)
        return answer

    async def _ask(self, intent: SettlementIntent, before: Before) -> EngineAnswer:
        quantity = Quantity(intent.amount, intent.scale)
        return await self._client.settle(
            intent.engine_url, intent.account_id, quantity, intent.settlement_id, before
        )

    def _alert(self, intent: SettlementIntent) -> None:
        """Somebody should look at it: at once, or once it has failed for a while."""
        if intent.state == REFUSED or intent.tries >= _TRIES_BEFORE_ALERT:
            text = f"settlement {intent.settlement_id} ({intent.state}): {intent.error}"
            self._alerts.set(SETTLEMENT_FAILING, text, intent.username)

    def _tried(self, intent: SettlementIntent) -> None:
        about = dataclasses.asdict(intent) | {"account_id": intent.account_id.hex()}
        about = {name: about[name] for name in ("settlement_id", "username", "amount", "error")}
        if intent.state in (REFUSED, PENDING):
            self._alert(intent)
            _log.warning(f"a settlement is {intent.state}", extra=about)
            return
        if not self.outbox.is_busy(intent.account_id):
            self._alerts.clear(SETTLEMENT_FAILING, intent.username)
        _log.info(f"a settlement is {intent.state}", extra=about)
        entry = self._settlers.get(intent.username)
        if entry is not None and entry.account.id == intent.account_id:
            self._evaluate(entry, THRESHOLD)
