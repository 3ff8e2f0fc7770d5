from decimal import Decimal
from fractions import Fraction
from typing import final

from fastilp._core.ledger import Account, Ledger
from fastilp._core.link import Connection, Link

@final
class Switch:
    """The data plane: bytes and a time go in, bytes come out (docs/data-path.md). Not thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        address: str,
        *,
        in_flight_max: int = 65_536,
        hold_max_ms: int = 30_000,
        window_min_ms: int = 100,
    ) -> None: ...
    ledger: Ledger
    address: str
    """Own ILP address; settable."""
    control: Link
    """In-process link without an account: punts come out of it, control's own packets go in."""
    def add_account(
        self,
        name: str,
        *,
        asset_code: str,
        asset_scale: int,
        account_id: bytes | None = None,
        **settings: int | None,
    ) -> Account:
        """`account_id`: 16 bytes, default derived from the name. Settings (units of the asset's smallest, ms): min_balance=None,
        max_balance=None, max_packet_amount=2**64-1, packets_per_minute_limit=None, amount_per_minute_limit=None,
        round_trip_time=500, settle_threshold=None, settle_to=None, max_in_flight_amount=None, in_flight_in_max=16384,
        in_flight_out_max=16384. Raises UsageError for a name, id or asset that does not fit."""
    def set_account(self, account: Account, **settings: int | None) -> None:
        """Change settings of a live account; buckets keep their level."""
    def close_account(self, account: Account) -> None:
        """No new Prepares from or to it; what is in flight goes on."""
    def settings(self, account: Account) -> dict[str, int | None]: ...
    def account(self, name: str) -> Account:
        """KeyError if there is none."""
    def accounts(self) -> list[Account]: ...
    def open_link(self, account: Account, *, kind: str = "message", name: str = "", local: bool = False) -> Link:
        """Open a channel; the account's first one becomes its egress. `local`: packets end in this process, so their
        expiry is not shortened."""
    def set_egress(self, account: Account, link: Link | None) -> None: ...
    def accept(self, codec: str = "btp") -> Connection: ...
    def set_route(self, prefix: str, account: Account) -> None:
        """Whole-segment prefix, "" = default. Raises UsageError for an invalid prefix."""
    def del_route(self, prefix: str) -> None:
        """KeyError if there is none."""
    def routes(self) -> dict[str, Account]: ...
    def set_rate(self, asset_code: str, rate: Fraction | Decimal | int | str) -> None:
        """Value of one standard unit of the asset. Raises UsageError for zero, negative or inexact beyond 128 bits."""
    def set_spread(self, spread: Fraction | Decimal | int | str) -> None:
        """Taken from every conversion between different assets; 0 <= spread < 1."""
    def process(self, now_ms: int) -> None:
        """Do everything that is due at `now_ms` (Unix time): the only call that does work."""
    def dirty_links(self) -> list[Link]:
        """Links with something to take since the last call."""
    def next_deadline_ms(self) -> int | None:
        """When process must be called again even if nothing arrives; None if nothing is in flight."""
    def fileno(self) -> int:
        """Readable when a commit that the switch waits for has ended; -1 for a memory ledger."""
    def punt_account(self, request_id: int) -> Account:
        """Which account a punted Prepare (taken from `control`) came in on."""
    def balance(self, account: Account) -> int:
        """credits_posted - debits_posted - debits_pending: positive = we owe the holder."""
    def counters(self, account: Account) -> dict[str, int]: ...
    def statuses(self) -> dict[str, int]:
        """Outcome name -> count since the start."""
    def account_statuses(self, account: Account) -> dict[str, int]:
        """The same for packets that came in on one account (outcomes that happened)."""
    def in_flight(self) -> int: ...
    def drain(self) -> None:
        """Refuse new Prepares from now on (T00, store_unavailable); answers go on. For shutdown."""
    def take_events(self) -> list[tuple[str, Account | None, int]]:
        """("settle", account, amount), ("fulfilled_before_commit", account, amount), ("store", None, health)."""
