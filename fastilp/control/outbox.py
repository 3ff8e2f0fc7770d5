"""The outbox: settlements that we owe, until their engines have taken them. Imports storage, errors
and engine_client.

A settlement is debited and written down at once, and only then, when both are on the disk, the
engine is asked; again and again with the same key, at growing intervals of at most an hour, in this
run of the node and in later ones. One settlement of an account is under way at a time. An answer
that never came may have been a yes: nothing of it is ever given back, unless a human says so.
"""

import asyncio
import dataclasses
import json
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from fastilp._core.books import Account
from fastilp.control.accounts import Puts
from fastilp.control.engine_client import Before, EngineAnswer, EngineError, NotSentError
from fastilp.control.slices import set_within
from fastilp.errors import ConflictError, FastILPError, StorageError, UsageError
from fastilp.storage.ledger import Ledger
from fastilp.storage.outbox import (
    OF_ALL,
    OPEN_STATES,
    PAID,
    PENDING,
    REFUNDED,
    REFUSED,
    SENT,
    SETTLEMENTS,
    SETTLEMENTS_OF,
    SETTLEMENTS_OPEN,
    SettlementIntent,
    SettlementName,
    names_of,
    settlement_id_of,
)
from fastilp.storage.payments import beginning_of, name_in_list, new_payment_id

_log = logging.getLogger("fastilp.settlement")

AMOUNT_MAX = 2**64 - 1
# Of one account: manual settlements wait behind each other.
OPEN_PER_ACCOUNT_MAX = 100
_INTERVAL_MAX_MS = 3_600_000
_TEXT_MAX = 255
_DAY_MS = 24 * 3_600_000
_SWEPT_MAX = 100
# An engine keeps a key for at least so long (RFC 38); from its last use, but whether a try that had
# no answer was one, nobody knows.
_KEY_KEPT_MS = _DAY_MS

Deliver = Callable[[SettlementIntent, Before], Awaitable[EngineAnswer]]
"""Asks the engine once; awaits the second before anything leaves. Raises EngineError, and what that
raises."""
Ended = Callable[[SettlementIntent], None]
Also = Callable[[SettlementIntent], Puts]
"""More records for the transaction of a settlement's change."""


class NoSettlementError(FastILPError):
    """There is no such settlement."""


def no_more(intent: SettlementIntent) -> Puts:
    return []


