"""Keyword arguments of routes for the OpenAPI document: statuses, bodies, headers. Imports
models.
"""

from typing import Any

from pydantic import BaseModel

from fastilp.control.api.models import (
    BalanceOut,
    HealthOut,
    PaymentIn,
    PaymentOut,
    ProblemOut,
    ReceiptOut,
    ResolveIn,
    RetryIn,
    SettleIn,
    SettlementOut,
    SpspOut,
    account_schema,
    patch_schema,
)

Route = dict[str, Any]

_REASONS = {
    400: "The request is wrong, and the detail says where.",
    401: "No token, or a wrong one.",
    404: "There is no such account.",
    409: "It exists already, or is in use, or the idempotency key is another call's.",
    411: "The body must come with its length, not in chunks.",
    413: "The body is too large.",
    415: "The body is no packet by its content type.",
    426: "This is an address for WebSocket.",
    500: "An error of ours; the log has it.",
    503: "The disk does not answer.",
}
_JSON = "application/json"
_TEXT = {"type": "string"}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same call with the same key is carried out once, for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": _REASONS[status],
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
            },
        }
        for status in (*statuses, 413, 500)
    }


def _ok(schema: dict[str, Any], media: str = _JSON, description: str = "Done.") -> dict[Any, Any]:
    return {200: {"description": description, "content": {media: {"schema": schema}}}}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _TEMPLATE.format(model=model.__name__)}


_TEMPLATE = "#/components/schemas/{model}"
_ACCOUNT = {"$ref": "#/components/schemas/AccountOut"}
_PAYMENT = {"$ref": "#/components/schemas/PaymentOut"}
_RECEIPT = {"$ref": "#/components/schemas/ReceiptOut"}
_SETTLEMENT = {"$ref": "#/components/schemas/SettlementOut"}
_SPSP = {"$ref": "#/components/schemas/SpspOut"}


def schemas() -> dict[str, Any]:
    """What the document's references name, beside the bodies of requests."""
    found = {}
    for model in (
        ProblemOut,
        BalanceOut,
        HealthOut,
        PaymentOut,
        ReceiptOut,
        SettlementOut,
        SpspOut,
    ):
        schema = model.model_json_schema(by_alias=True, ref_template=_TEMPLATE)
        # Each of them stands here by itself.
        schema.pop("$defs", None)
        found[model.__name__] = schema
    return {**found, "AccountOut": account_schema()}


def change(
    *statuses: int, ok: dict[Any, Any], body: dict[str, Any] | None, media: str = _JSON
) -> Route:
    """A call that changes something."""
    extra: dict[str, Any] = {"parameters": [_KEY]}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {media: {"schema": body}}}
    return {
        "responses": {**ok, **problems(400, 401, 409, 503, *statuses)},
        "openapi_extra": extra,
    }


def account_change(model: type[BaseModel] | None, *, missing: bool = True) -> Route:
    body = None if model is None else model.model_json_schema()
    return change(*((404,) if missing else ()), ok=_ok(_ACCOUNT), body=body)


def account_patch() -> Route:
    return change(404, ok=_ok(_ACCOUNT), body=patch_schema())


def table_change(
    values: dict[str, Any], *statuses: int, shown: dict[str, Any] | None = None
) -> Route:
    """The body is a map, and so is the answer."""
    body = {"type": "object", "additionalProperties": values}
    answer = {"type": "object", "additionalProperties": shown or values}
    return change(*statuses, ok=_ok(answer), body=body)


def text_change(*statuses: int, example: str) -> Route:
    """Both are raw text."""
    text = {**_TEXT, "examples": [example]}
    return change(*statuses, ok=_ok(_TEXT, "text/plain"), body=text, media="text/plain")


def view(schema: dict[str, Any], *statuses: int, media: str = _JSON) -> Route:
    return {"responses": {**_ok(schema, media), **problems(*statuses)}}


def accounts_list() -> Route:
    return view({"type": "array", "items": _ACCOUNT}, 400, 401)


def account() -> Route:
    return view(_ACCOUNT, 400, 401, 404)


def balance() -> Route:
    return view(_ref(BalanceOut), 400, 401, 404)


def account_status() -> Route:
    return view({"type": "object"}, 400, 401, 404)


