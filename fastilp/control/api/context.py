"""What the routes of the API work with, who may call them, and how a change becomes an answer.
Imports control, _core, errors and bodies.

Promises: whoever may not call a route learns nothing, not even whether there is such an account;
a change is on the disk before it is answered with success; tokens are compared in constant time.
"""

import hmac
import secrets
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts, Puts
from fastilp.control.alerts import Alerts
from fastilp.control.api.problems import ALREADY_EXISTS, KEY_IS_TIED, Problem, account_not_found
from fastilp.control.entries import Entry
from fastilp.control.events import Events
from fastilp.control.idempotency import Call, Idempotency, TiedError
from fastilp.control.metrics import Metrics
from fastilp.control.notifications import Notifications
from fastilp.control.payments import Payments
from fastilp.control.route_view import RouteView
from fastilp.control.settlement import Settlement
from fastilp.control.tables import NodeTables, UnknownAccountError
from fastilp.errors import ConflictError, StorageError, UsageError
from fastilp.storage.ledger import Ledger

_BEARER = "bearer "
_KEY_SIZE_MAX = 255
# The first bytes of `Authorization` that Interledger.rs cuts off unseen.
_SCHEME_SIZE = 7

Keep = Callable[[Response], Puts]
"""Records of an answer, for the transaction of the change that it is the answer to."""
Work = Callable[[Keep], Awaitable[tuple[int, Response]]]
"""Makes a change; returns its ticket and the answer."""


@dataclass
class Health:
    """`reasons`: why the node takes no packets, empty if it does."""

    live: bool
    reasons: list[str]


class Credentials(Protocol):
    """Where to pay to, and the secret of the connection (RFC 9)."""

    @property
    def destination(self) -> str: ...
    @property
    def shared_secret(self) -> bytes: ...


class Receiver(Protocol):
    """Gives whoever wants to pay an account an address that is theirs alone."""

    def credentials(
        self,
        account_name: str,
        account_address: str,
        receipt_nonce: bytes | None = None,
        receipt_secret: bytes | None = None,
    ) -> Credentials: ...


@dataclass
class Paying:
    """`default_account`: whose is `/.well-known/pay`."""

    payments: Payments
    receiver: Receiver
    notifications: Notifications
    default_account: str | None = None


