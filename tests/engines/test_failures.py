"""Payments that fail on the ledger wait, whichever way the clock is set."""

from typing import Any

import pytest

from fastilp.engines import failures
from fastilp.engines.errors import NotNowError

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class Known:
    """Records of the engine."""

    def __init__(self, last_ms: int, count: int = failures.FREE) -> None:
        self._record = {"count": count, "last_ms": last_ms, "why": "it reverts"}

    def get(self, name: str) -> Any:
        return self._record if name == "failures/alice" else None


@pytest.mark.parametrize(
    ("last_ms", "is_due"),
    [
        (NOW_MS, False),
        (NOW_MS - HOUR_MS + 1, False),
        (NOW_MS - HOUR_MS, True),
        # The clock was ten days ahead, and has been set right.
        (NOW_MS + 240 * HOUR_MS, True),
    ],
)
def test_the_wait(monkeypatch: pytest.MonkeyPatch, last_ms: int, is_due: bool) -> None:
    monkeypatch.setattr(failures, "now_ms", lambda: NOW_MS)
    records: Any = Known(last_ms)
    failures.check(records, "bob", busy=True)
    if is_due:
        failures.check(records, "alice", busy=False)
        return
    with pytest.raises(NotNowError, match="because it reverts"):
        failures.check(records, "alice", busy=False)
