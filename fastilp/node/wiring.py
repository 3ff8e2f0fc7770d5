"""The transports of all accounts: `control` tells which accounts there are, this opens, changes and
closes their links. Imports node.links, node.network, node.oversight, endpoints, transports and
types.
"""

from collections.abc import Callable, Iterable

from fastilp._core.books import Account
from fastilp.control.entries import Entry
from fastilp.endpoints.stream.uplink import AccountUplink
from fastilp.node.links import AccountLinks, LinkEvent, Shared
from fastilp.node.network import Network
from fastilp.node.oversight import Oversight
from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchPort
from fastilp.transports.batch_client import parse_batch_url
from fastilp.transports.btp import BtpPort
from fastilp.transports.btp_client import parse_btp_url
from fastilp.transports.http_client import parse_http_url
from fastilp.transports.http_pool import HttpSenderLimits
from fastilp.transports.http_port import HttpPort
from fastilp.transports.pump import Pump
from fastilp.types import AccountDetails


class NodeWiring:
    """`control.accounts.Wiring` over the node's transports. `token_key`: of the hashes in the
    accounts' details; `sending`: of each account that packets are posted to."""

    def __init__(
        self, pump: Pump, token_key: bytes, on_link: LinkEvent, sending: HttpSenderLimits
    ) -> None:
        self.oversight: Oversight | None = None
        """Told of accounts as they come and go."""
        self.network: Network | None = None
        """Likewise."""
        self.on_opened: list[Callable[[Account, AccountDetails], None]] = []
        """Told of accounts that are new, or whose details have changed, while the node runs."""
        self.on_updated: list[Callable[[Account, AccountDetails, AccountDetails], None]] = []
        """Told of what accounts were and are, when they change."""
        self.on_shut: list[Callable[[str], None]] = []
        """Told of accounts that are being closed."""
        self.http_tokens: TokenTable[HttpPort] = TokenTable(token_key)
        self.btp_tokens: TokenTable[BtpPort] = TokenTable(token_key)
        self.batch_tokens: TokenTable[BatchPort] = TokenTable(token_key)
        self._shared = Shared(
            pump,
            self.http_tokens,
            self.btp_tokens,
            self.batch_tokens,
            on_link=on_link,
            sending=sending,
        )
        self._links: dict[str, AccountLinks] = {}
        # Those whose links nobody has needed yet.
        self._later: dict[str, tuple[Account, bytes | None]] = {}
        self.http_tokens.opener = self._open_port

    def open_all(self, accounts: Iterable[Entry]) -> None:
        for entry in accounts:
            if entry.account.name not in self._later:
                self.open(entry.account, entry.details)
            elif self.oversight is not None:
                self.oversight.account_restored(entry.account)

    def start(self) -> None:
        """Dial, from now on."""
        self._shared.started = True
        for links in self._links.values():
            links.start()

    async def close_all(self) -> None:
        # Accounts may go meanwhile.
        for links in list(self._links.values()):
            await links.close()
        for task in list(self._shared.tasks):
            task.cancel()

    def reject_waiting(self) -> None:
        for links in self._links.values():
            links.reject_waiting()

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
        self._tell(account, details)

    def open_later(self, account: Account, http_token: bytes | None) -> None:
        self._later[account.name] = account, http_token
        if http_token is not None:
            self.http_tokens.put_digest(account.name, http_token, None)

    def _open_port(self, username: str) -> HttpPort:
        port = self._now(username).http_port
        assert port is not None
        return port

    def _now(self, username: str) -> AccountLinks:
        """The links of an account, made if they were put off."""
        later = self._later.pop(username, None)
        if later is None:
            return self._links[username]
        account, http_token = later
        details = AccountDetails(
            username=username,
            # What links do not look at.
            ilp_address="",
            asset_code=account.asset_code,
            asset_scale=account.asset_scale,
            ilp_over_http_incoming_token=http_token,
        )
        links = self._links[username] = AccountLinks(self._shared, account, details)
        return links

    def update(self, account: Account, old: AccountDetails, new: AccountDetails) -> None:
        for told in self.on_updated:
            told(account, old, new)
        if (old.asset_code, old.asset_scale) == (new.asset_code, new.asset_scale):
            self._now(new.username).update(new)
            self._tell(account, new)
            return
        # The switch has forgotten the account's links, and nothing is in flight on them.
        self._now(new.username)
        self._shared.spawn(self._links.pop(new.username).close())
        self.open(account, new)

    def _tell(self, account: Account, details: AccountDetails) -> None:
        if self.oversight is not None:
            self.oversight.account_opened(account, details)
        if self.network is not None:
            is_up = self.is_reachable(account.name)
            self.network.account_opened(account, details, is_up=is_up)
        for told in self.on_opened:
            told(account, details)

    def shut(self, username: str) -> None:
        if self.oversight is not None:
            self.oversight.account_closed(username)
        if self.network is not None:
            self.network.account_closed(username)
        for told in self.on_shut:
            told(username)
        self._now(username).shut()

    def reopen(self, account: Account, details: AccountDetails) -> None:
        self._now(account.name).reopen()
        self._tell(account, details)

    def uplink(self, entry: Entry) -> AccountUplink:
        """The way out for payments of the account's own."""
        return self._now(entry.account.name).uplink(entry.details.ilp_address)

    def is_reachable(self, username: str) -> bool:
        """Whether packets can leave to the account."""
        links = self._links.get(username)
        return links is not None and links.is_reachable

    async def close(self, username: str) -> None:
        links = self._links.pop(username, None)
        if links is not None:
            await links.close()

    def states(self, username: str) -> dict[str, bool]:
        if username in self._later:
            return {} if self._later[username][1] is None else {"http-in": True}
        links = self._links.get(username)
        return {} if links is None else links.states()

    def awaited(self, username: str) -> list[str]:
        links = self._links.get(username)
        return [] if links is None else links.awaited()
