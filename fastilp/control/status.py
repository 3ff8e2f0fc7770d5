"""The small part of the admin API that tells how the node is: who, which accounts, what balances.

Paths, fields and number formats of Interledger.rs where it has them; `/status` is ours. Imports
_core, errors and types; the listener's shape of requests is adapted in `node`. Every refusal is
RFC 7807 problem+json. Tokens are compared in constant time and never shown.
"""

import hmac
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.types import VERSION, AccountDetails

_ACCOUNT_NOT_FOUND = "https://errors.interledger.org/http-api/accounts/account-not-found"
_TOKENS = (
    "ilp_over_http_incoming_token",
    "ilp_over_http_outgoing_token",
    "ilp_over_batch_incoming_token",
    "ilp_over_batch_outgoing_token",
    "ilp_over_btp_incoming_token",
    "ilp_over_btp_outgoing_token",
)
# The account of Interledger.rs, in the order of its fields.
_ACCOUNT_FIELDS = (
    "username",
    "ilp_address",
    "asset_code",
    "asset_scale",
    "max_packet_amount",
    "min_balance",
    "ilp_over_http_url",
    "ilp_over_http_incoming_token",
    "ilp_over_http_outgoing_token",
    "ilp_over_btp_url",
    "ilp_over_btp_incoming_token",
    "ilp_over_btp_outgoing_token",
    "settle_threshold",
    "settle_to",
    "routing_relation",
    "round_trip_time",
    "packets_per_minute_limit",
    "amount_per_minute_limit",
    "settlement_engine_url",
    # Ours.
    "ilp_over_batch_url",
    "ilp_over_batch_incoming_token",
    "ilp_over_batch_outgoing_token",
    "max_balance",
    "max_in_flight_amount",
    "in_flight_in_max",
    "in_flight_out_max",
    "max_packet_amount_out",
    "amount_per_minute_limit_out",
    "allowed_destinations",
    "circuit_breaker",
    "endpoint",
)


class Answer(NamedTuple):
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class _Refusal(Exception):
    def __init__(self, status: HTTPStatus, detail: str, **more: Any) -> None:
        self.status = status
        self.detail = detail
        self.more = more


