"""The transports of all accounts: `control` tells which accounts there are, this opens, changes and
closes their links. Imports
node.links, node.oversight, transports and types.
"""

from collections.abc import Iterable

from fastilp._core.books import Account
from fastilp.node.links import AccountLinks, LinkEvent, Shared
from fastilp.node.oversight import Oversight
from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchPort
from fastilp.transports.batch_client import parse_batch_url
from fastilp.transports.btp import BtpPort
from fastilp.transports.btp_client import parse_btp_url
from fastilp.transports.http_client import parse_http_url
from fastilp.transports.http_port import HttpPort
from fastilp.transports.pump import Pump
from fastilp.types import AccountDetails


class NodeWiring:
    """`control.accounts.Wiring` over the node's transports. `token_key`: of the hashes in the
    accounts' details."""

    def __init__(
        self, pump: Pump, token_key: bytes, oversight: Oversight, on_link: LinkEvent
    ) -> None:
        self.http_tokens: TokenTable[HttpPort] = TokenTable(token_key)
        self.btp_tokens: TokenTable[BtpPort] = TokenTable(token_key)
        self.batch_tokens: TokenTable[BatchPort] = TokenTable(token_key)
        self._shared = Shared(
            pump, self.http_tokens, self.btp_tokens, self.batch_tokens, on_link=on_link
        )
        self._oversight = oversight
        self._links: dict[str, AccountLinks] = {}

    def open_all(self, accounts: Iterable[tuple[Account, AccountDetails]]) -> None:
        for account, details in accounts:
            self.open(account, details)

    def start(self) -> None:
        """Dial, from now on."""
        self._shared.started = True
        for links in self._links.values():
            links.start()

    async def close_all(self) -> None:
        for links in self._links.values():
            await links.close()
        for task in list(self._shared.tasks):
            task.cancel()

    def reject_waiting(self) -> None:
        for links in self._links.values():
            links.reject_waiting()

    def __len__(self) -> int:
        return len(self._links)

    # --- What control asks ----------------------------------------------------------------------

    def check(self, details: AccountDetails) -> None:
        if details.ilp_over_http_url:
            parse_http_url(details.ilp_over_http_url)
        if details.ilp_over_batch_url:
            parse_batch_url(details.ilp_over_batch_url, details.ilp_over_batch_outgoing_token)
        if details.ilp_over_btp_url:
            parse_btp_url(details.ilp_over_btp_url, details.ilp_over_btp_outgoing_token)

    def open(self, account: Account, details: AccountDetails) -> None:
        self._links[details.username] = AccountLinks(self._shared, account, details)
        self._oversight.account_opened(account, details)

    def update(self, account: Account, old: AccountDetails, new: AccountDetails) -> None:
        if (old.asset_code, old.asset_scale) == (new.asset_code, new.asset_scale):
            self._links[new.username].update(new)
            self._oversight.account_opened(account, new)
            return
        # The switch has forgotten the account's links, and nothing is in flight on them.
        self._shared.spawn(self._links.pop(new.username).close())
        self.open(account, new)

    def shut(self, username: str) -> None:
        self._oversight.account_closed(username)
        self._links[username].shut()

    async def close(self, username: str) -> None:
        links = self._links.pop(username, None)
        if links is not None:
            await links.close()

    def states(self, username: str) -> dict[str, bool]:
        links = self._links.get(username)
        return {} if links is None else links.states()
