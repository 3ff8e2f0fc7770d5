"""Routes under `/accounts`. Imports the rest of the API."""

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import takewhile
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from fastilp._core.books import Account
from fastilp.control.accounts import Accounts, Also
from fastilp.control.api import documented, given, spsp
from fastilp.control.api.context import Context, Keep, normalised
from fastilp.control.api.models import AccountIn, SettingsIn
from fastilp.control.api.problems import Problem
from fastilp.control.api.shown import Pieces, account_json, balance_json, json_bytes, json_response
from fastilp.control.entries import Entry
from fastilp.control.slices import in_pieces, in_slices
from fastilp.types import AccountDetails, Relation

_LIMIT_MAX = 1_000

Accept = Callable[[Entry], Entry | None]
Read = Callable[[Context, str, str | None, bytes], given.Change]
"""What a body makes of an account."""


def router(context: Context) -> APIRouter:
    """The routes, in the order in which they are documented."""
    routes = APIRouter(tags=["accounts"])
    _add_lists(routes, context)
    _add_changes(routes, context)
    _add_views(routes, context)
    return routes


def _add_lists(routes: APIRouter, context: Context) -> None:
    accounts = context.accounts

    @routes.get("/accounts", **documented.accounts_list())
    async def list_accounts(
        request: Request,
        limit: Annotated[int | None, Query(ge=1, le=_LIMIT_MAX)] = None,
        after: str = "",
        asset_code: str | None = None,
        routing_relation: str | None = None,
        username_prefix: str = "",
    ) -> Response:
        """All accounts by username, or a page of them; `Link` names the next page."""
        context.check_admin(request)
        accept = _filter(asset_code, routing_relation, username_prefix)
        found = (accept(entry) for entry in _from(accounts, after, username_prefix))
        if limit is None:
            return Pieces(_array(found), "application/json")
        page: list[Entry] = []
        async for entry in in_slices(found):
            if entry is not None:
                page.append(entry)
                if len(page) > limit:
                    break
        headers = {"X-Total-Count": str(len(accounts))}
        if len(page) > limit:
            page.pop()
            headers["Link"] = _link(request, page[-1].account.name)
        body = b"".join([piece async for piece in _array(page)])
        return json_response(body, headers=headers)


def _from(accounts: Accounts, after: str, prefix: str) -> Iterator[Entry]:
    """Usernames with a prefix lie side by side."""
    entries = accounts.after(max(after, prefix[:-1]))
    return takewhile(lambda entry: entry.account.name[: len(prefix)] <= prefix, entries)


def _link(request: Request, after: str) -> str:
    """To the next page."""
    query = {**request.query_params, "after": after}
    url = request.url.replace(scheme="", netloc="").include_query_params(**query)
    return f'<{url.path}?{url.query}>; rel="next"'


def _array(entries: Iterable[Entry | None]) -> AsyncGenerator[bytes, None]:
    shown = (
        None if entry is None else json_bytes(account_json(entry.account, entry.details))
        for entry in entries
    )
    return in_pieces(b"[", shown, b"]")


def _filter(asset_code: str | None, relation: str | None, prefix: str) -> Accept:
    wanted: Relation | None = None
    if relation is not None:
        try:
            wanted = Relation.parse(relation)
        except ValueError as error:
            raise Problem(400, f"routing_relation {error}") from None
    code = None if asset_code is None else asset_code.upper()

    def accept(entry: Entry) -> Entry | None:
        account = entry.account
        accepted = (
            (code is None or account.asset_code == code)
            and account.name.startswith(prefix)
            # Last: of many accounts nobody has read the details yet.
            and (wanted is None or entry.details.routing_relation is wanted)
        )
        return entry if accepted else None

    return accept