def events() -> Route:
    return view(_TEXT, 400, 401, 404, media="text/event-stream")


def health() -> Route:
    body = {"description": "", "content": {_JSON: {"schema": _ref(HealthOut)}}}
    responses = {
        200: {**body, "description": "It takes packets."},
        503: {**body, "description": "It takes none, and the reasons say why."},
    }
    return {"responses": {**responses, **problems()}}


def drain() -> Route:
    schema = {
        "type": "object",
        "properties": {"draining": {"const": True}, "in_flight": {"type": "integer"}},
        "required": ["draining", "in_flight"],
    }
    content = {_JSON: {"schema": schema}}
    responses = {202: {"description": "It takes nothing new.", "content": content}}
    return {"status_code": 202, "responses": {**responses, **problems(401)}}


def payment_order() -> Route:
    statuses = (500, 503)
    return change(*statuses, ok=_payment_answers(), body=PaymentIn.model_json_schema())


def payment_resume() -> Route:
    return change(404, ok=_payment_answers(), body=None)


def payment_cancel() -> Route:
    body = {"description": "Nothing more of it is sent.", "content": {_JSON: {"schema": _PAYMENT}}}
    return {"status_code": 202, "responses": {202: body, **problems(400, 401, 404)}}


def payment() -> Route:
    return view(_PAYMENT, 400, 401, 404)


def payments_list() -> Route:
    return view({"type": "array", "items": _PAYMENT}, 400, 401, 404)


def settlement() -> Route:
    return view(_SETTLEMENT, 400, 401, 404)


def settlements_list() -> Route:
    return view({"type": "array", "items": _SETTLEMENT}, 400, 401, 404)


def settlement_order() -> Route:
    begun = {"description": "It is owed.", "content": {_JSON: {"schema": _SETTLEMENT}}}
    route = change(404, ok={202: begun}, body=SettleIn.model_json_schema())
    return {"status_code": 202, **route}


def settlement_retry() -> Route:
    return change(404, ok=_ok(_SETTLEMENT), body=RetryIn.model_json_schema())


def settlement_resolve() -> Route:
    return change(404, ok=_ok(_SETTLEMENT), body=ResolveIn.model_json_schema())


def _payment_answers() -> dict[Any, Any]:
    begun = {"description": "It has begun.", "content": {_JSON: {"schema": _PAYMENT}}}
    return {**_ok(_RECEIPT, description="It is paid."), 202: begun}


def websocket() -> Route:
    upgraded = {"description": "Texts, from now on."}
    return {"status_code": 101, "responses": {101: upgraded, **problems(400, 401, 404, 426)}}


def spsp() -> Route:
    return view(_SPSP, 400, 404, media="application/spsp4+json")


def ilp_paths() -> dict[str, Any]:
    """What the listener answers itself: packets, which never reach the application."""
    packet = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    username = {"name": "username", "in": "path", "required": True, "schema": {"type": "string"}}
    post = {
        "tags": ["packets"],
        "description": "ILP-over-HTTP (RFC 35): a Prepare, with the account's own token.",
        "operationId": "post_packet",
        "requestBody": {"required": True, "content": packet},
        "responses": {
            "200": {"description": "A Fulfill, or a Reject.", "content": packet},
            "400": {"description": "A Reject: the body is no Prepare.", "content": packet},
            **_by_text(problems(401, 411, 415, 503)),
        },
        "security": [{"bearer": []}],
    }
    get = {
        "tags": ["packets"],
        "description": "Whether packets are taken here. Needs no token.",
        "operationId": "get_packets",
        "responses": _by_text({**_ok(_TEXT, "text/plain"), **problems()}),
    }
    btp = {
        "tags": ["packets"],
        "description": "BTP (RFC 23) over WebSocket; the account's token comes in its first frame.",
        "operationId": "get_btp",
        "responses": {
            "101": {"description": "Frames, from now on."},
            **_by_text(problems(400, 426)),
        },
    }
    return {
        "/accounts/{username}/ilp": {"parameters": [username], "post": post, "get": get},
        "/accounts/{username}/ilp/btp": {"parameters": [username], "get": btp},
    }


def _by_text(responses: dict[Any, Any]) -> dict[str, Any]:
    return {str(status): response for status, response in responses.items()}
