"""What an operator should look at: a bounded list, and a call for each new entry.

Imports nothing of fastilp. An alert is of a kind and perhaps of an account; the same one again is
counted, not added, until it is cleared. Promises never to grow: the oldest that is over goes first.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

_ALERTS_MAX = 1_000

BALANCE_REFUSED = "balance_refused"
SETTLEMENT_FAILING = "settlement_failing"
NEAR_LIMIT = "near_limit"
LINK_FLAPPING = "link_flapping"
CIRCUIT_OPEN = "circuit_open"
COMMIT_FAILING = "commit_failing"
RATES_STALE = "rates_stale"
KINDS = (
    BALANCE_REFUSED,
    SETTLEMENT_FAILING,
    NEAR_LIMIT,
    LINK_FLAPPING,
    CIRCUIT_OPEN,
    COMMIT_FAILING,
    RATES_STALE,
)


@dataclass(slots=True)
class Alert:
    """`account` is empty where it is about the node. `active`: it has not been cleared."""

    kind: str
    account: str
    message: str
    first_ms: int
    last_ms: int
    count: int = 1
    active: bool = True


class Alerts:
    def __init__(self, now_ms: Callable[[], int] | None = None) -> None:
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._alerts: dict[tuple[str, str], Alert] = {}
        self.listeners: list[Callable[[Alert], None]] = []
        """Called with each alert that is new, or active again."""
        self.raised = dict.fromkeys(KINDS, 0)
        """How often since the start, by kind."""

    def set(self, kind: str, message: str, account: str = "") -> None:
        """It is so, or still so."""
        now_ms = self._now_ms()
        self.raised[kind] += 1
        known = self._alerts.pop((kind, account), None)
        if known is not None and known.active:
            known.message, known.last_ms, known.count = message, now_ms, known.count + 1
            self._alerts[kind, account] = known
            return
        alert = Alert(kind, account, message, now_ms, now_ms)
        self._alerts[kind, account] = alert
        self._bound()
        for listener in self.listeners:
            listener(alert)

    def clear(self, kind: str, account: str = "") -> None:
        """It is over; it stays in the list until others need the room."""
        alert = self._alerts.get((kind, account))
        if alert is not None:
            alert.active = False

    def forget(self, account: str) -> None:
        """Of an account that was closed."""
        for key in [key for key in self._alerts if key[1] == account]:
            del self._alerts[key]

    def active(self) -> int:
        return sum(alert.active for alert in self._alerts.values())

    def __len__(self) -> int:
        return len(self._alerts)

    def list(self, *, active_only: bool = False, limit: int = _ALERTS_MAX) -> list[dict[str, Any]]:
        """For the API, the newest first."""
        chosen = [one for one in self._alerts.values() if one.active or not active_only]
        return [asdict(alert) for alert in reversed(chosen[-limit:] if limit else [])]

    def _bound(self) -> None:
        if len(self._alerts) <= _ALERTS_MAX:
            return
        over = next((key for key, alert in self._alerts.items() if not alert.active), None)
        self._alerts.pop(over if over is not None else next(iter(self._alerts)))
