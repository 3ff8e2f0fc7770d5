"""Which prefix leads to which account, from all who say so. Imports _core and types.

Sources, strongest first: static routes of the operator, addresses of accounts, the default route to
the parent. The switch's forwarding table gets the winner of each prefix; a source that goes
uncovers the next one.
"""

from collections.abc import Iterator, Mapping

from fastilp._core.books import Account
from fastilp._core.switch import Switch

DEFAULT = ""


class Routing:
    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._static: dict[str, Account] = {}
        self._addresses: dict[str, Account] = {}
        self._parent: Account | None = None

    # --- Sources --------------------------------------------------------------------------------

    def set_address(self, address: str, account: Account) -> None:
        """Raises UsageError for an address that no route can have."""
        if address not in self._static:
            self._switch.set_route(address, account)
        self._addresses[address] = account

    def remove_address(self, address: str) -> None:
        self._addresses.pop(address, None)
        self._show(address)

    def owner_of(self, address: str) -> Account | None:
        """Whose own address this is."""
        return self._addresses.get(address)

    def set_parent(self, parent: Account | None) -> None:
        """The account that takes what no other route matches."""
        self._parent = parent
        self._show(DEFAULT)

    @property
    def parent(self) -> Account | None:
        return self._parent

    def set_static(self, routes: Mapping[str, Account]) -> None:
        """Replace all static routes."""
        before = self._static
        self._static = dict(routes)
        for prefix in before.keys() | routes.keys():
            if before.get(prefix) is not routes.get(prefix):
                self._show(prefix)

    def static(self) -> dict[str, Account]:
        return dict(self._static)

    # --- The outcome ----------------------------------------------------------------------------

    def routes(self) -> Iterator[tuple[str, Account] | None]:
        """Every route in force, prefix and account. There may be very many, so routes may come and
        go while somebody takes them one by one; None is one that has gone."""
        static, addresses = dict(self._static), list(self._addresses)
        for prefix in static:
            yield self._route(prefix)
        for address in addresses:
            yield None if address in static else self._route(address)
        if DEFAULT not in static:
            yield self._route(DEFAULT)

    def _route(self, prefix: str) -> tuple[str, Account] | None:
        winner = self._winner(prefix)
        return None if winner is None else (prefix, winner)

    def _winner(self, prefix: str) -> Account | None:
        """Who gets what matches this prefix best."""
        winner = self._static.get(prefix) or self._addresses.get(prefix)
        return self._parent if winner is None and prefix == DEFAULT else winner

    def _show(self, prefix: str) -> None:
        winner = self._winner(prefix)
        if winner is not None:
            self._switch.set_route(prefix, winner)
            return
        try:
            self._switch.del_route(prefix)
        except KeyError:
            # It never was in the table.
            return
