"""Request bodies: bytes to JSON to a model, and what is wrong with them in the words of
Interledger.rs. Imports problems and control.slices.

Numbers may be JSON numbers or strings, unknown fields are ignored, and null is as good as nothing:
`ilp-cli` and scripts for Interledger.rs depend on it. Decimal fractions stay exact.
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from fastilp.control.api.problems import JSON_DATA, JSON_EOF, JSON_SYNTAX, Problem
from fastilp.control.slices import in_slices

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


def json_of(content_type: str | None, body: bytes) -> Any:
    """The value that a JSON body holds. Raises Problem."""
    _check_content_type(content_type or "")
    try:
        return json.loads(body.decode("utf-8"), parse_float=_decimal, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno} column {error.colno}"
        if error.pos >= len(error.doc.rstrip()):
            raise Problem(
                400, where, kind=JSON_EOF, title="JSON Unexpected EOF", invalid=[]
            ) from None
        raise _syntax(where) from None
    except UnicodeDecodeError as error:
        raise _syntax(f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise _syntax("the value is nested too deeply") from None
    except (ValueError, InvalidOperation) as error:
        raise _syntax(str(error)[:200]) from None


def object_of(content_type: str | None, body: bytes) -> dict[str, Any]:
    value = json_of(content_type, body)
    if not isinstance(value, dict):
        raise data_problem(f"expected an object, not {_kind(value)}", [])
    return value


def model_of(model: type[Model], fields: dict[str, Any]) -> Model:
    """A model out of an object's fields. Raises Problem that names the field."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _of_validation(error) from None


async def table_of(
    adapter: TypeAdapter[dict[str, Value]], content_type: str | None, body: bytes
) -> dict[str, Value]:
    """A JSON object whose entries are all of one kind. There may be very many."""
    given = object_of(content_type, body)
    found: dict[str, Value] = {}
    async for name in in_slices(given):
        one: dict[str, Value] = value_of(adapter, {name: given[name]})
        found |= one
    return found


def value_of(adapter: TypeAdapter[Value], value: Any, name: str = "") -> Value:
    """The same for a value that is no model; `name`: what it is called, if it is one text."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _of_validation(error, name) from None


def data_problem(detail: str, invalid: list[dict[str, str]]) -> Problem:
    return Problem(400, detail, kind=JSON_DATA, title="JSON Data Error", invalid=invalid)


def _of_validation(error: ValidationError, name: str = "") -> Problem:
    item = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(str(part) for part in item["loc"] if part != "[key]") or name
    if item["type"] == "missing":
        detail = f"missing field `{path}`"
        return data_problem(detail, [{"name": path, "type": "missing"}])
    message = str(item["msg"]).removeprefix("Value error, ")
    # The value itself stays out: it may be a token.
    return data_problem(f"{path}: {message}", [{"name": path}])


def _syntax(detail: str) -> Problem:
    return Problem(400, detail, kind=JSON_SYNTAX, title="JSON Syntax Error", invalid=[])


def _check_content_type(content_type: str) -> None:
    media, _, parameters = content_type.partition(";")
    if media.strip().lower() != "application/json":
        raise Problem(400, "Invalid content-type: the body must be application/json")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        charset = value.strip().strip('"').lower()
        if name.strip().lower() == "charset" and charset not in ("utf-8", "utf8"):
            raise Problem(400, "Invalid content-type: the charset must be UTF-8")


def _decimal(text: str) -> Decimal:
    return Decimal(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _kind(value: Any) -> str:
    kinds = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
