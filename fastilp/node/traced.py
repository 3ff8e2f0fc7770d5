"""A span around each call of the admin API. Imports control.tracing; it is ASGI around ASGI."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastilp.control.tracing import Tracing

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def traced(application: Application, tracing: Tracing) -> Application:
    """The application itself where tracing is off. A span has the method and the route, never a
    name, a token or a body."""
    if not tracing.is_on:
        return application

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        method = scope["method"]
        attributes = {"http.request.method": method}
        with tracing.span(f"{method} admin API", **attributes) as span:

            async def noting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    route = getattr(scope.get("route"), "path", "")
                    span.set_attribute("http.route", route)
                await send(message)

            await application(scope, receive, noting)

    return call
