"""Tables that belong to the node and not to one account: rates, static routes, settlement engines.

Imports _core, storage and errors. The settings' file fills them at the start; a table that the API
has set is kept in the store, and from then on the file has no say in it. Rates are exact: one that
the switch cannot hold in 128 bits is refused, never rounded.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts, Puts
from fastilp.control.routing import check_routable
from fastilp.errors import ConfigError, UsageError
from fastilp.storage.kinds import TABLES, TableRecord
from fastilp.storage.records import Reader

RATES = "rates"
STATIC_ROUTES = "static_routes"
ENGINES = "settlement_engines"
NAMES = (RATES, STATIC_ROUTES, ENGINES)

AlsoPuts = Callable[[], Puts]
Spreads = tuple[Decimal, Mapping[str, Decimal]]
"""Of all conversions, and by pair, `IN/OUT`."""


def _nothing() -> Puts:
    return []


class UnknownAccountError(UsageError):
    """A route to an account that there is not."""

    def __init__(self, username: str) -> None:
        self.username = username
        super().__init__(f"account `{username}` was not found")


class NodeTables:
    def __init__(self, switch: Switch, accounts: Accounts) -> None:
        self._switch = switch
        self._accounts = accounts
        self.rates: dict[str, Decimal] = {}
        """Those set by hand."""
        self.on_rates: Callable[[], None] = lambda: None
        """The switch has nothing but those set by hand: a provider brings its own again."""
        self._spreads: Spreads = (Decimal(0), {})
        self.engines: dict[str, str] = {}
        self.on_engines: Callable[[], None] = lambda: None
        """They are others now."""
        accounts.on_closing.append(self._records_without)
        accounts.on_closed.append(self._forget_account)

    # --- At the start, and when the file was changed --------------------------------------------

    def of_api(self, name: str) -> dict[str, str] | None:
        """What the API set last; None: it never did, the file decides."""
        store = self._switch.ledger.store
        return None if store is None else entries_of(store, name)

    def load(
        self,
        routes: Mapping[str, str],
        rates: Mapping[str, Decimal],
        spread: Decimal,
        pair_spreads: Mapping[str, Decimal] | None = None,
        engines: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Take what the API set, else what the file says. Returns prefixes of routes whose account
        was closed over the API. Raises ConfigError that names the key, and then nothing has
        changed."""
        found, lost = self._accounts_of(routes)
        of_api = self.of_api(RATES)
        wanted = rates
        if of_api is not None:
            wanted = {code: Decimal(rate) for code, rate in of_api.items()}
        before = self.rates, self._spreads
        try:
            self._take_rates(wanted, (spread, pair_spreads or {}))
        except ConfigError:
            self._take_rates(*before)
            raise
        before_engines = self.engines
        self.engines = {**(engines or {}), **(self.of_api(ENGINES) or {})}
        if self.engines != before_engines:
            self.on_engines()
        self._accounts.routing.set_static(found)
        return lost

    def _accounts_of(self, routes: Mapping[str, str]) -> tuple[dict[str, Account], list[str]]:
        """Of the static routes that the API set, else of these; and prefixes without an account."""
        of_api = self.of_api(STATIC_ROUTES)
        found: dict[str, Account] = {}
        lost = []
        for prefix, username in (routes if of_api is None else of_api).items():
            entry = self._accounts.find(username)
            if entry is None:
                lost.append(prefix)
                continue
            try:
                check_routable(prefix)
            except UsageError as error:
                raise ConfigError(str(error), key="routes") from None
            found[prefix] = entry.account
        return found, lost

    def _take_rates(self, rates: Mapping[str, Decimal], spreads: Spreads) -> None:
        """Raises ConfigError half way."""
        spread, by_pair = spreads
        pairs = {
            (code_in, code_out): value
            for pair, value in by_pair.items()
            for code_in, _, code_out in [pair.partition("/")]
        }
        # Without a rate every spread is exact.
        self._switch.set_rates({})
        try:
            self._switch.set_spread(spread)
            self._switch.set_pair_spreads(pairs)
        except UsageError as error:
            raise ConfigError(str(error), key="exchange_rate.spread") from None
        try:
            self._switch.set_rates(dict(rates))
        except UsageError:
            self._name_wrong_rate(rates)
            raise
        self.rates, self._spreads = dict(rates), spreads
        self.on_rates()

    def _name_wrong_rate(self, rates: Mapping[str, Decimal]) -> None:
        for code, rate in rates.items():
            try:
                self._switch.set_rate(code, rate)
            except UsageError as error:
                raise ConfigError(str(error), key=f"rates.{code}") from None

    def rates_in_use(self) -> dict[str, Decimal]:
        """Those set by hand and those of a provider, as decimals of at most 60 digits."""
        with localcontext(Context(prec=60)):
            return {
                code: self.rates[code]
                if Fraction(self.rates.get(code, 0)) == rate
                else Decimal(rate.numerator) / Decimal(rate.denominator)
                for code, rate in self._switch.rates().items()
            }

    # --- Over the API ---------------------------------------------------------------------------

    def set_rates(self, rates: Mapping[str, Decimal], also: AlsoPuts = _nothing) -> int:
        """Replace all rates set by hand. Returns the ticket. Raises UsageError, and then nothing
        has changed."""
        before = dict(self.rates)
        self._switch.set_rates(dict(rates))
        try:
            texts = {code: str(rate) for code, rate in rates.items()}
            ticket = self._put(RATES, texts, also)
        except BaseException:
            self._switch.set_rates(before)
            self.on_rates()
            raise
        self.rates = dict(rates)
        self.on_rates()
        return ticket

    def static_routes(self) -> dict[str, str]:
        return {prefix: account.name for prefix, account in self._accounts.routing.static().items()}

    def set_static_routes(self, routes: Mapping[str, str], also: AlsoPuts = _nothing) -> int:
        """Replace all static routes. Returns the ticket. Raises UnknownAccountError."""
        found: dict[str, Account] = {}
        for prefix, username in routes.items():
            entry = self._accounts.find(username)
            if entry is None or entry.closing:
                raise UnknownAccountError(username)
            found[prefix] = entry.account
        routing = self._accounts.routing
        before = routing.static()
        try:
            routing.set_static(found)
            return self._put(STATIC_ROUTES, dict(routes), also)
        except BaseException:
            routing.set_static(before)
            raise

    def set_static_route(self, prefix: str, username: str, also: AlsoPuts = _nothing) -> int:
        return self.set_static_routes({**self.static_routes(), prefix: username}, also)

    def add_engines(self, engines: Mapping[str, str], also: AlsoPuts = _nothing) -> int:
        """Add to the map of settlement engines, by asset code. Returns the ticket."""
        merged = {**self.engines, **engines}
        ticket = self._put(ENGINES, merged, also)
        self.engines = merged
        self.on_engines()
        return ticket

    def _put(self, name: str, entries: Mapping[str, str], also: AlsoPuts) -> int:
        return self._switch.ledger.transact(puts=[_record(name, entries), *also()])

    def _routes_without(self, account: Account) -> dict[str, Account]:
        static = self._accounts.routing.static()
        return {prefix: to for prefix, to in static.items() if to is not account}

    def _records_without(self, account: Account) -> Puts:
        """No static route may lead to an account that is closed."""
        kept = self._routes_without(account)
        set_routes = self.of_api(STATIC_ROUTES)
        if set_routes is None or len(kept) == len(set_routes):
            return []
        return [_record(STATIC_ROUTES, {prefix: to.name for prefix, to in kept.items()})]

    def _forget_account(self, account: Account) -> None:
        self._accounts.routing.set_static(self._routes_without(account))


def entries_of(store: Reader, name: str) -> dict[str, str] | None:
    """A table in the store; None if the API never set it."""
    record = TABLES.get(store, name)
    return None if record is None else json.loads(record.entries)


def _record(name: str, entries: Mapping[str, str]) -> tuple[bytes, bytes]:
    return TABLES.put(TableRecord(name=name, entries=json.dumps(dict(entries))))
