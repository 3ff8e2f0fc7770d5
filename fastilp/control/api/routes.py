"""Routes about routes: the table and why it is so, neighbours, what each of them is told, and where
a packet would go. Imports the context and documentation helpers of the API.
"""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from fastilp.control.api import documented
from fastilp.control.api.context import Context, normalised
from fastilp.control.api.problems import account_not_found
from fastilp.control.api.shown import Pieces, json_bytes, json_response
from fastilp.control.route_view import RouteView
from fastilp.control.slices import in_pieces

_OBJECT = {"type": "object"}

Rows = Callable[[list[str]], Iterator[dict[str, Any]]]


def router(context: Context) -> APIRouter:
    routes = APIRouter(tags=["routes"])
    view = context.routes
    if view is not None:
        _add_table(routes, context, view)
        _add_neighbours(routes, context, view)
    return routes


def _add_table(routes: APIRouter, context: Context, view: RouteView) -> None:
    routing = context.accounts.routing

    @routes.get("/routes/table", **documented.view(_OBJECT, 401))
    async def get_table(request: Request) -> Response:
        """Every prefix with its next hop, why it is that one, and who else offers it."""
        context.check_node_admin(request)
        return _list(routing.prefixes(), view.table)

    @routes.get("/routes/lookup/{address}", **documented.view(_OBJECT, 401))
    async def get_lookup(request: Request, address: str) -> Response:
        """Where a packet to this address would go, and why. None is sent."""
        context.check_node_admin(request)
        return json_response(json_bytes(view.lookup(address)))


def _add_neighbours(routes: APIRouter, context: Context, view: RouteView) -> None:
    routing = context.accounts.routing

    @routes.get("/routes/neighbours", **documented.view(_OBJECT, 401))
    async def get_neighbours(request: Request) -> Response:
        """Who tells us routes and is told ours, by username."""
        context.check_node_admin(request)
        return json_response(json_bytes(view.summary()))

    @routes.get("/routes/told/{username}", **documented.view(_OBJECT, 401, 404))
    async def get_told(request: Request, username: str) -> Response:
        """What an account is told, prefix by prefix, and why not."""
        context.check_node_admin(request)
        name = normalised(username)
        if context.accounts.find(name) is None:
            raise account_not_found(username)
        prefixes = [entry.prefix for entry in routing.entries()]
        return _list(prefixes, lambda part: view.told(name, part))


def _list(prefixes: list[str], rows: Rows) -> Response:
    """Each prefix by itself: between some of them packets have their turn."""
    found = (
        b",".join(map(json_bytes, each)) or None for each in (rows([prefix]) for prefix in prefixes)
    )
    return Pieces(in_pieces(b'{"routes":[', found, b"]}"), "application/json")
