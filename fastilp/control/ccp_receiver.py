"""CCP, the receiving side of one neighbour: what an update means after those before it. Imports
ccp.

Reads no clock and sends nothing. Others reject a gap, or keep the routes of a table that has gone;
here a gap is answered with a Fulfill and a request for what is missing, which works with all of
them, and a new table replaces the old one.
"""

import enum
from dataclasses import dataclass

from fastilp.control.ccp import NO_TABLE, Mode, RouteControl, RouteUpdate

# Routes stay at least this long without a sign of life, and no peer may ask for more than an hour.
HOLD_DOWN_MIN_MS = 45_000
HOLD_DOWN_MAX_MS = 3_600_000


class Verdict(enum.Enum):
    APPLY = "apply"
    GAP = "gap"
    STALE = "stale"


@dataclass(slots=True)
class Receiver:
    table_id: bytes = NO_TABLE
    epoch: int = 0
    is_new_table: bool = False
    """Routes of the table before are still there."""
    deadline_ms: int | None = None
    """When its routes are void, unless it is heard of before."""

    def reset(self) -> None:
        """The session is lost, and with it what the neighbour has said."""
        self.table_id, self.epoch = NO_TABLE, 0
        self.is_new_table, self.deadline_ms = False, None

    def wanted(self) -> RouteControl:
        """What asks for everything that is missing."""
        return RouteControl(Mode.SYNC, self.table_id, self.epoch)

    def expect(self, now_ms: int) -> None:
        """It has been asked: from now on it should be heard of."""
        if self.deadline_ms is None:
            self.deadline_ms = now_ms + HOLD_DOWN_MIN_MS

    def judge(self, update: RouteUpdate, now_ms: int) -> Verdict:
        """APPLY: its changes are to be made, after all routes were dropped if `is_new_table`."""
        if update.table_id != self.table_id:
            self.table_id, self.epoch = update.table_id, 0
            self.is_new_table = True
        if update.from_epoch > self.epoch:
            return Verdict.GAP
        if update.to_epoch < self.epoch:
            return Verdict.STALE
        self.epoch = update.to_epoch
        hold_ms = min(max(update.hold_down_ms, HOLD_DOWN_MIN_MS), HOLD_DOWN_MAX_MS)
        self.deadline_ms = now_ms + hold_ms
        return Verdict.APPLY
