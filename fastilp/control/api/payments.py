"""Routes of payments: sent from an account, looked at, cancelled, resumed. Imports the rest of the
API, and control.payments.

A payment answers as Interledger.rs does, once it has ended. `Prefer: respond-async` (RFC 7240)
answers at once, and the payment is looked at by its id.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from fastilp._core.books import Account
from fastilp.control.accounts import Puts
from fastilp.control.api import documented
from fastilp.control.api.bodies import data_problem, model_of, object_of
from fastilp.control.api.context import Context, Keep
from fastilp.control.api.models import PaymentIn
from fastilp.control.api.problems import Problem
from fastilp.control.api.shown import (
    Pieces,
    json_bytes,
    json_response,
    payment_json,
    receipt_json,
)
from fastilp.control.paying import COMPLETED, RUNNING, Order, Payment
from fastilp.control.payments import Also, BusyError, NoPaymentError, Payments
from fastilp.control.slices import in_pieces, in_slices
from fastilp.errors import PaymentError, UsageError
from fastilp.storage.payments import PaymentRecord

_LIMIT_DEFAULT, _LIMIT_MAX = 100, 1_000
_LOOK_SECONDS = 0.1
_KEEP_ALIVE_LOOKS = 150
_ASYNC = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)
_PREFIX = "Error sending SPSP payment: "

Begin = Callable[[Also], Awaitable[Payment]]


def router(context: Context, payments: Payments) -> APIRouter:
    routes = APIRouter(tags=["payments"])
    _add_changes(routes, context, payments)
    _add_views(routes, context, payments)
    return routes


def _add_changes(routes: APIRouter, context: Context, payments: Payments) -> None:
    @routes.post("/accounts/{username}/payments", **documented.payment_order())
    async def send_payment(request: Request, username: str) -> Response:
        """Pay from the account. Answers when the payment has ended; with `Prefer: respond-async`
        as soon as it has begun. Only the account's holder may."""
        entry = context.holder(request, username)
        body = await request.body()
        order = _order(request.headers.get("content-type"), body)
        return await _pay(
            context, payments, request, body, lambda also: payments.begin(entry, order, also)
        )

    @routes.post("/accounts/{username}/payments/{payment_id}/resume", **documented.payment_resume())
    async def resume_payment(request: Request, username: str, payment_id: str) -> Response:
        """Pay what is left of a payment that has ended too early; the answer is about all of it.
        Only the account's holder may."""
        entry = context.holder(request, username)
        return await _pay(
            context,
            payments,
            request,
            b"",
            lambda also: payments.resume(entry, payment_id, also),
        )

    @routes.post("/accounts/{username}/payments/{payment_id}/cancel", **documented.payment_cancel())
    async def cancel_payment(request: Request, username: str, payment_id: str) -> Response:
        """Send nothing more of a payment; what is in flight ends. One that has ended stays as it
        is."""
        account = context.account(request, username).account
        record = _found(payments, account, payment_id)
        payments.cancel(account, payment_id)
        return json_response(json_bytes(payment_json(record)), 202)


async def _pay(
    context: Context, payments: Payments, request: Request, body: bytes, begin: Begin
) -> Response:
    at_once = bool(_ASYNC.search(request.headers.get("prefer", "")))

    async def work(keep: Keep) -> tuple[int, Response]:
        def also(record: PaymentRecord) -> Puts:
            return keep(_answer(record, at_once=at_once))

        try:
            payment = await begin(also)
        except PaymentError as error:
            raise Problem(500, f"{_PREFIX}{error}") from None
        except BusyError as error:
            raise Problem(503, str(error)) from None
        except NoPaymentError as error:
            raise Problem(404, str(error)) from None
        if not at_once:
            await payment.ended.wait()
        return payment.ticket, _answer(payments.shown(payment), at_once=at_once)

    answer = await context.change(request, body, work)
    if answer.status_code == 202:
        # Here, as what is kept for an idempotency key is the body alone.
        payment = json.loads(bytes(answer.body))
        answer.headers["Location"] = f"/accounts/{payment['username']}/payments/{payment['id']}"
    return answer


def _order(content_type: str | None, body: bytes) -> Order:
    fields = model_of(PaymentIn, object_of(content_type, body))
    if fields.source_amount is None and fields.delivery_amount is None:
        missing = {"name": "source_amount", "type": "missing"}
        raise data_problem("missing field `source_amount`", [missing])
    if fields.source_amount is not None and fields.delivery_amount is not None:
        text = "delivery_amount: source_amount is given already; leave one of them out"
        raise data_problem(text, [{"name": "delivery_amount"}])
    return Order(fields.receiver, fields.source_amount, fields.delivery_amount, fields.slippage)


