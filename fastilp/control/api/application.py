"""The ASGI application: routes, what becomes of errors, the OpenAPI document and its page. Imports
the rest of the API.
"""

import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from fastilp.control.api import (
    accounts,
    documented,
    monitoring,
    node_settings,
    payments,
    routes,
    settlements,
    spsp,
)
from fastilp.control.api.context import Context
from fastilp.control.api.page import page_of
from fastilp.control.api.problems import Problem
from fastilp.types import VERSION

_log = logging.getLogger("fastilp.api")

_OPEN = ("/", "/health", "/rates", "/routes", "/.well-known/pay", *spsp.ACCOUNT_PATHS)


def application(context: Context) -> FastAPI:
    """Docs pages of the framework stay off: they load scripts from other hosts."""
    app = FastAPI(
        title="fastilp",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(accounts.router(context))
    if context.paying is not None:
        app.include_router(payments.router(context, context.paying.payments))
        app.include_router(spsp.router(context, context.paying))
    if context.settlement is not None:
        app.include_router(settlements.router(context, context.settlement))
    app.include_router(node_settings.router(context))
    app.include_router(monitoring.router(context))
    app.include_router(routes.router(context))
    document = openapi(app)
    page = page_of(document)
    _add_error_handlers(app, _paths(document))

    @app.get("/openapi.json", include_in_schema=False)
    async def get_document() -> Response:
        return JSONResponse(document)

    @app.get("/docs", include_in_schema=False)
    async def get_page() -> Response:
        return HTMLResponse(page)

    return app


def _add_error_handlers(app: FastAPI, paths: dict[re.Pattern[str], set[str]]) -> None:
    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, Problem)
        return problem.response()

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path[:200]
        details = {404: f"there is nothing at {path}", 405: f"{path} does not take this method"}
        detail = details.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _methods(paths, request.url.path)
        return Problem(error.status_code, detail, headers=headers).response()

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        item = error.errors()[0]
        name = ".".join(str(part) for part in item["loc"][1:])
        return Problem(400, f"{name}: {item['msg']}").response()

    @app.exception_handler(Exception)
    async def on_error(request: Request, error: Exception) -> Response:
        return Problem(500, "an internal error; the log has it").response()


def _methods(paths: dict[re.Pattern[str], set[str]], path: str) -> str:
    """What a path takes."""
    found = {
        method
        for pattern, methods in paths.items()
        if pattern.fullmatch(path)
        for method in methods
    }
    return ", ".join(sorted(found))


def _paths(document: dict[str, Any]) -> dict[re.Pattern[str], set[str]]:
    """Patterns of paths, and the methods of each."""
    paths: dict[re.Pattern[str], set[str]] = {re.compile("/openapi.json|/docs"): {"GET", "HEAD"}}
    for path, operations in document["paths"].items():
        methods = {method.upper() for method in operations.keys() - {"parameters"}}
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        paths[pattern] = methods | ({"HEAD"} if "GET" in methods else set())
    return paths


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document: without what the framework adds and this API never answers."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = document.setdefault("components", {})
    components["schemas"] = documented.schemas()
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)
            if path not in _OPEN or method != "get":
                operation["security"] = [{"bearer": []}]
    document["paths"].update(documented.ilp_paths())
    return document
