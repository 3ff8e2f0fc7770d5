"""Accounts for whoever comes to `listen.open_btp`, whatever the secret, as `moneyd` and
`ilp-plugin-mini-accounts` give them. Imports config, control, node.wiring and transports.

The secret alone says who it is: the same one has the same account and address. Promises no more
than `accounts_max` of them, and that one that never moved money goes with its connection.
"""

import asyncio
import base64
import logging
from collections.abc import Coroutine
from dataclasses import replace
from hashlib import sha256
from typing import Any

from fastilp._core.books import Account
from fastilp.config.models import OpenBtpConfig
from fastilp.control.accounts import OPEN, Accounts
from fastilp.control.records import TOKENS
from fastilp.control.slices import in_slices
from fastilp.errors import ConflictError, StorageError, UsageError
from fastilp.transports.auth import TokenTable
from fastilp.transports.btp import BtpPort
from fastilp.types import AccountDetails, Relation

_log = logging.getLogger("fastilp.links")

_PREFIX = "open_"
# A username has at most 32 characters.
_NAME_SIZE = 27
# Between two looks for accounts that nobody uses, when there is no room.
_LOOK_SECONDS = 5.0
# A connection that is followed by another one at once is one client's.
_GRACE_SECONDS = 1.0


class OpenAccounts:
    """`tokens` is the listener's table: it knows everybody."""

    def __init__(
        self, config: OpenBtpConfig, accounts: Accounts, btp_tokens: TokenTable[BtpPort]
    ) -> None:
        self._template = config.template or ""
        self._accounts_max = config.accounts_max
        self._accounts = accounts
        self._btp_tokens = btp_tokens
        self._usernames = {
            entry.account.name for entry in accounts.entries() if entry.origin == OPEN
        }
        self._closing: set[asyncio.Task[None]] = set()
        self._looks_at = 0.0
        self.tokens = OpenTokens(self)
        accounts.on_closed.append(self._closed)

    def __len__(self) -> int:
        return len(self._usernames)

    def port(self, secret: str) -> BtpPort | None:
        """The port of whoever has this secret; None if there is no room."""
        digest = sha256(secret.encode("utf-8", "surrogatepass")).digest()
        username = f"{_PREFIX}{digest.hex()[:_NAME_SIZE]}"
        if self._accounts.find(username) is None and not self._create(username, digest, secret):
            return None
        return self._btp_tokens.find(username, secret)

    def link(self, username: str, is_up: bool) -> None:
        """Its connection has come or gone."""
        if not is_up and username in self._usernames:
            self._spawn(self._close_later(username))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def close(self) -> None:
        for task in self._closing:
            task.cancel()

    def _closed(self, account: Account) -> None:
        self._usernames.discard(account.name)

    def _create(self, username: str, digest: bytes, secret: str) -> bool:
        template = self._accounts.details(self._template)
        if template is None or len(self._usernames) >= self._accounts_max:
            _log.warning("no room for another open account", extra={"count": len(self)})
            self._make_room()
            return False
        try:
            self._accounts.create(self._details(template, username, digest, secret), origin=OPEN)
        except (UsageError, ConflictError, StorageError) as error:
            _log.warning("an open account was not made", extra={"reason": str(error)})
            return False
        self._usernames.add(username)
        return True

    def _details(
        self, template: AccountDetails, username: str, digest: bytes, secret: str
    ) -> AccountDetails:
        segment = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        urls = ("ilp_over_http_url", "ilp_over_batch_url", "ilp_over_btp_url")
        nothing: dict[str, None] = dict.fromkeys((*TOKENS, *urls, "endpoint"))
        plain = replace(template, **nothing)  # type: ignore[arg-type]
        return replace(
            plain,
            username=username,
            ilp_address=f"{self._accounts.switch.address}.local.{segment}",
            # It speaks no routing protocol, and is asked nothing.
            routing_relation=Relation.NON_ROUTING_ACCOUNT,
            ilp_over_btp_incoming_token=self._accounts.vault.hash(secret),
        )

    def _make_room(self) -> None:
        """For the next who comes: a node that ended has left accounts whose holders never paid."""
        now = asyncio.get_running_loop().time()
        if now >= self._looks_at:
            self._looks_at = now + _LOOK_SECONDS
            self._spawn(self._close_all_unused())

    async def _close_all_unused(self) -> None:
        async for username in in_slices(list(self._usernames)):
            await self._close_unused(username)

    async def _close_later(self, username: str) -> None:
        await asyncio.sleep(_GRACE_SECONDS)
        await self._close_unused(username)

    async def _close_unused(self, username: str) -> None:
        if any(self._accounts.wiring.states(username).values()):
            return
        try:
            await self._accounts.forget(username)
        except (KeyError, ConflictError, StorageError):
            # Closed by the operator, or it has moved money: then it stays.
            return
        self._usernames.discard(username)


class OpenTokens(TokenTable[BtpPort]):
    """Every token is right, and says by itself whose it is."""

    def __init__(self, accounts: OpenAccounts) -> None:
        super().__init__()
        self._accounts = accounts

    def find(self, username: str, token: str) -> BtpPort | None:
        """moneyd's clients send the name of their program as username: it means nothing."""
        return self._accounts.port(token)

    def find_by_token(self, token: str) -> BtpPort | None:
        return self._accounts.port(token)
