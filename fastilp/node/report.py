"""What a node tells its operator about itself: log lines, never one per packet. Imports _core,
config.
"""

from collections import Counter
from collections.abc import Callable

import structlog

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.config import unknown_variables
from fastilp.config.models import Settings
from fastilp.control.accounts import Accounts
from fastilp.storage.ledger import Ledger

_log = structlog.get_logger("fastilp.node")

Event = tuple[str, Account | None, int]


def log_crash_report(ledger: Ledger) -> None:
    """One line per account that the last run left something open for; none after a clean stop."""
    for entry in ledger.crash_report():
        shown = {key: value for key, value in entry.items() if not isinstance(value, bytes)}
        account_id = entry.get("account_id")
        if isinstance(account_id, bytes):
            shown["account_id"] = account_id.hex()
        _log.warning("the last run did not end cleanly: left open", **shown)
    if ledger.crash_report():
        ledger.forget_crash_report()


def log_left_over(accounts: Accounts) -> None:
    """A balance does not go away because its account left the settings."""
    for record, balance in accounts.left_over():
        _log.warning(
            "an account with a balance is not in the settings; its balance stays",
            account=record.username,
            asset=f"{record.asset_code}/{record.asset_scale}",
            balance=str(balance),
        )


def log_overridden(usernames: list[str]) -> None:
    """The file seeds, the API wins: an edit of the file that changes nothing must be heard of."""
    if usernames:
        _log.info(
            "accounts of the settings that were changed over the API since, and stay that way;"
            " `fastilp config diff` shows where they differ",
            count=len(usernames),
            accounts=usernames[:10],
        )


def log_lost_routes(prefixes: list[str]) -> None:
    for prefix in prefixes:
        _log.warning("a static route leads to an account that was closed", prefix=prefix)


def log_unserved(settings: Settings) -> None:
    """What is set, and cannot have the effect that it is set for."""
    for name in unknown_variables():
        _log.warning("this variable is no setting; sections end in two underscores", name=name)
    engines = [account.settlement_engine_url for account in settings.accounts]
    if settings.listen.settlement is None and (any(engines) or settings.settlement.engines):
        _log.warning("settlement engines cannot reach the node: set listen.settlement")


def log_draining(switch: Switch, seconds_left: float) -> None:
    """What a shutdown waits for."""
    pending = {
        account.name: str(amount)
        for account in switch.accounts()
        if (amount := switch.counters(account)["debits_pending"])
    }
    _log.info(
        "still draining",
        in_flight=switch.in_flight(),
        pending_in=pending,
        seconds_left=round(seconds_left, 1),
    )


class EventLog:
    """What the switch reports once per turn: the disk, and Fulfills that could not wait for it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.on_store: Callable[[bool], None] = lambda accepts: None
        """Told when the disk stops to commit (False), and when it does so again."""
        self.on_settle: Callable[[Account], None] = lambda account: None
        """Told of accounts whose settlement is due."""
        self.accepts = True
        """Whether new Prepares are taken, as far as the disk goes."""
        self.draining = False
        """Set when Prepares are refused because the node is ending, which is no trouble."""

    def __call__(self, events: list[Event]) -> None:
        early: Counter[str] = Counter()
        for kind, account, value in events:
            if kind == "fulfilled_before_commit" and account is not None:
                early[account.name] += value
            elif kind == "store":
                self.accepts = value == 0
                if not self.draining:
                    self._log_store(value == 0)
                    self.on_store(value == 0)
            elif kind == "settle" and account is not None:
                self.on_settle(account)
        for name, amount in early.items():
            _log.error("fulfilled before commit: the disk is slow", account=name, amount=amount)

    def _log_store(self, accepts: bool) -> None:
        store = self._ledger.store
        health = store.stats()["health"] if store is not None else "healthy"
        if accepts:
            _log.warning("the disk commits again: new Prepares are taken", health=health)
        else:
            # "healthy" here: the disk answers, but no commit has ended for a while.
            _log.error("the disk does not commit: new Prepares are answered T00", health=health)
