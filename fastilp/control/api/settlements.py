"""Routes of settlements: what the node pays through engines, looked at, tried again, resolved.
Imports the rest of the API, and control.settlement.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from fastilp.control.accounts import Puts
from fastilp.control.api import documented
from fastilp.control.api.bodies import model_of, object_of
from fastilp.control.api.context import Context, Keep
from fastilp.control.api.models import ResolveIn, RetryIn, SettleIn
from fastilp.control.api.problems import Problem
from fastilp.control.api.shown import json_bytes, json_response, settlement_json
from fastilp.control.outbox import Also, NoSettlementError
from fastilp.control.settlement import Settlement
from fastilp.errors import UsageError
from fastilp.storage.outbox import SettlementIntent

_LIMIT_DEFAULT, _LIMIT_MAX = 100, 1_000

Change = Callable[[Also], tuple[SettlementIntent, int]]


def router(context: Context, settlement: Settlement) -> APIRouter:
    routes = APIRouter(tags=["settlements"])
    _add_views(routes, context, settlement)
    _add_changes(routes, context, settlement)
    return routes


def _add_views(routes: APIRouter, context: Context, settlement: Settlement) -> None:
    @routes.get("/settlements", **documented.settlements_list())
    async def list_settlements(
        request: Request,
        account: str = "",
        open: bool = False,
        limit: Annotated[int, Query(ge=1, le=_LIMIT_MAX)] = _LIMIT_DEFAULT,
        after: str = "",
    ) -> Response:
        """Settlements that the node owes or has paid, the newest first; `Link` names the next page.
        `open`: those that wait for their engine or for a human, all of them."""
        context.check_node_admin(request)
        account_id = context.found(account).account.id if account else None
        if open:
            waiting = settlement.outbox.open()
            found = [each for each in waiting if account_id in (None, each.account_id)]
            return _list(list(reversed(found)))
        try:
            page = list(settlement.outbox.page(account_id, after, limit + 1))
        except UsageError as error:
            raise Problem(400, f"after: {error}") from None
        headers = {}
        if len(page) > limit:
            page.pop()
            of = f"account={context.found(account).account.name}&" if account else ""
            query = f"{of}limit={limit}&after={page[-1].settlement_id}"
            headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
        return _list(page, headers)

    @routes.get("/settlements/{settlement_id}", **documented.settlement())
    async def get_settlement(request: Request, settlement_id: str) -> Response:
        """A settlement as it is now."""
        context.check_node_admin(request)
        try:
            intent = settlement.outbox.find(settlement_id)
        except NoSettlementError as error:
            raise Problem(404, str(error)) from None
        return _answer(intent, 200)


def _add_changes(routes: APIRouter, context: Context, settlement: Settlement) -> None:
    outbox = settlement.outbox

    @routes.post("/accounts/{username}/settle", **documented.settlement_order())
    async def settle(request: Request, username: str) -> Response:
        """Settle now, whatever the threshold is: the account is debited, and its engine asked."""
        context.check_node_admin(request)
        entry = context.found(username)
        body = await request.body()
        given = model_of(SettleIn, object_of(request.headers.get("content-type"), body))
        return await _change(
            context, request, body, 202, lambda also: settlement.settle(entry, given.amount, also)
        )

    @routes.post("/settlements/{settlement_id}/retry", **documented.settlement_retry())
    async def retry(request: Request, settlement_id: str) -> Response:
        """Ask the engine again now, with the same key."""
        context.check_node_admin(request)
        body = await request.body()
        given = model_of(RetryIn, object_of(request.headers.get("content-type"), body))
        return await _change(
            context,
            request,
            body,
            200,
            lambda also: outbox.retry(
                settlement_id, given.engine_url, force=given.force, also=also
            ),
        )

    @routes.post("/settlements/{settlement_id}/resolve", **documented.settlement_resolve())
    async def resolve(request: Request, settlement_id: str) -> Response:
        """Say what has become of it: `paid` ends it, `refunded` takes the debit back."""
        context.check_node_admin(request)
        body = await request.body()
        given = model_of(ResolveIn, object_of(request.headers.get("content-type"), body))
        return await _change(
            context,
            request,
            body,
            200,
            lambda also: outbox.resolve(
                settlement_id, given.state, given.external_id, force=given.force, also=also
            ),
        )


async def _change(
    context: Context, request: Request, body: bytes, status: int, change: Change
) -> Response:
    async def work(keep: Keep) -> tuple[int, Response]:
        def also(intent: SettlementIntent) -> Puts:
            return keep(_answer(intent, status))

        try:
            intent, ticket = change(also)
        except NoSettlementError as error:
            raise Problem(404, str(error)) from None
        return ticket, _answer(intent, status)

    return await context.change(request, body, work)


def _answer(intent: SettlementIntent, status: int) -> Response:
    return json_response(json_bytes(settlement_json(intent)), status)


def _list(found: list[SettlementIntent], headers: dict[str, str] | None = None) -> Response:
    return json_response(json_bytes([settlement_json(each) for each in found]), headers=headers)