def _answer(record: PaymentRecord, *, at_once: bool) -> Response:
    """To whoever ordered it. A call with an idempotency key that comes again after a crash gets
    what was to be said while it ran."""
    if at_once:
        return json_response(json_bytes(payment_json(record)), 202)
    if record.state == COMPLETED:
        return json_response(json_bytes(receipt_json(record)))
    if record.state == RUNNING:
        # How far it is by then nobody can say now.
        text = "the node ended before the payment did; look at it by its id"
        name = {"id": record.payment_id, "username": record.username}
        return Problem(500, f"{_PREFIX}{text}", members={"payment": name}).response()
    members = {"payment": payment_json(record)}
    return Problem(500, f"{_PREFIX}{record.error or record.state}", members=members).response()


def _found(payments: Payments, account: Account, payment_id: str) -> PaymentRecord:
    try:
        return payments.find(account, payment_id)
    except NoPaymentError as error:
        raise Problem(404, str(error)) from None


def _add_views(routes: APIRouter, context: Context, payments: Payments) -> None:
    @routes.get("/accounts/{username}/payments", **documented.payments_list())
    async def list_payments(
        request: Request,
        username: str,
        limit: Annotated[int, Query(ge=1, le=_LIMIT_MAX)] = _LIMIT_DEFAULT,
        after: str = "",
    ) -> Response:
        """Payments from the account, the newest first; `Link` names the next page."""
        account = context.account(request, username).account
        try:
            found = payments.page(account, after, limit + 1)
            page = [record async for record in in_slices(found)]
        except UsageError as error:
            raise Problem(400, f"after: {error}") from None
        headers = {}
        if len(page) > limit:
            page.pop()
            query = f"limit={limit}&after={page[-1].payment_id}"
            headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
        await context.lasting()
        shown = (json_bytes(payment_json(record)) for record in page)
        body = b"".join([piece async for piece in in_pieces(b"[", shown, b"]")])
        return json_response(body, headers=headers)

    @routes.get("/accounts/{username}/payments/incoming", **documented.websocket())
    async def get_incoming(request: Request, username: str) -> Response:
        """By WebSocket: payments that arrive at the account, one JSON text per fulfilled packet."""
        context.account(request, username)
        raise _upgrade_required()

    @routes.get("/payments/incoming", **documented.websocket())
    async def get_all_incoming(request: Request) -> Response:
        """By WebSocket: payments that arrive at any account, each as `{"Ok":{…}}`."""
        context.check_node_admin(request)
        raise _upgrade_required()

    @routes.get("/accounts/{username}/payments/{payment_id}", **documented.payment())
    async def get_payment(request: Request, username: str, payment_id: str) -> Response:
        """A payment as it is now."""
        account = context.account(request, username).account
        record = _found(payments, account, payment_id)
        await context.lasting()
        return json_response(json_bytes(payment_json(record)))

    @routes.get("/accounts/{username}/payments/{payment_id}/events", **documented.events())
    async def get_payment_events(request: Request, username: str, payment_id: str) -> Response:
        """Server-sent events: `progress`, up to ten a second, and `ended`, the last one."""
        account = context.account(request, username).account
        _found(payments, account, payment_id)
        events = _events(context, payments, account, payment_id)
        return Pieces(events, "text/event-stream")


def _upgrade_required() -> Problem:
    return Problem(426, "this is an address for WebSocket", headers={"Upgrade": "websocket"})


async def _events(
    context: Context, payments: Payments, account: Account, payment_id: str
) -> AsyncGenerator[bytes, None]:
    last: PaymentRecord | None = None
    quiet = 0
    while True:
        payment = payments.running(account, payment_id)
        try:
            record = payments.find(account, payment_id)
            await context.lasting()
        except (NoPaymentError, Problem):
            # Its account is gone, or the disk: nothing more can be said.
            return
        if payment is None:
            yield _event("ended", record)
            return
        if last is None or _figures(record) != _figures(last):
            last, quiet = record, 0
            yield _event("progress", record)
        elif (quiet := quiet + 1) % _KEEP_ALIVE_LOOKS == 0:
            yield b": nothing new\n\n"
        try:
            await asyncio.wait_for(payment.ended.wait(), _LOOK_SECONDS)
        except TimeoutError:
            continue


def _figures(record: PaymentRecord) -> tuple[int, int, int]:
    return record.sent_amount, record.delivered_amount, record.in_flight_amount


def _event(name: str, record: PaymentRecord) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payment_json(record))}\n\n".encode()