class StatusApi:
    """`links` tells of an account which of its links are up, by name."""

    def __init__(
        self,
        switch: Switch,
        accounts: Accounts,
        admin_auth_token: str | None,
        links: Callable[[str], dict[str, bool]],
    ) -> None:
        self._switch = switch
        self._accounts = accounts
        self._admin_auth_token = admin_auth_token
        self._links = links

    def answer(self, method: str, target: str, authorization: str) -> Answer | None:
        """None: no path of this API."""
        # No path of this API begins with two slashes; they would be taken for one.
        if target.startswith("//"):
            return None
        path = unquote(target.partition("?")[0]).rstrip("/") or "/"
        resource = self._resource(path)
        if resource is None:
            return None
        try:
            if method not in ("GET", "HEAD"):
                raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes GET only")
            return Answer(200, resource(authorization))
        except _Refusal as refusal:
            return _problem(refusal)

    def _resource(self, path: str) -> Callable[[str], bytes] | None:
        fixed = {"/": self._root, "/status": self._status, "/accounts": self._list}
        if path in fixed:
            return fixed[path]
        found = re.fullmatch(r"/accounts/([^/]+)(/balance)?", path)
        if found is None:
            return None
        show = self._balance if found[2] else self._account
        return lambda authorization: show(self._authorized_account(found[1], authorization))

    def _root(self, authorization: str) -> bytes:
        return _json({"status": "Ready", "ilp_address": self._switch.address, "version": VERSION})

    def _list(self, authorization: str) -> bytes:
        self._check_admin(authorization)
        return _json([account_json(account, details) for account, details in self._accounts])

    def _account(self, found: tuple[Account, AccountDetails]) -> bytes:
        return _json(account_json(*found))

    def _balance(self, found: tuple[Account, AccountDetails]) -> bytes:
        account = found[0]
        code = json.dumps(account.asset_code)
        number = json_number(self._switch.balance(account), account.asset_scale)
        return f'{{"asset_code":{code},"balance":{number}}}'.encode()

    def _status(self, authorization: str) -> bytes:
        """Exact integers, as strings: for `fastilp status` and for scripts that add up."""
        self._check_admin(authorization)
        accounts = [self._status_account(account) for account, _ in self._accounts]
        counts = self._switch.statuses()
        return _json(
            {
                "ilp_address": self._switch.address,
                "version": VERSION,
                "in_flight": self._switch.in_flight(),
                "statuses": {name: count for name, count in counts.items() if count},
                "accounts": accounts,
            }
        )

    def _status_account(self, account: Account) -> dict[str, Any]:
        counters = self._switch.counters(account)
        return {
            "username": account.name,
            "asset_code": account.asset_code,
            "asset_scale": account.asset_scale,
            "balance": str(self._switch.balance(account)),
            "counters": {name: str(value) for name, value in counters.items()},
            "links": self._links(account.name),
        }

    def _check_admin(self, authorization: str) -> None:
        if not self._is_admin(authorization):
            raise _Refusal(HTTPStatus.UNAUTHORIZED, "invalid admin auth token provided")

    def _is_admin(self, authorization: str) -> bool:
        wanted = self._admin_auth_token
        return wanted is not None and _is_token(authorization, wanted)

    def _authorized_account(
        self, username: str, authorization: str
    ) -> tuple[Account, AccountDetails]:
        details = self._accounts.details(username)
        if self._is_admin(authorization):
            if details is None:
                detail = f"account `{username}` was not found"
                more = {"type": _ACCOUNT_NOT_FOUND, "title": "Account Not Found"}
                raise _Refusal(HTTPStatus.NOT_FOUND, detail, **more)
        # Whoever is not the admin must not learn which accounts there are.
        elif details is None or not _is_token(
            authorization, details.ilp_over_http_incoming_token or ""
        ):
            detail = f"account `{username}` is not authorized for this action"
            raise _Refusal(HTTPStatus.UNAUTHORIZED, detail)
        return self._switch.account(username), details


def account_json(account: Account, details: AccountDetails) -> dict[str, Any]:
    """An account as the API shows it: every token is the text SECRET, set or not."""
    fields = asdict(details)
    shown: dict[str, Any] = {"id": str(uuid.UUID(bytes=account.id))}
    for name in _ACCOUNT_FIELDS:
        shown[name] = "SECRET" if name in _TOKENS else fields[name]
    return shown


def json_number(amount: int, scale: int) -> str:
    """amount / 10^scale as Interledger.rs prints a float: shortest digits, exponents from 1e16 and
    below 1e-5, without a plus sign."""
    value = float(Decimal(amount).scaleb(-scale))
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int) or value == 0:
        return "0.0"
    text = "".join(map(str, digits))
    point = len(text) + exponent
    minus = "-" if sign else ""
    if len(text) <= point <= 16:
        return f"{minus}{text}{'0' * exponent}.0"
    if 0 < point <= 16:
        return f"{minus}{text[:point]}.{text[point:]}"
    if -5 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{point - 1}"


def _is_token(authorization: str, wanted: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    given = token.strip().encode("utf-8", "surrogateescape")
    return (
        scheme.lower() == "bearer" and wanted != "" and hmac.compare_digest(given, wanted.encode())
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _problem(refusal: _Refusal) -> Answer:
    body = {
        "type": "about:blank",
        "title": refusal.status.phrase,
        "status": refusal.status.value,
        "detail": refusal.detail,
        "datetime": datetime.now(UTC).isoformat(),
        **refusal.more,
    }
    headers: tuple[tuple[str, str], ...] = ()
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers = (("WWW-Authenticate", "Bearer"),)
    elif refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = (("Allow", "GET, HEAD"),)
    return Answer(refusal.status.value, _json(body), "application/problem+json", headers)