class Outbox:
    """`first_interval_ms`: after the first failure, twice as long after the next. `on_tried` is
    told of every change of a settlement that is not its beginning."""

    def __init__(
        self,
        ledger: Ledger,
        deliver: Deliver,
        now_ms: Callable[[], int],
        *,
        on_tried: Ended,
        first_interval_ms: int = 1_000,
        kept_days: int = 400,
    ) -> None:
        self._ledger = ledger
        self._deliver = deliver
        self._now_ms = now_ms
        self._on_tried = on_tried
        self._first_interval_ms = first_interval_ms
        self._kept_ms = kept_days * _DAY_MS
        self._open: dict[str, SettlementIntent] = {}
        self._by_account: dict[bytes, _Queue] = {}
        self._asking: set[str] = set()
        self._closed = True
        self._last_id_ms = 0
        self._swept = ""
        self.tries = 0
        """Since the start."""
        self.sent = 0
        """Since the start."""

    # --- Ends and beginnings of a run -----------------------------------------------------------

    def restore(self) -> None:
        """Take up what earlier runs left."""
        store = self._ledger.store
        if store is None:
            return
        for name in SETTLEMENTS_OPEN.items(store):
            intent = SETTLEMENTS.get(store, name.settlement_id)
            if intent is None:
                raise StorageError(f"settlement {name.settlement_id} has no record")
            self._open[intent.settlement_id] = intent
            self._enqueue(intent)

    def start(self) -> None:
        """Ask engines, from now on."""
        self._closed = False
        for queue in list(self._by_account.values()):
            self._run(queue)

    async def close(self) -> None:
        """Ask nobody any more; the next run goes on."""
        self._closed = True
        tasks = [queue.task for queue in self._by_account.values() if queue.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def sweep(self) -> int:
        """Look at some, the next ones each time, and forget what is over and too old of them.
        Returns how many were."""
        store = self._ledger.store
        if store is None:
            return 0
        before = self._now_ms() - self._kept_ms
        page = list(SETTLEMENTS.page(store, "", self._swept, _SWEPT_MAX))
        # Behind the last one that is old the first ones are next: one may be over by now.
        goes_on = len(page) == _SWEPT_MAX and page[-1].created_at_ms < before
        self._swept = page[-1].settlement_id if goes_on else ""
        old = [
            intent
            for intent in page
            if intent.created_at_ms < before and intent.state not in OPEN_STATES
        ]
        for intent in old:
            keys = [SETTLEMENTS_OF.key(name.name) for name in names_of(intent)]
            self._ledger.transact(deletes=[SETTLEMENTS.key(intent.settlement_id), *keys])
        return len(old)

    # --- Beginning ------------------------------------------------------------------------------

    def add(
        self,
        account: Account,
        amount: int,
        engine_url: str,
        reason: str,
        also: Also = no_more,
    ) -> tuple[SettlementIntent, int]:
        """Debit the account, and have its engine pay that. Returns the ticket too. Raises
        UsageError, ConflictError, StorageError; then nothing has changed."""
        if not 0 < amount <= AMOUNT_MAX:
            raise UsageError(f"amount must be a whole number from 1 to {AMOUNT_MAX}")
        queue = self._by_account.get(account.id)
        if queue is not None and len(queue.waiting) >= OPEN_PER_ACCOUNT_MAX:
            raise ConflictError(f"{OPEN_PER_ACCOUNT_MAX} settlements of the account wait already")
        now_ms = self._now_ms()
        # Those of one moment are in order, too.
        self._last_id_ms = max(now_ms, self._last_id_ms + 1)
        intent = SettlementIntent(
            settlement_id=new_payment_id(self._last_id_ms),
            account_id=account.id,
            username=account.name,
            asset_code=account.asset_code,
            scale=account.asset_scale,
            amount=amount,
            engine_url=engine_url,
            reason=reason,
            created_at_ms=now_ms,
            changed_at_ms=now_ms,
        )
        name = SettlementName(name=intent.settlement_id, settlement_id=intent.settlement_id)
        puts = [
            SETTLEMENTS.put(intent),
            SETTLEMENTS_OPEN.put(name),
            *(SETTLEMENTS_OF.put(each) for each in names_of(intent)),
        ]
        debit = [(account.id, "settlement", -amount)]
        ticket = self._ledger.transact(debit, [*puts, *also(intent)])
        self._open[intent.settlement_id] = intent
        self._run(self._enqueue(intent))
        return intent, ticket

    # --- What is asked of it --------------------------------------------------------------------

    def is_busy(self, account_id: bytes) -> bool:
        """Whether a settlement of the account waits for its engine, or for a human."""
        return account_id in self._by_account

    def is_pending(self, account_id: bytes) -> bool:
        """Whether a settlement of the account waits for its engine."""
        queue = self._by_account.get(account_id)
        return queue is not None and bool(queue.waiting)

    def open(self) -> list[SettlementIntent]:
        """Those that wait, the oldest first."""
        return list(self._open.values())

    def find(self, settlement_id: str) -> SettlementIntent:
        """Raises NoSettlementError."""
        try:
            name = settlement_id_of(settlement_id)
        except UsageError as error:
            raise NoSettlementError(str(error)) from None
        intent = self._open.get(name)
        store = self._ledger.store
        if intent is None and store is not None:
            intent = SETTLEMENTS.get(store, name)
        if intent is None:
            raise NoSettlementError(f"there is no settlement {name}")
        return intent

    def page(self, account_id: bytes | None, after: str, limit: int) -> Iterator[SettlementIntent]:
        """The first `limit` behind that one, of an account or of all, the newest first. Raises
        UsageError for what is no id."""
        store = self._ledger.store
        if store is None:
            return
        of = OF_ALL if account_id is None else account_id
        behind = name_in_list(of, settlement_id_of(after)) if after else ""
        for name in SETTLEMENTS_OF.page(store, beginning_of(of), behind, limit):
            intent = SETTLEMENTS.get(store, name.settlement_id)
            if intent is not None:
                yield intent

    def retry(
        self,
        settlement_id: str,
        engine_url: str | None = None,
        *,
        force: bool = False,
        also: Also = no_more,
    ) -> tuple[SettlementIntent, int]:
        """Ask again now, with the same key; an engine that has moved may have another URL, which
        needs `force` where the engine may have paid. Raises NoSettlementError, ConflictError,
        StorageError."""
        intent = self._deciding(settlement_id)
        if engine_url not in (None, intent.engine_url) and intent.may_be_paid and not force:
            raise ConflictError(
                "the engine may have paid it, and to another engine the key means nothing: it would"
                " pay once more; if the same engine is at that URL now, retry by force"
            )
        changed = dataclasses.replace(
            intent,
            state=PENDING,
            engine_url=engine_url or intent.engine_url,
            next_try_ms=0,
            uncertain_at_ms=self._now_ms() if intent.may_be_paid else 0,
            changed_at_ms=self._now_ms(),
        )
        ticket = self._put(changed, also(changed))
        self._run(self._enqueue(changed))
        return changed, ticket

    def resolve(
        self,
        settlement_id: str,
        state: str,
        external_id: str | None = None,
        *,
        force: bool = False,
        also: Also = no_more,
    ) -> tuple[SettlementIntent, int]:
        """What a human has found out: PAID, or REFUNDED, which takes the debit back. The latter
        needs `force` where the engine may have paid. Raises like `retry`."""
        intent = self._deciding(settlement_id)
        if state not in (PAID, REFUNDED):
            raise UsageError(f'a settlement is resolved as "{PAID}" or "{REFUNDED}"')
        if state == REFUNDED and intent.may_be_paid and not force:
            raise ConflictError(
                "the engine may have paid it: look at the ledger; if it surely has not, and never"
                " will, refund it by force"
            )
        changed = dataclasses.replace(
            intent,
            state=state,
            external_id=external_id or intent.external_id,
            changed_at_ms=self._now_ms(),
        )
        refund = [(intent.account_id, "refund", intent.amount)] if state == REFUNDED else []
        ticket = self._put(changed, also(changed), refund)
        self._leave(changed)
        self._on_tried(changed)
        return changed, ticket

    def _deciding(self, settlement_id: str) -> SettlementIntent:
        intent = self.find(settlement_id)
        if intent.state not in OPEN_STATES:
            raise ConflictError(f"the settlement is {intent.state} already")
        if intent.settlement_id in self._asking:
            raise ConflictError("its engine is asked at this moment; try again")
        return intent

    # --- One account's queue --------------------------------------------------------------------

    def _enqueue(self, intent: SettlementIntent) -> "_Queue":
        queue = self._by_account.setdefault(intent.account_id, _Queue(intent.account_id))
        identifier = intent.settlement_id
        if intent.state == REFUSED:
            queue.refused.add(identifier)
        else:
            queue.refused.discard(identifier)
            if identifier not in queue.waiting:
                queue.waiting.append(identifier)
        queue.changed.set()
        return queue

    def _leave(self, intent: SettlementIntent) -> None:
        """It is over, or waits for a human."""
        queue = self._by_account[intent.account_id]
        if intent.settlement_id in queue.waiting:
            queue.waiting.remove(intent.settlement_id)
        queue.refused.discard(intent.settlement_id)
        if intent.state == REFUSED:
            queue.refused.add(intent.settlement_id)
        else:
            del self._open[intent.settlement_id]
        queue.changed.set()
        if not queue.waiting and not queue.refused:
            del self._by_account[intent.account_id]

    def _run(self, queue: "_Queue") -> None:
        if not self._closed and queue.task is None and queue.waiting:
            queue.task = asyncio.get_running_loop().create_task(self._work(queue))

    async def _work(self, queue: "_Queue") -> None:
        try:
            while queue.waiting:
                queue.changed.clear()
                intent = self._open[queue.waiting[0]]
                delay_ms = intent.next_try_ms - self._now_ms()
                # More than ever was said: the clock has been set back, and it is due.
                if 0 < delay_ms <= _INTERVAL_MAX_MS:
                    await set_within(queue.changed, delay_ms / 1_000)
                    continue
                if 0 < intent.uncertain_at_ms < self._now_ms() - _KEY_KEPT_MS:
                    self._give_up(intent)
                else:
                    await self._try(intent)
        finally:
            queue.task = None

    async def _try(self, intent: SettlementIntent) -> None:
        """Nothing here raises but the end of the run."""
        identifier = intent.settlement_id

        async def begin() -> None:
            # What a crash could take back must not be paid; and the next run knows of this try.
            now_ms = self._now_ms()
            # Since the first one: whoever has answered since may have been a proxy of the engine's.
            since_ms = min(intent.uncertain_at_ms or now_ms, now_ms)
            self._put(dataclasses.replace(intent, uncertain_at_ms=since_ms), [])
            await self._ledger.committed(self._ledger.ticket)

        self._asking.add(identifier)
        self.tries += 1
        try:
            answer = await self._deliver(intent, begin)
            changed = self._judged(intent, self._open[identifier], answer)
        except (NotSentError, StorageError) as error:
            changed = self._later(intent, str(error))
        except EngineError as error:
            changed = self._later(self._open[identifier], str(error))
        except Exception as error:
            _log.exception("a settlement failed", extra={"settlement": identifier})
            internal = f"an internal error: {type(error).__name__}"
            changed = self._later(self._open[identifier], internal)
        finally:
            self._asking.discard(identifier)
        try:
            self._put(changed, [])
        except StorageError as error:
            # As if the answer had not come: the same key is tried again.
            changed = self._later(self._open[identifier], str(error))
            self._open[identifier] = changed
        self._tried(changed)

    def _give_up(self, intent: SettlementIntent) -> None:
        """An engine that may have paid so long ago may have forgotten the key, and pay again."""
        error = "it may have been paid more than a day ago: look at the ledger, then decide"
        changed = dataclasses.replace(
            intent, state=REFUSED, error=error, changed_at_ms=self._now_ms()
        )
        try:
            self._put(changed, [])
        except StorageError as storage_error:
            changed = self._later(intent, str(storage_error))
            self._open[intent.settlement_id] = changed
        self._tried(changed)

    def _tried(self, changed: SettlementIntent) -> None:
        if changed.state != PENDING:
            self._leave(changed)
        self._on_tried(changed)

    def _judged(
        self, intent: SettlementIntent, asked: SettlementIntent, answer: EngineAnswer
    ) -> SettlementIntent:
        """`asked`: the same, with this try."""
        now_ms = self._now_ms()
        tries = intent.tries + 1
        if answer.is_success:
            self.sent += 1
            external_id = _external_id(answer.body) or intent.external_id
            return dataclasses.replace(
                intent,
                state=SENT,
                tries=tries,
                external_id=external_id,
                error=None,
                changed_at_ms=now_ms,
            )
        if answer.is_refusal:
            return dataclasses.replace(
                intent, state=REFUSED, tries=tries, error=answer.text(), changed_at_ms=now_ms
            )
        return self._later(intent if answer.is_unauthorized else asked, answer.text())

    def _later(self, intent: SettlementIntent, error: str) -> SettlementIntent:
        """Full jitter down to a half: engines that come back are not met by all at once."""
        now_ms = self._now_ms()
        doublings = min(intent.tries, 32)
        interval_ms = min(self._first_interval_ms << doublings, _INTERVAL_MAX_MS)
        return dataclasses.replace(
            intent,
            tries=intent.tries + 1,
            next_try_ms=now_ms + round(interval_ms * random.uniform(0.5, 1.0)),
            error=error[:_TEXT_MAX],
            changed_at_ms=now_ms,
        )

    # --- Records --------------------------------------------------------------------------------

    def _put(
        self,
        intent: SettlementIntent,
        also: Puts,
        adjustments: list[tuple[bytes, str, int]] | None = None,
    ) -> int:
        over = intent.state not in OPEN_STATES
        deletes = [SETTLEMENTS_OPEN.key(intent.settlement_id)] if over else []
        puts = [SETTLEMENTS.put(intent), *also]
        ticket = self._ledger.transact(adjustments or [], puts, deletes)
        self._open[intent.settlement_id] = intent
        return ticket


class _Queue:
    """Settlements of one account; the first that waits is under way."""

    def __init__(self, account_id: bytes) -> None:
        self.account_id = account_id
        self.waiting: deque[str] = deque()
        self.refused: set[str] = set()
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


def _external_id(body: bytes) -> str | None:
    """What some engines say: `{"external_id": "…"}`. Most say something else, or nothing."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    external_id = found.get("external_id") if isinstance(found, dict) else None
    if not isinstance(external_id, str) or not external_id.isprintable():
        return None
    return external_id[:_TEXT_MAX] or None
