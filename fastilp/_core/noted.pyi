from typing_extensions import disjoint_base

from fastilp._core.books import Account
from fastilp._core.tables import Tables

@disjoint_base
class Noted(Tables):
    """What the switch tells beside packets."""

    def take_events(self) -> list[tuple[str, Account | None, int]]:
        """("settle", account, amount), ("fulfilled_before_commit", account, amount), ("store",
        None, health)."""
    def observe(self, counts: bool, records: bool = False) -> None:
        """From now on count packets by class of account, and keep a record of each packet with an
        amount that is fulfilled, for `take_records`. Off at first, and then costs nothing."""
    def set_class(self, account: Account, number: int) -> None:
        """0 to 23; 0 is what accounts have that were given none."""
    def observed(self) -> tuple[dict[int, dict[str, int]], dict[tuple[int, int], dict[str, int]]]:
        """By class of the sender, and by classes of sender and next hop: prepare, fulfill, reject,
        and of the answered ones how many and how long together (answered, duration_ms)."""
    def take_records(
        self,
    ) -> tuple[list[tuple[int, Account, Account, int, int, bytes, bytes]], int]:
        """(now_ms, sender, next hop, amount in, amount out, destination, fulfillment) of up to
        65,536 packets since the last call, and how many more there were."""
