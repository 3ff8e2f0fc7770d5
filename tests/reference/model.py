"""The reference switch: the same Python calls as fastilp.Switch, slow and obvious.

Imports the standard library, fastilp.errors and its neighbours here; never the compiled core. This
file holds the tables and what Python asks of a switch; what happens to packets is in pipeline.py.
"""

import hashlib
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fastilp.errors import UsageError
from tests.reference.books import ModelLedger
from tests.reference.outcomes import OUTCOMES
from tests.reference.packets import ADDRESS, SCHEME
from tests.reference.parts import DEFAULTS, Entry, ModelAccount, ModelLink, Row, Waiting
from tests.reference.pipeline import Pipeline

PREFIX_SEGMENTS_MAX = 32


class ModelSwitch(Pipeline):
    """Same calls as fastilp.Switch."""

    def __init__(
        self,
        ledger: ModelLedger,
        address: str,
        *,
        in_flight_max: int = 65_536,
        hold_max_ms: int = 30_000,
        window_min_ms: int = 100,
    ) -> None:
        self.ledger = ledger
        self.address = address
        self.in_flight_max = in_flight_max
        self.hold_max_ms = hold_max_ms
        self.window_min_ms = window_min_ms
        self.control = ModelLink(self, None, "control", True)
        self.control.up = False
        self.now_ms = 0
        self.inbox: list[Row] = []
        self.dropped = 0
        self.table: dict[str, ModelAccount] = {}
        self.prefixes: dict[str, ModelAccount] = {}
        self.marked: set[str] = set()
        self.rates: dict[str, Fraction] = {}
        self.spread = Fraction(0)
        self.pair_spreads: dict[tuple[str, str], Fraction] = {}
        self.entries: dict[int, Entry] = {}
        self.waiting: list[Waiting] = []
        self.events: list[tuple[str, ModelAccount | None, int]] = []
        self.counts = {name: 0 for name in OUTCOMES if name != "ok"}
        self.links: list[ModelLink] = [self.control]
        self.dirty: list[ModelLink] = []
        self.last_id = 0
        self.draining = False
        self.accepting = True

    @property
    def address(self) -> str:
        return self._address

    @address.setter
    def address(self, address: str) -> None:
        if not ADDRESS.match(address.encode()):
            raise UsageError("address")
        self._address = address

    # --- accounts -------------------------------------------------------------------------------

    def add_account(
        self,
        name: str,
        *,
        asset_code: str,
        asset_scale: int,
        account_id: bytes | None = None,
        **settings: Any,
    ) -> ModelAccount:
        if not name or name in self.table:
            raise UsageError("name")
        if not asset_code or not 0 <= asset_scale <= 255:
            raise UsageError("asset")
        check_settings(settings)
        key = hashlib.sha256(name.encode()).digest()[:16] if account_id is None else account_id
        if len(key) != 16 or any(key == other.id for other in self.table.values()):
            raise UsageError("account_id")
        account = ModelAccount(len(self.table), key, name, asset_code, asset_scale)
        self.ledger.open_row(key, account.asset)
        self.set_account(account, **settings)
        self.table[name] = account
        return account

    def set_account(self, account: ModelAccount, **settings: Any) -> None:
        check_settings(settings)
        watched = account.settings["max_in_flight_amount"] is not None
        account.settings.update(settings)
        if account.settings["max_in_flight_amount"] is not None and not watched:
            self.ledger.start_mark(account.id)
        self.ledger.rows[account.id].settles = (
            account.settings["settle_threshold"] is not None
            and account.settings["settle_to"] is not None
        )
        for bucket, name in (
            (account.packets, "packets_per_minute_limit"),
            (account.amounts, "amount_per_minute_limit"),
            (account.amounts_out, "amount_per_minute_limit_out"),
        ):
            bucket.set_limit(account.settings[name], self.now_ms)

    def close_account(self, account: ModelAccount) -> None:
        account.closing = True

    def set_punt(self, account: ModelAccount, punted: bool) -> None:
        account.punted = punted

    def set_punt_prefix(self, prefix: str, punted: bool) -> None:
        if punted:
            self.marked.add(prefix)
        else:
            self.marked.remove(prefix)

    def settings(self, account: ModelAccount) -> dict[str, Any]:
        return dict(account.settings)

    def account(self, name: str) -> ModelAccount:
        return self.table[name]

    def accounts(self) -> list[ModelAccount]:
        return list(self.table.values())

    # --- links ----------------------------------------------------------------------------------

    def open_link(
        self, account: ModelAccount, *, kind: str = "message", name: str = "", local: bool = False
    ) -> ModelLink:
        if kind != "message":
            raise UsageError("the model has message links only")
        link = ModelLink(self, account, name, local)
        self.links.append(link)
        if account.egress is None or account.egress.closed:
            account.egress = link
        return link

    def set_egress(self, account: ModelAccount, link: ModelLink | None) -> None:
        if link is not None and link.account is not account:
            raise UsageError("another account's link")
        account.egress = link

    def dirty_links(self) -> list[ModelLink]:
        dirty, self.dirty = self.dirty, []
        return dirty

    # --- routes and rates -----------------------------------------------------------------------

    def set_route(self, prefix: str, account: ModelAccount) -> None:
        raw = prefix.encode()
        if prefix and not ADDRESS.match(raw) and not SCHEME.match(raw):
            raise UsageError("prefix")
        if len(prefix.split(".")) > PREFIX_SEGMENTS_MAX:
            raise UsageError("prefix is too deep")
        self.prefixes[prefix] = account

    def del_route(self, prefix: str) -> None:
        del self.prefixes[prefix]

    def routes(self) -> dict[str, ModelAccount]:
        return dict(self.prefixes)

    def set_rate(self, asset_code: str, rate: Fraction | Decimal | int | str) -> None:
        if Fraction(rate) <= 0:
            raise UsageError("rate")
        self.rates[asset_code] = Fraction(rate)

    def set_spread(self, spread: Fraction | Decimal | int | str) -> None:
        if not 0 <= Fraction(spread) < 1:
            raise UsageError("spread")
        self.spread = Fraction(spread)

    def set_rates(self, rates: dict[str, Any]) -> None:
        self.rates = {code: Fraction(rate) for code, rate in rates.items()}

    def set_pair_spreads(self, spreads: dict[tuple[str, str], Any]) -> None:
        self.pair_spreads = {pair: Fraction(spread) for pair, spread in spreads.items()}

    # --- what one can ask -----------------------------------------------------------------------

    def balance(self, account: ModelAccount) -> int:
        return self.ledger.rows[account.id].balance

    def counters(self, account: ModelAccount) -> dict[str, int]:
        return dict(self.ledger.rows[account.id].counters)

    def statuses(self) -> dict[str, int]:
        return dict(self.counts)

    def in_flight(self) -> int:
        return len(self.entries)

    def drain(self) -> None:
        self.draining = True

    def punt_account(self, request_id: int) -> ModelAccount:
        entry = self.entries.get(request_id)
        if entry is None or not entry.punt or entry.sender is None:
            raise KeyError(request_id)
        return entry.sender

    def take_events(self) -> list[tuple[str, ModelAccount | None, int]]:
        events, self.events = self.events, []
        return events

    def fileno(self) -> int:
        return -1


def check_settings(settings: dict[str, Any]) -> None:
    if unknown := set(settings) - set(DEFAULTS):
        raise UsageError(f"unknown settings {unknown}")