def _add_changes(routes: APIRouter, context: Context) -> None:
    accounts = context.accounts

    @routes.post("/accounts", **documented.account_change(AccountIn, missing=False))
    async def create_account(request: Request) -> Response:
        """Create an account; packets may flow as soon as this is answered."""
        context.check_admin(request)
        body = await request.body()
        details = given.created(context, request.headers.get("content-type"), body)

        async def work(keep: Keep) -> tuple[int, Response]:
            also, answer = _answering(keep)
            account, ticket = accounts.create(details, also=also)
            return ticket, answer(account, details)

        return await context.change(request, body, work)

    @routes.put("/accounts/{username}", **documented.account_change(AccountIn))
    async def update_account(request: Request, username: str) -> Response:
        """Make the account what the body says; what is left out is unset. A token `SECRET` stays
        what it is."""
        context.check_admin(request)
        return await _update(context, request, normalised(username), given.replaced)

    @routes.patch("/accounts/{username}", **documented.account_patch())
    async def change_account(request: Request, username: str) -> Response:
        """Change the fields that the body names, and no others; null unsets one. A token `SECRET`
        stays what it is."""
        context.check_admin(request)
        return await _update(context, request, normalised(username), given.patched)

    @routes.put("/accounts/{username}/settings", **documented.account_change(SettingsIn))
    async def update_settings(request: Request, username: str) -> Response:
        """Change what an account's holder may change; what is left out stays, and so does a token
        `SECRET`."""
        entry = context.account(request, username)
        return await _update(context, request, entry.account.name, given.resettled)

    @routes.delete("/accounts/{username}", **documented.account_change(None))
    async def delete_account(request: Request, username: str) -> Response:
        """Close an account: nothing new, what is in flight ends, then it is gone. Its balance is
        written off."""
        context.check_admin(request)

        async def work(keep: Keep) -> tuple[int, Response]:
            # Not before: a call that is sent again finds its answer, and no account.
            entry = context.found(username)
            also, answer = _answering(keep)
            ticket = await accounts.close(entry.account.name, also=also)
            return ticket, answer(entry.account, entry.details)

        return await context.change(request, b"", work)


async def _update(context: Context, request: Request, username: str, read: Read) -> Response:
    body = await request.body()
    changed = read(context, username, request.headers.get("content-type"), body)

    async def work(keep: Keep) -> tuple[int, Response]:
        entry = context.found(username)
        new = changed(entry.details)
        also, answer = _answering(keep)
        ticket = context.accounts.update(username, new, also=also)
        return ticket, answer(entry.account, new)

    return await context.change(request, body, work)


def _answering(keep: Keep) -> tuple[Also, Callable[[Account, AccountDetails], Response]]:
    """The records of the answer, and the answer: an account as it is shown."""

    def answer(account: Account, details: AccountDetails) -> Response:
        return json_response(json_bytes(account_json(account, details)))

    return lambda account, details: keep(answer(account, details)), answer


def _add_views(routes: APIRouter, context: Context) -> None:
    switch = context.switch

    @routes.get("/accounts/{username}", **documented.account())
    async def get_account(request: Request, username: str) -> Response:
        """An account, its tokens as the text SECRET; where SPSP is asked for, where to pay it."""
        if context.paying is not None and spsp.is_asked_for(request):
            return spsp.answer(context, context.paying, request, username)
        entry = context.account(request, username)
        return json_response(json_bytes(account_json(entry.account, entry.details)))

    @routes.options("/accounts/{username}", include_in_schema=False)
    async def get_account_options(username: str) -> Response:
        """Browsers ask, before they take it for a payment pointer."""
        return spsp.preflight()

    @routes.get("/accounts/{username}/balance", **documented.balance())
    async def get_balance(request: Request, username: str) -> Response:
        """What we owe the account's holder, in standard units; negative: what it owes us."""
        entry = context.account(request, username)
        return json_response(balance_json(switch.balance(entry.account), entry.account))

    @routes.get("/accounts/{username}/status", **documented.account_status())
    async def get_account_status(request: Request, username: str) -> Response:
        """Exact balance and counters, what is in flight, which links are up."""
        entry = context.account(request, username)
        return json_response(json_bytes(status_json(context, entry)))

    @routes.get("/accounts/{username}/events", **documented.events())
    async def get_events(request: Request, username: str) -> Response:
        """Server-sent events: `balance`, `limit`, `link`, `closed`."""
        entry = context.account(request, username)
        return Pieces(_event_stream(context, entry), "text/event-stream")


async def _event_stream(context: Context, entry: Entry) -> AsyncGenerator[bytes, None]:
    async with aclosing(context.events.watch(entry)) as events:
        async for event in events:
            if event is None:
                yield b": nothing new\n\n"
            else:
                name, data = event
                yield f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def status_json(context: Context, entry: Entry) -> dict[str, Any]:
    """Exact integers, as texts: for scripts that add up."""
    switch, account = context.switch, entry.account
    incoming, outgoing = switch.in_flight_of(account)
    refused, last = switch.limit_hits_of(account)
    return {
        "username": account.name,
        "asset_code": account.asset_code,
        "asset_scale": account.asset_scale,
        "balance": str(switch.balance(account)),
        "counters": {name: str(value) for name, value in switch.counters(account).items()},
        "in_flight_in": incoming,
        "in_flight_out": outgoing,
        "limit_hits": refused,
        "last_limit": last,
        "closing": entry.closing,
        "links": context.accounts.wiring.states(account.name),
        "links_awaited": context.accounts.wiring.awaited(account.name),
    }
