"""Accounts of the node: from their details to core accounts, and their addresses as routes.

Imports _core, errors and types. Promises that an account keeps its id, and so its balance, for
as long as it keeps its name; the ledger refuses another asset code or scale while any counter
is not zero.
"""

from collections.abc import Iterator, Mapping

from fastilp._core.ledger import Account
from fastilp._core.switch import Switch
from fastilp.errors import ConfigError, UsageError
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
)


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

    def details(self, username: str) -> AccountDetails | None:
        return self._details.get(username)

    def __iter__(self) -> Iterator[tuple[Account, AccountDetails]]:
        for username, details in self._details.items():
            yield self._switch.account(username), details
