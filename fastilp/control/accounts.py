"""Accounts of the node: from their details to core accounts, and their addresses as routes.

Imports _core, storage, errors and types. Promises that an account keeps its id, and so its balance,
for as long as it keeps its name; the ledger refuses another asset code or scale while any counter
is not zero. What an account was set to is kept with its balance, except the tokens.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.errors import ConfigError, UsageError
from fastilp.storage.records import ACCOUNTS, AccountRecord
from fastilp.types import AccountDetails

# Details that the switch enforces; it has the same names and defaults.
_CORE_SETTINGS = (
    "min_balance",
    "max_balance",
    "max_packet_amount",
    "packets_per_minute_limit",
    "amount_per_minute_limit",
    "round_trip_time",
    "settle_threshold",
    "settle_to",
    "max_in_flight_amount",
    "in_flight_in_max",
    "in_flight_out_max",
    "max_packet_amount_out",
    "amount_per_minute_limit_out",
    "allowed_destinations",
)
# Ledger.transact takes at most 500.
_RECORDS_PER_CALL = 500


class Accounts:
    """All accounts of a switch by username."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._details: dict[str, AccountDetails] = {}

    def add(self, details: AccountDetails) -> Account:
        """Open the account, and route its address to it. Raises ConfigError that names it."""
        settings = {name: getattr(details, name) for name in _CORE_SETTINGS}
        try:
            account = self._switch.add_account(
                details.username,
                asset_code=details.asset_code,
                asset_scale=details.asset_scale,
                **settings,
            )
            self._switch.set_route(details.ilp_address, account)
        except UsageError as error:
            raise ConfigError(str(error), key=f"accounts.{details.username}") from None
        self._details[details.username] = details
        return account

    def set_static_routes(self, routes: Mapping[str, str]) -> None:
        """Prefix -> username. A static route wins over an account's address of the same prefix."""
        for prefix, username in routes.items():
            try:
                self._switch.set_route(prefix, self._switch.account(username))
            except (UsageError, KeyError) as error:
                raise ConfigError(str(error), key=f"routes.{prefix}") from None

    def save(self) -> None:
        """Keep the records of all accounts, so that a balance is explained even when its account
        has left the settings. Tokens stay where they were given."""
        store = self._switch.ledger.store
        if store is None:
            return
        puts = [ACCOUNTS.put(_record_of(account, details)) for account, details in self]
        changed = [(key, value) for key, value in puts if store.get(key) != value]
        for start in range(0, len(changed), _RECORDS_PER_CALL):
            self._switch.ledger.transact(puts=changed[start : start + _RECORDS_PER_CALL])

    def left_over(self) -> Iterator[tuple[AccountRecord, int]]:
        """Accounts that are in the books and not opened, with their balance if that is not zero."""
        store = self._switch.ledger.store
        for record in ACCOUNTS.items(store) if store is not None else ():
            counters = self._switch.ledger.counters(record.account_id)
            if record.username in self._details or counters is None:
                continue
            balance = counters["credits_posted"] - counters["debits_posted"]
            if balance != 0:
                yield record, balance

    def details(self, username: str) -> AccountDetails | None:
        return self._details.get(username)

    def __iter__(self) -> Iterator[tuple[Account, AccountDetails]]:
        for username, details in self._details.items():
            yield self._switch.account(username), details


def _record_of(account: Account, details: AccountDetails) -> AccountRecord:
    names = {field.name for field in fields(AccountRecord)} & {
        field.name for field in fields(AccountDetails)
    }
    values = {name: getattr(details, name) for name in names if not name.endswith("_token")}
    values["routing_relation"] = details.routing_relation.value
    if details.allowed_destinations is not None:
        values["allowed_destinations"] = json.dumps(details.allowed_destinations)
    return AccountRecord(account_id=account.id, **values)