class Context:
    def __init__(
        self,
        switch: Switch,
        accounts: Accounts,
        tables: NodeTables,
        events: Events,
        *,
        admin_auth_token: str | None,
        health: Callable[[], Health],
        alerts: Alerts | None = None,
        metrics: Metrics | None = None,
        drain: Callable[[], int],
        routes: RouteView | None = None,
        paying: Paying | None = None,
        settlement: Settlement | None = None,
    ) -> None:
        self.switch = switch
        self.accounts = accounts
        self.tables = tables
        self.events = events
        self.health = health
        # An empty list of alerts is one too.
        self.alerts = alerts if alerts is not None else Alerts()
        self.metrics = metrics or Metrics(switch, accounts, self.alerts)
        self.routes = routes
        """None: there is no network."""
        self.paying = paying
        """None: nobody pays from here or to here."""
        self.settlement = settlement
        """None: nothing is settled."""
        self.drain = drain
        """Takes nothing new from now on; returns how many packets are in flight."""
        self.idempotency = Idempotency(switch.ledger, accounts.vault.hash_key)
        self._key = secrets.token_bytes(32)
        self._admin = self._digest(admin_auth_token) if admin_auth_token else None
        # Compared with where there is nothing to compare with: that takes as long.
        self._nobody = secrets.token_bytes(32)

    # --- Who calls ------------------------------------------------------------------------------

    def is_admin(self, authorization: str) -> bool:
        wanted = self._admin or self._nobody
        return hmac.compare_digest(wanted, self._digest(_token(authorization) or ""))

    def check_admin(self, request: Request, detail: str | None = None) -> None:
        if not self.is_admin(_authorization(request)):
            raise Problem(401, detail)

    def check_node_admin(self, request: Request) -> None:
        self.check_admin(request, "invalid admin auth token provided")

    def account(self, request: Request, username: str) -> Entry:
        """The account, for the admin or its holder."""
        return self.account_of(_authorization(request), username)

    def account_of(self, authorization: str, username: str) -> Entry:
        if self.is_admin(authorization):
            return self.found(username)
        if authorization and len(authorization) < _SCHEME_SIZE:
            raise Problem(400, "Authorization is shorter than `Bearer `")
        entry = self.accounts.find(normalised(username))
        wanted = entry.details.ilp_over_http_incoming_token if entry else None
        given = self.accounts.vault.hash(_token(authorization) or "")
        # Whoever is not the admin must not learn which accounts there are.
        if not hmac.compare_digest(wanted or self._nobody, given) or entry is None:
            raise Problem(401, f"account `{username}` is not authorized for this action")
        return entry

    def holder(self, request: Request, username: str) -> Entry:
        """The account, for its holder alone: not even the admin spends what is theirs."""
        authorization = _authorization(request)
        if self.is_admin(authorization):
            raise Problem(401, f"account `{username}` is not authorized for this action")
        return self.account_of(authorization, username)

    def found(self, username: str) -> Entry:
        """For whoever may know whether there is such an account. Raises Problem."""
        entry = self.accounts.find(normalised(username))
        if entry is None:
            raise account_not_found(username)
        return entry

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), sha256)

    # --- Changes --------------------------------------------------------------------------------

    async def change(self, request: Request, body: bytes, work: Work) -> Response:
        """Carry out a change once, whatever its client's network does, and answer when it is on the
        disk."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._answered(work, lambda response: [])
        if not key or len(key) > _KEY_SIZE_MAX:
            raise Problem(400, f"Idempotency-Key must have 1 to {_KEY_SIZE_MAX} characters")
        call = f"{request.method} {request.url.path}?{request.url.query}\0".encode() + body
        scope = sha256(_authorization(request).encode("utf-8", "surrogateescape")).hexdigest()
        try:
            begun = await self.idempotency.begin(scope, key, call)
        except TiedError:
            raise Problem(409, f"key {key!r} was used before", title=KEY_IS_TIED) from None
        if isinstance(begun, Call):
            try:
                return await self._answered(
                    work,
                    lambda answer: begun.puts(
                        answer.status_code, answer.media_type or "", bytes(answer.body)
                    ),
                )
            finally:
                begun.end()
        await self._committed(self.switch.ledger.ticket)
        return Response(begun.body, begun.status, media_type=begun.content_type or None)

    async def _answered(self, work: Work, keep: Keep) -> Response:
        try:
            ticket, response = await work(keep)
        except UnknownAccountError as error:
            raise account_not_found(error.username) from None
        except ConflictError as error:
            title = ALREADY_EXISTS if "already" in str(error) else None
            raise Problem(409, str(error), title=title) from None
        except UsageError as error:
            raise Problem(400, str(error)) from None
        except StorageError as error:
            raise Problem(503, str(error)) from None
        await self._committed(ticket)
        return response

    async def lasting(self) -> None:
        """What is shown next is on the disk, so that a crash takes nothing of it back."""
        await self._committed(self.switch.ledger.ticket, "what there is to show")

    async def _committed(self, ticket: int, what: str = "the change is made, and it") -> None:
        ledger = self.switch.ledger
        if not isinstance(ledger, Ledger):
            return
        try:
            await ledger.committed(ticket)
        except StorageError as error:
            detail = f"{what} is not on the disk yet: {error}"
            raise Problem(503, detail) from None


def _authorization(request: Request) -> str:
    raw = dict(request.scope["headers"]).get(b"authorization", b"")
    return str(raw.decode("utf-8", "surrogateescape"))


def _token(authorization: str) -> str | None:
    """None: no Bearer token. An empty one is nobody's."""
    if authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    return authorization[len(_BEARER) :].strip()


def normalised(username: str) -> str:
    return unicodedata.normalize("NFKC", username)
