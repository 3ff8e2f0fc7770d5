from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, overload

from typing_extensions import disjoint_base

from fastilp._core.books import Account
from fastilp._core.connection_batch import BatchConnection
from fastilp._core.connection_btp import BtpConnection
from fastilp._core.ledger import Ledger
from fastilp._core.link import Link

@disjoint_base
class Tables:
    """What control writes and the pipeline reads."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def control(self) -> Link:
        """In-process link without an account: punts come out of it, control's own packets go in.
        Set `up` to open it."""
    address: str
    """Own ILP address; settable."""
    def add_account(
        self,
        name: str,
        *,
        asset_code: str,
        asset_scale: int,
        account_id: bytes | None = None,
        **settings: int | Sequence[str] | Fraction | Decimal | None,
    ) -> Account:
        """`account_id`: 16 bytes, default derived from the name. Settings (units of the asset's
        smallest, ms): min_balance=None, max_balance=None, max_packet_amount=2**64-1,
        packets_per_minute_limit=None, amount_per_minute_limit=None, round_trip_time=500,
        settle_threshold=None, settle_to=None, max_in_flight_amount=None, in_flight_in_max=16384,
        in_flight_out_max=16384, max_packet_amount_out=None, amount_per_minute_limit_out=None,
        allowed_destinations=None (a list of prefixes), spread=None (instead of that of the pair or
        of all, for packets from the account). Raises UsageError for a name, id or asset
        that does not fit."""
    def set_account(
        self, account: Account, **settings: int | Sequence[str] | Fraction | Decimal | None
    ) -> None:
        """Change settings of a live account; buckets keep their level."""
    def close_account(self, account: Account) -> None:
        """No new Prepares from or to it; what is in flight goes on."""
    def reopen_account(self, account: Account) -> None:
        """Take back `close_account`: Prepares flow again, by the routes and links there are."""
    def remove_account(self, account: Account) -> None:
        """Forget a closed account once nothing of it is in flight: its name is free again, its
        counters stay with the ledger. Its routes lead nowhere until they are set anew."""
    def in_flight_of(self, account: Account) -> tuple[int, int]:
        """Prepares from the account, and to it, that wait for an answer."""
    def limit_hits_of(self, account: Account) -> tuple[int, str]:
        """How often a limit of the account refused a Prepare since it was added (modulo 2**32), and
        the name of the last outcome (`statuses`)."""
    def settings(self, account: Account) -> dict[str, Any]: ...
    def set_punt(self, account: Account, punted: bool) -> None:
        """What the account sends goes to `control`, which answers it or hands in a Prepare of the
        same amount in its place. Without control it is answered T01."""
    def set_punt_prefix(self, prefix: str, punted: bool) -> None:
        """The same for what goes to destinations of a prefix. UsageError: not a prefix; KeyError:
        it was not marked."""
    def suspend(self, account: Account, suspended: bool) -> None:
        """Answer Prepares to the account link_down (T01) whatever its links say; its egress is
        remembered."""
    def tally(self, account: Account) -> tuple[int, int, int, int]:
        """Of the account as next hop, since the start: Prepares sent (modulo 2**32), T01 of our own
        transports, T04 of other nodes, timed out."""
    def account(self, name: str) -> Account:
        """KeyError if there is none."""
    def accounts(self) -> list[Account]: ...
    def open_link(
        self,
        account: Account,
        *,
        kind: str = "message",
        name: str = "",
        local: bool = False,
        takes: bool = True,
    ) -> Link:
        """Open a channel; it becomes the egress of an account that has none, or a closed one,
        unless it is to take no Prepares. `local`: packets end in this process, so their expiry is
        not shortened."""
    def set_egress(self, account: Account, link: Link | None) -> None: ...
    @overload
    def accept(self, codec: Literal["btp"] = "btp") -> BtpConnection: ...
    @overload
    def accept(self, codec: Literal["batch"]) -> BatchConnection:
        """A connection for one socket, without an account until it is bound to a link."""
    def turn_is_full(self) -> bool:
        """Connections have brought all the Prepares that go into one batch; the rest waits for
        `process`."""
    def set_route(
        self,
        prefix: str,
        account: Account,
        others: Sequence[Account] = (),
        weights: Sequence[int] = (),
    ) -> None:
        """Whole-segment prefix, "" = default. While the account's link is down or suspended the
        next one of the others that is up takes its place, from the next packet on. With `weights`,
        of the account and of the first of the others, these share the traffic: each destination
        keeps its next hop. At most 8 accounts count. Raises UsageError for an invalid prefix."""
    def del_route(self, prefix: str) -> None:
        """KeyError if there is none."""
    def routes(self) -> dict[str, Account]: ...
    def set_rate(self, asset_code: str, rate: Fraction | Decimal | int | str) -> None:
        """Value of one standard unit of the asset. Raises UsageError for zero, negative or inexact
        beyond 128 bits."""
    def set_rates(self, rates: Mapping[str, Fraction | Decimal | int | str]) -> None:
        """Replace all rates at once; assets that are not named lose theirs. Raises UsageError, and
        then nothing has changed."""
    def fitting_rates(
        self, rates: Mapping[str, Fraction | Decimal | int | str]
    ) -> dict[str, Fraction]:
        """Those of the rates that fit 128 bits with each other for the assets there are."""
    def set_spread(self, spread: Fraction | Decimal | int | str) -> None:
        """Taken from every conversion between different assets; 0 <= spread < 1."""
    def set_pair_spreads(
        self, spreads: Mapping[tuple[str, str], Fraction | Decimal | int | str]
    ) -> None:
        """By (asset code in, asset code out): taken instead of the spread of all, and itself
        replaced by the `spread` of the account that a packet comes from. Replaces all of them."""
    def check_asset(
        self, asset_code: str, asset_scale: int, spread: Decimal | Fraction | None = None
    ) -> None:
        """Raises UsageError if no account could have this asset and spread: there are too many, or
        a rate with another one would not be exact."""
    def assets(self) -> list[tuple[str, int, Fraction | None]]:
        """(code, scale, spread of the account or None), each once."""
    def receive(self, packets: Iterable[tuple[Link, int, bytes]]) -> None:
        """`Link.receive` for packets of any number of links in one call, in order: what a program
        with many accounts and few packets from each wants. Nothing is handed in if it raises."""
    def take(self) -> list[tuple[Link, int, bytes]]:
        """`Link.take` of every message link that has something, in one call."""
    def dirty_links(self) -> list[Link]:
        """Links with something to take since the last call."""
    def flush_links(self, failed: Callable[[Link], None]) -> None:
        """Have the owner of each dirty link flush it, once. Where that raises, `failed(link)` is
        called in the handling of the exception, and the other links have their turn."""
    def balance(self, account: Account) -> int:
        """credits_posted - debits_posted - debits_pending: positive = we owe the holder."""
    def counters(self, account: Account) -> dict[str, int]: ...
    def rates(self) -> dict[str, Fraction]: ...
