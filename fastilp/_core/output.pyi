from typing_extensions import disjoint_base

from fastilp._core.books import Account
from fastilp._core.noted import Noted

@disjoint_base
class Output(Noted):
    """Rewrite and scatter."""

    def statuses(self) -> dict[str, int]:
        """Outcome name -> count since the start."""
    def refused_by(self, account: Account) -> str:
        """Address of the node that answered T04 last to what was sent to the account, "" = none."""
    def count_undeliverable(self, count: int = 1) -> None:
        """An answer was taken from a link and its requester has gone."""
