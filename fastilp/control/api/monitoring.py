"""Routes for whoever watches the node: metrics and alerts. Imports the context and documentation
helpers of the API.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from fastilp.control.api import documented
from fastilp.control.api.context import Context
from fastilp.control.api.shown import json_bytes, json_response
from fastilp.control.metrics import CONTENT_TYPE
from fastilp.control.slices import in_slices

_ALERT = {
    "type": "object",
    "properties": {
        "kind": {"type": "string"},
        "account": {"type": "string"},
        "message": {"type": "string"},
        "first_ms": {"type": "integer"},
        "last_ms": {"type": "integer"},
        "count": {"type": "integer"},
        "active": {"type": "boolean"},
    },
}


def router(context: Context) -> APIRouter:
    routes = APIRouter(tags=["monitoring"])

    @routes.get("/metrics", **documented.view({"type": "string"}, 401, media="text/plain"))
    async def get_metrics(request: Request) -> Response:
        """Counters and gauges in Prometheus' text format."""
        context.check_node_admin(request)
        text = b"".join([piece async for piece in in_slices(context.metrics.pieces())])
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    @routes.get("/alerts", **documented.view({"type": "array", "items": _ALERT}, 401))
    async def get_alerts(request: Request) -> Response:
        """What an operator should look at, the newest first; those that are over say so."""
        context.check_node_admin(request)
        return json_response(json_bytes(context.alerts.list()))

    return routes
