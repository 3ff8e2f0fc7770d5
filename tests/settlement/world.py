"""A ledger on disk, a switch, two accounts and settlement, in one loop: what tests of the
connector's side share. Engines are called over real HTTP.
"""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import TracebackType

from fastilp._core.books import Account
from fastilp._core.link import Link
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.control.alerts import Alerts
from fastilp.control.engine_client import EngineClient
from fastilp.control.entries import Entry
from fastilp.control.idempotency import Idempotency
from fastilp.control.punts import Punts
from fastilp.control.settlement import Settlement, clearing_of
from fastilp.control.settlement_calls import SettlementCalls
from fastilp.control.settlement_messages import EngineMessages
from fastilp.control.tables import NodeTables
from fastilp.storage.ledger import Ledger
from fastilp.types import AccountDetails
from tests.helpers import check_sums
from tests.small_switch import ADDRESS, details

_WAIT_SECONDS = 60.0


async def soon(holds: Callable[[], object]) -> None:
    """Return when it is so."""
    end = time.monotonic() + _WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


class World:
    """`async with World(path) as world`; again with the same path after its end, or after `crash`,
    it is the next run of the same node."""

    def __init__(
        self,
        path: Path,
        *,
        engine_timeout_seconds: float = 30.0,
        settle_every_seconds: float | None = None,
        incoming_token: str | None = None,
        tokens: dict[str, str] | None = None,
        engines: dict[str, str] | None = None,
    ) -> None:
        self.ledger = Ledger.open(str(path))
        self.switch = Switch(self.ledger, ADDRESS)
        self.accounts = Accounts(self.switch)
        self.tables = NodeTables(self.switch, self.accounts)
        self.alerts = Alerts()
        client = EngineClient(tokens, timeout_seconds=engine_timeout_seconds)
        self.settlement = Settlement(
            self.accounts,
            self.tables,
            self.ledger,
            client,
            self.alerts,
            self.now_ms,
            settle_every_seconds=settle_every_seconds,
            first_interval_ms=2,
        )
        self.accounts.on_closing.append(self.settlement.records_without)
        self.accounts.on_closed.append(self.settlement.account_closed)
        self.punts = Punts(self.switch, self.accounts.details, lambda: None)
        self.messages = EngineMessages(
            client, self.punts.requests, self.settlement.engine_of_account, self.now_ms
        )
        self.punts.settle = self.messages.handle
        self.calls = SettlementCalls(
            self.settlement,
            self.messages,
            self.ledger,
            Idempotency(self.ledger, b"secret"),
            incoming_token,
        )
        self.links: dict[str, Link] = {}
        self.accounts.restore()
        self.load(engines)

    async def __aenter__(self) -> "World":
        self.settlement.restore()
        self.settlement.start()
        for entry in self.accounts.entries():
            self.settlement.account_opened(entry.account, entry.details)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.settlement.close()
        if error is None:
            self.check()
        self.ledger.close()

    def load(self, engines: dict[str, str] | None) -> None:
        """What the settings' file says."""
        self.tables.load({}, {}, Decimal(0), engines=engines)

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def check(self) -> None:
        check_sums(self.ledger)
        self.ledger.check()

    def create(self, username: str, **more: object) -> Entry:
        given: AccountDetails = details(username, **more)
        self.accounts.create(given)
        entry = self.entry(username)
        self.links[username] = self.switch.open_link(entry.account)
        self.settlement.account_opened(entry.account, given)
        return entry

    def turn(self) -> None:
        """What the pump would do."""
        self.switch.process(self.now_ms())
        control = self.switch.control
        if control in self.switch.dirty_links():
            self.punts.flush(control)
            self.switch.process(self.now_ms())

    async def next_packet(self, username: str) -> tuple[int, bytes]:
        """What leaves to the account's holder next."""
        found: list[tuple[int, bytes]] = []

        def has_left() -> bool:
            self.turn()
            found.extend(self.links[username].take())
            return bool(found)

        await soon(has_left)
        return found[0]

    def entry(self, username: str) -> Entry:
        entry = self.accounts.find(username)
        assert entry is not None
        return entry

    def owe(self, account: Account, amount: int) -> None:
        """As if the account had fulfilled packets; and the end of that batch."""
        self.ledger.transact([(account.id, "exchange", amount)])
        self.settlement.due(account)

    def counters(self, account: Account) -> dict[str, int]:
        counters = self.ledger.counters(account.id)
        assert counters is not None
        return counters

    def clearing(self, account: Account) -> int:
        return clearing_of(self.counters(account))

    def balance(self, account: Account) -> int:
        """With what is prepaid, as the API shows it."""
        return self.switch.balance(account)

    async def idle(self) -> None:
        """Nothing waits for an engine any more."""
        await soon(lambda: not self.settlement.outbox.open())
