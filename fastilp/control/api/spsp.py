"""SPSP, the listening side (RFC 9): where to pay an account, for anybody who asks. Imports the
context, the documentation helpers and problems of the API.

An account's payment pointer is `$host/accounts/<username>`, or the longer address of Interledger.rs
behind it; `$host` is that of the node's default account. Every answer has an address and a secret
of its own.
"""

import base64
import binascii

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from fastilp.control.api import documented
from fastilp.control.api.context import Context, Paying, normalised
from fastilp.control.api.problems import ACCOUNT_NOT_FOUND, Problem
from fastilp.control.api.shown import json_bytes
from fastilp.control.entries import Entry

MEDIA = "application/spsp4+json"
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "web-monetization-id, receipt-nonce, receipt-secret",
}
# As Interledger.rs; a payer may use one address for so long.
_CACHED = "max-age=60"
_SIZES = {"receipt-nonce": 16, "receipt-secret": 32}
ACCOUNT_PATHS = ("/accounts/{username}/spsp", "/accounts/{username}/.well-known/pay")


def router(context: Context, paying: Paying) -> APIRouter:
    routes = APIRouter(tags=["SPSP"])
    for path in ACCOUNT_PATHS:
        _add_account(routes, context, paying, path)

    @routes.get("/.well-known/pay", **documented.spsp())
    async def get_default(request: Request) -> Response:
        """Where to pay the node's default account. Needs no token."""
        if paying.default_account is None:
            raise _invalid_receiver("no default spsp account was configured")
        return answer(context, paying, request, paying.default_account)

    @routes.options("/.well-known/pay", include_in_schema=False)
    async def get_default_options() -> Response:
        return preflight()

    return routes


def _add_account(routes: APIRouter, context: Context, paying: Paying, path: str) -> None:
    @routes.get(path, **documented.spsp())
    async def get_spsp(request: Request, username: str) -> Response:
        """Where to pay the account, and the secret of the connection. Needs no token."""
        return answer(context, paying, request, username)

    @routes.options(path, include_in_schema=False)
    async def get_spsp_options(username: str) -> Response:
        return preflight()


def preflight() -> Response:
    return Response(status_code=204, headers=_CORS)


def is_asked_for(request: Request) -> bool:
    """Whether the address of an account is used as a payment pointer."""
    accept = request.headers.get("accept", "").lower()
    return MEDIA in accept or "application/spsp+json" in accept


def answer(context: Context, paying: Paying, request: Request, username: str) -> Response:
    entry = context.accounts.find(normalised(username))
    if entry is None or entry.closing:
        raise _invalid_receiver(f"account `{username}` was not found", ACCOUNT_NOT_FOUND)
    nonce, secret = _receipts(request)
    body = _body(paying, entry, nonce, secret)
    cached = _CACHED if nonce is None else "no-cache"
    headers = {"Cache-Control": cached, "Vary": ", ".join(["accept", *_SIZES]), **_CORS}
    return Response(json_bytes(body), 200, headers, MEDIA)


def _body(
    paying: Paying, entry: Entry, nonce: bytes | None, secret: bytes | None
) -> dict[str, object]:
    address = entry.details.ilp_address
    found = paying.receiver.credentials(entry.account.name, address, nonce, secret)
    body: dict[str, object] = {
        "destination_account": found.destination,
        # The standard alphabet with padding is what every client reads.
        "shared_secret": base64.b64encode(found.shared_secret).decode(),
    }
    if nonce is not None:
        body["receipts_enabled"] = True
    return body


def _receipts(request: Request) -> tuple[bytes | None, bytes | None]:
    """Nonce and secret of the receipts that a verifier wants (RFC 39), both or neither."""
    found = {name: request.headers.get(name) for name in _SIZES}
    if all(value is None for value in found.values()):
        return None, None
    values = [_octets(name, found[name]) for name in _SIZES]
    return values[0], values[1]


def _octets(name: str, value: str | None) -> bytes:
    size = _SIZES[name]
    text = (value or "").strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != size:
        detail = f"{name.title()} must be {size} bytes in base64; a receipt needs both headers"
        raise Problem(400, detail, headers=_CORS)
    return octets


def _invalid_receiver(detail: str, kind: str = "about:blank") -> Problem:
    """As RFC 9 wants it, in a problem as everywhere."""
    members = {"id": "InvalidReceiverError", "message": detail}
    title = "Account Not Found" if kind == ACCOUNT_NOT_FOUND else None
    return Problem(404, detail, kind=kind, title=title, headers=_CORS, members=members)
