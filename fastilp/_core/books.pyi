from typing import final

from typing_extensions import disjoint_base

@final
class Account:
    """Handle of an account; made by Switch.add_account."""

    index: int
    id: bytes
    name: str
    asset_code: str
    asset_scale: int
    kind: str
    """"account", or "exchange", "settlement", "written_off" of an internal one."""
    max_in_flight_amount: int | None
    """The setting as the store has it."""

@disjoint_base
class Books:
    """Accounts and their counters in memory."""

    ticket: int
    """The newest ticket given out."""
    underflows: int
    """How often a counter was to fall below zero: our own bug, if it is ever above 0."""
    def find(self, account_id: bytes) -> Account | None:
        """The handle of an account, whether it is open or not, by its id; None for an unknown
        one."""
    def counters(self, account_id: bytes) -> dict[str, int] | None:
        """debits_pending, debits_posted, credits_pending, credits_posted, prepaid_pending,
        prepaid_posted, debits_relayed; None for an id that has no row."""
    def sums(self) -> dict[tuple[str, int], dict[str, int]]:
        """Per asset (code, scale): debits_pending, credits_pending, debits_posted, credits_posted
        over all accounts, the internal ones included. Debits equal credits, always."""
    def internal_id(self, asset_code: str, asset_scale: int, kind: str) -> bytes:
        """The id of an asset's internal account; `kind` is "exchange", "settlement" or
        "written_off"."""
    def check(self) -> None:
        """Raises InternalError unless debits equal credits per asset, pending and posted."""
