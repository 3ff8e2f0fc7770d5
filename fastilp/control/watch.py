"""Looks at accounts, a slice at a time, for what an operator should know: balances near a limit,
peers that refuse ours, links that come and go. Imports _core, accounts and alerts. A packet pays
nothing for it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.control import alerts
from fastilp.control.accounts import Accounts
from fastilp.control.alerts import Alerts
from fastilp.control.entries import Entry
from fastilp.types import AccountDetails

# Accounts that are looked at in one turn: about a millisecond.
_SLICE = 500
# Part of the room between zero and a limit that is left when it counts as near, in percent; and
# what must be left again for it to be over.
_NEAR_PERCENT = 10
_OVER_PERCENT = 20
# A link flaps that went down so often in so long; it is over after as long without.
_FLAPS = 5
_FLAP_SECONDS = 60.0


class Watch:
    """`look` is to be called a few times a second."""

    def __init__(self, switch: Switch, accounts: Accounts, alerts_: Alerts) -> None:
        self._switch = switch
        self._accounts = accounts
        self._alerts = alerts_
        self._refused: dict[str, int] = {}
        self._near: dict[str, tuple[int | None, int | None]] = {}
        """By which limits they are near one."""
        self._waiting: Iterator[Entry] = iter(())

    def look(self) -> None:
        """The next slice of accounts; all of them in turn."""
        taken = list(islice(self._waiting, _SLICE))
        if not taken:
            self._waiting = iter(self._accounts.entries())
            taken = list(islice(self._waiting, _SLICE))
        for entry in taken:
            if self._accounts.find(entry.account.name) is entry:
                self._look_at(entry)

    def forget(self, username: str) -> None:
        self._refused.pop(username, None)
        self._near.pop(username, None)
        self._alerts.forget(username)

    def _look_at(self, entry: Entry) -> None:
        account = entry.account
        # Not the details: of most accounts nobody has read them yet.
        settings = self._switch.settings(account)
        low, high = settings["min_balance"], settings["max_balance"]
        if low is not None or high is not None:
            self._look_at_limits(account, low, high)
        elif account.name in self._near:
            self._note_room(account.name)
        _, _, refused, _ = self._switch.tally(account)
        before = self._refused.get(account.name, 0)
        if refused != before:
            self._refused[account.name] = refused
            self._note_refusal(account, entry.details)

    def _look_at_limits(self, account: Account, low: int | None, high: int | None) -> None:
        counters = self._switch.counters(account)
        settled = counters["credits_posted"] - counters["debits_posted"]
        left = []
        if low is not None:
            free = settled - counters["debits_pending"] - low
            left.append(("min_balance", _percent(free, -low)))
        if high is not None:
            free = high - settled - counters["credits_pending"]
            left.append(("max_balance", _percent(free, high)))
        which, percent = min(left, key=lambda one: one[1])
        if percent < _NEAR_PERCENT:
            text = f"{which} is near: balance {settled}"
            self._near[account.name] = low, high
            self._alerts.set(alerts.NEAR_LIMIT, text, account.name)
        elif percent >= _OVER_PERCENT or self._near.get(account.name) != (low, high):
            # With other limits it begins anew.
            self._note_room(account.name)

    def _note_room(self, username: str) -> None:
        if self._near.pop(username, None) is not None:
            self._alerts.clear(alerts.NEAR_LIMIT, username)

    def _note_refusal(self, account: Account, details: AccountDetails) -> None:
        # A T04 from further away says nothing about our balance with this peer.
        who = self._switch.refused_by(account)
        if who == details.ilp_address or _is_node_of(who, details.ilp_address):
            balance = self._switch.balance(account)
            text = f"{who} answers T04 to our packets; by our books the balance is {balance}"
            self._alerts.set(alerts.BALANCE_REFUSED, text, account.name)


class Flaps:
    """Told of every link that goes up or down."""

    def __init__(self, alerts_: Alerts, now: Callable[[], float] = time.monotonic) -> None:
        self._alerts = alerts_
        self._now = now
        self._downs: dict[str, deque[float]] = {}

    def changed(self, username: str, kind: str, up: bool) -> None:
        if up:
            return
        downs = self._downs.setdefault(username, deque(maxlen=_FLAPS))
        downs.append(self._now())
        if len(downs) == _FLAPS and downs[-1] - downs[0] <= _FLAP_SECONDS:
            text = f"its {kind} link went down {_FLAPS} times in {_FLAP_SECONDS:.0f} s"
            self._alerts.set(alerts.LINK_FLAPPING, text, username)

    def look(self) -> None:
        """What has been quiet for long enough is over."""
        since = self._now() - _FLAP_SECONDS
        for username in [name for name, downs in self._downs.items() if downs[-1] < since]:
            self.forget(username)

    def forget(self, username: str) -> None:
        if self._downs.pop(username, None) is not None:
            self._alerts.clear(alerts.LINK_FLAPPING, username)


def _percent(free: int, room: int) -> int:
    """How much of the room is free; a limit of 0 has none, and is not near by that alone."""
    return 100 if room <= 0 and free >= 0 else 0 if room <= 0 else free * 100 // room


def _is_node_of(who: str, address: str) -> bool:
    """A peer's account may have an address below the peer's own."""
    return bool(who) and address.startswith(f"{who}.")
