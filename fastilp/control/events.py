"""What happens to an account, for those who watch it: balance changes, limits hit, links up and
down. Imports _core and accounts.

Balances and limits are looked at, a few times a second and only while somebody watches, so that no
packet pays for it; a watcher sees the newest state, not every step. Links tell by themselves.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.control.entries import Entry

LOOK_SECONDS = 0.1
KEEP_ALIVE_SECONDS = 15.0
# Watchers that do not read lose the oldest ones.
_EVENTS_MAX = 256

Event = tuple[str, dict[str, Any]]


class _Watcher:
    def __init__(self) -> None:
        self.waiting: deque[Event] = deque(maxlen=_EVENTS_MAX)


class Events:
    """`link` is told of links; `watch` yields what happens to an account."""

    def __init__(self, switch: Switch, accounts: Accounts) -> None:
        self._switch = switch
        self._accounts = accounts
        self._watchers: dict[str, set[_Watcher]] = {}
        self._closed = False

    def link(self, username: str, kind: str, up: bool) -> None:
        for watcher in self._watchers.get(username, ()):
            watcher.waiting.append(("link", {"link": kind, "up": up}))

    def close(self) -> None:
        """Every watcher's stream ends."""
        self._closed = True

    async def watch(self, entry: Entry) -> AsyncGenerator[Event | None, None]:
        """First how things are, then every change; None now and then, so that a client that has
        gone is noticed. Ends when the account is closed."""
        watcher = _Watcher()
        username = entry.account.name
        self._watchers.setdefault(username, set()).add(watcher)
        loop = asyncio.get_running_loop()
        try:
            last = self._look(entry)
            for link, up in self._accounts.wiring.states(username).items():
                yield "link", {"link": link, "up": up}
            yield "balance", last[0]
            said_at = loop.time()
            while not self._closed and self._accounts.find(username) is entry:
                await asyncio.sleep(LOOK_SECONDS)
                events = list(watcher.waiting)
                watcher.waiting.clear()
                if self._accounts.find(username) is entry:
                    now = self._look(entry)
                    events += _changes(last, now)
                    last = now
                for event in events:
                    yield event
                if events:
                    said_at = loop.time()
                elif loop.time() - said_at >= KEEP_ALIVE_SECONDS:
                    said_at = loop.time()
                    yield None
            yield "closed", {}
        finally:
            self._watchers[username].discard(watcher)
            if not self._watchers[username]:
                del self._watchers[username]

    def _look(self, entry: Entry) -> tuple[dict[str, Any], tuple[int, str]]:
        account = entry.account
        incoming, outgoing = self._switch.in_flight_of(account)
        balance = {
            "balance": str(self._switch.balance(account)),
            "asset_code": account.asset_code,
            "asset_scale": account.asset_scale,
            "in_flight_in": incoming,
            "in_flight_out": outgoing,
        }
        return balance, self._switch.limit_hits_of(account)


def _changes(
    last: tuple[dict[str, Any], tuple[int, str]], now: tuple[dict[str, Any], tuple[int, str]]
) -> list[Event]:
    events: list[Event] = []
    if now[0]["balance"] != last[0]["balance"]:
        events.append(("balance", now[0]))
    count, name = now[1]
    if count != last[1][0]:
        # The counter has 32 bits.
        refused = (count - last[1][0]) % 2**32
        events.append(("limit", {"refused": refused, "last": name}))
    return events
