"""A live account, and what its transports are for control: they are made in `node`. Imports _core,
storage and types.
"""

from typing import Protocol

from fastilp._core.books import Account
from fastilp.control.records import plain_details
from fastilp.storage.kinds import ACCOUNTS
from fastilp.types import AccountDetails


class Wiring(Protocol):
    """The transports of accounts; `node` has them."""

    def check(self, details: AccountDetails) -> None:
        """Raises UsageError for what no transport can use."""

    def open(self, account: Account, details: AccountDetails) -> None: ...
    def open_later(self, account: Account, http_token: bytes | None) -> None:
        """An account that at most comes in over HTTP; its links are made when it does."""

    def update(self, account: Account, old: AccountDetails, new: AccountDetails) -> None:
        """No packet is lost: what is in flight on a link that goes is answered first."""

    def shut(self, username: str) -> None:
        """Tokens open nothing any more, and nobody is dialled; links stay for what is in flight."""

    def reopen(self, account: Account, details: AccountDetails) -> None:
        """Take back `shut`."""

    async def close(self, username: str) -> None: ...
    def states(self, username: str) -> dict[str, bool]:
        """Which links are up, by kind."""

    def awaited(self, username: str) -> list[str]:
        """Kinds of links that are down and that only the peer can dial."""


class Unwired:
    """No transports: before the node listens, and for programs without any."""

    def check(self, details: AccountDetails) -> None: ...
    def open(self, account: Account, details: AccountDetails) -> None: ...
    def open_later(self, account: Account, http_token: bytes | None) -> None: ...
    def update(self, account: Account, old: AccountDetails, new: AccountDetails) -> None: ...
    def shut(self, username: str) -> None: ...
    def reopen(self, account: Account, details: AccountDetails) -> None: ...
    async def close(self, username: str) -> None: ...
    def states(self, username: str) -> dict[str, bool]:
        return {}

    def awaited(self, username: str) -> list[str]:
        return []


class Entry:
    """A live account. Most accounts of a large node are plain (`is_plain`), and nobody asks for
    their details: those stay in the bytes of their record, which no garbage collection looks at."""

    __slots__ = ("_details", "account", "closing", "origin")

    def __init__(self, account: Account, details: AccountDetails | bytes, origin: str) -> None:
        """`details`: or the value of a plain account's record."""
        self.account = account
        self.origin = origin
        self.closing = False
        self._details = details

    @property
    def is_plain(self) -> bool:
        """Whether it has no limits, links or settings of its own, as far as is known."""
        return isinstance(self._details, bytes)

    @property
    def details(self) -> AccountDetails:
        if isinstance(self._details, bytes):
            key = ACCOUNTS.key(self.account.name)
            return plain_details(ACCOUNTS.fields(key, self._details))
        return self._details

    @details.setter
    def details(self, details: AccountDetails) -> None:
        self._details = details
