"""Routes about the node as a whole: rates, static routes, settlement engines, log level, status.
Imports the context, bodies and documentation helpers of the API.
"""

from collections.abc import AsyncGenerator, Mapping

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from fastilp.control.api import documented
from fastilp.control.api.accounts import status_json
from fastilp.control.api.bodies import data_problem, table_of, value_of
from fastilp.control.api.context import Context, Keep, normalised
from fastilp.control.api.levels import set_levels
from fastilp.control.api.problems import Problem
from fastilp.control.api.shown import Pieces, json_bytes, json_response, rates_json
from fastilp.control.slices import in_pieces
from fastilp.control.values import AssetCode, HttpUrl, Prefix, Rate, Username
from fastilp.types import VERSION

_RATES = TypeAdapter(dict[AssetCode, Rate])
_ROUTES = TypeAdapter(dict[Prefix, Username])
_ENGINES = TypeAdapter(dict[AssetCode, HttpUrl])
_PREFIX = TypeAdapter(Prefix)

_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string"}]}
_TEXT = {"type": "string"}


def router(context: Context) -> APIRouter:
    routes = APIRouter(tags=["node"])
    _add_status(routes, context)
    _add_rates(routes, context)
    _add_routes(routes, context)
    _add_others(routes, context)
    return routes


def _add_status(routes: APIRouter, context: Context) -> None:
    switch = context.switch

    @routes.get("/", **documented.view({"type": "object"}))
    async def root() -> Response:
        """Who this is. Needs no token."""
        return json_response(
            json_bytes({"status": "Ready", "ilp_address": switch.address, "version": VERSION})
        )

    @routes.get("/health", **documented.health())
    async def get_health() -> Response:
        """Whether the node lives, and whether it takes packets; if not, why not. Needs no token."""
        health = context.health()
        ready = health.live and not health.reasons
        body = {"live": health.live, "ready": ready, "reasons": health.reasons}
        return json_response(json_bytes(body), 200 if ready else 503)

    @routes.get("/status", **documented.view({"type": "object"}, 401))
    async def get_status(request: Request) -> Response:
        """Exact integers, as texts, of the node and all its accounts."""
        context.check_node_admin(request)
        return Pieces(_status(context), "application/json")

    @routes.post("/drain", **documented.drain())
    async def post_drain(request: Request) -> Response:
        """Take no more packets, and finish those that are in flight; the node stays, for whoever
        asks how far it is, until it is stopped. There is no way back but a restart."""
        context.check_node_admin(request)
        body = {"draining": True, "in_flight": context.drain()}
        return json_response(json_bytes(body), 202)


def _status(context: Context) -> AsyncGenerator[bytes, None]:
    switch = context.switch
    head = json_bytes(
        {
            "ilp_address": switch.address,
            "version": VERSION,
            "in_flight": switch.in_flight(),
            "statuses": {name: count for name, count in switch.statuses().items() if count},
        }
    )
    accounts = (json_bytes(status_json(context, entry)) for entry in context.accounts.after(""))
    return in_pieces(head[:-1] + b',"accounts":[', accounts, b"]}")


def _add_rates(routes: APIRouter, context: Context) -> None:
    tables = context.tables

    @routes.get("/rates", **documented.view(_map({"type": "number"})))
    async def get_rates() -> Response:
        """Value of one standard unit of each asset. Needs no token."""
        return json_response(rates_json(tables.rates_in_use()))

    @routes.put("/rates", **documented.table_change(_NUMBER, shown={"type": "number"}))
    async def set_rates(request: Request) -> Response:
        """Replace all rates."""
        context.check_node_admin(request)
        body = await request.body()
        rates = await table_of(_RATES, request.headers.get("content-type"), body)

        async def work(keep: Keep) -> tuple[int, Response]:
            response = json_response(rates_json(rates))
            return tables.set_rates(rates, lambda: keep(response)), response

        return await context.change(request, body, work)


def _add_routes(routes: APIRouter, context: Context) -> None:
    tables = context.tables

    @routes.get("/routes", **documented.view(_map(_TEXT)))
    async def get_routes() -> Response:
        """Prefix to username: every route in force. Needs no token."""
        return Pieces(_routes(context), "application/json")

    @routes.put("/routes/static", **documented.table_change(_TEXT, 404))
    async def set_static_routes(request: Request) -> Response:
        """Replace all static routes."""
        context.check_node_admin(request)
        body = await request.body()
        wanted = await table_of(_ROUTES, request.headers.get("content-type"), body)

        async def work(keep: Keep) -> tuple[int, Response]:
            response = json_response(json_bytes(dict(sorted(wanted.items()))))
            return tables.set_static_routes(wanted, lambda: keep(response)), response

        return await context.change(request, body, work)

    @routes.put("/routes/static/{prefix}", **documented.text_change(404, example="bob"))
    async def set_static_route(request: Request, prefix: str) -> Response:
        """Set one static route; the body is the username."""
        context.check_node_admin(request)
        body = await request.body()
        wanted: str = value_of(_PREFIX, prefix, "prefix")
        username = normalised(_text(body).strip())

        async def work(keep: Keep) -> tuple[int, Response]:
            response = Response(username.encode(), media_type="text/plain")
            ticket = tables.set_static_route(wanted, username, lambda: keep(response))
            return ticket, response

        return await context.change(request, body, work)


def _routes(context: Context) -> AsyncGenerator[bytes, None]:
    found = (
        None if route is None else json_bytes({route[0]: route[1].name})[1:-1]
        for route in context.accounts.routing.routes()
    )
    return in_pieces(b"{", found, b"}")


def _add_others(routes: APIRouter, context: Context) -> None:
    tables = context.tables

    @routes.get("/settlement/engines", **documented.view(_map(_TEXT), 401))
    async def get_engines(request: Request) -> Response:
        """Asset code to the URL of its settlement engine."""
        context.check_node_admin(request)
        return json_response(json_bytes(dict(sorted(tables.engines.items()))))

    @routes.put("/settlement/engines", **documented.table_change(_TEXT))
    async def add_engines(request: Request) -> Response:
        """Add settlement engines, by asset code."""
        context.check_node_admin(request)
        body = await request.body()
        wanted = await table_of(_ENGINES, request.headers.get("content-type"), body)

        async def work(keep: Keep) -> tuple[int, Response]:
            response = json_response(json_bytes(dict(sorted(wanted.items()))))
            return tables.add_engines(wanted, lambda: keep(response)), response

        return await context.change(request, body, work)

    @routes.put("/tracing-level", **documented.text_change(example="interledger=debug"))
    async def set_tracing_level(request: Request) -> Response:
        """Change what is logged: `debug`, or `interledger=debug`, or a list with commas. Until the
        next start."""
        context.check_node_admin(request)
        text = _text(await request.body()).strip()
        try:
            set_levels(text)
        except ValueError as error:
            raise Problem(400, str(error)) from None
        return Response(f"Logging level changed to: {text}".encode(), media_type="text/plain")


def _map(values: Mapping[str, object]) -> dict[str, object]:
    return {"type": "object", "additionalProperties": values}


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise data_problem("the body is not UTF-8", []) from None
