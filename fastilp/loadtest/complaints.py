"""What is wrong with a load, in the words of whoever wrote it: flags, or keys of a file.

Imports nothing of ours. `name_of` turns a key of the model into what it was called.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "model": "an object with keys",
    "dict": "an object with keys",
    "tuple": "a list",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
}


def complaints(
    error: ValidationError, model: type[BaseModel], name_of: Callable[[str], str] = str
) -> str:
    """`model` is what was to be made."""
    return "; ".join(_complaint(each, model, name_of) for each in error.errors())


def _complaint(
    found: Mapping[str, Any], model: type[BaseModel], name_of: Callable[[str], str]
) -> str:
    name = ".".join(name_of(str(part)) for part in found["loc"])
    kind, context, given = found["type"], found.get("ctx", {}), found["input"]
    if kind == "value_error":
        # A rule of the model about several keys, which it names in backquotes.
        text = re.sub(r"`(\w+)`", lambda match: name_of(match[1]), str(context["error"]))
        return f"{name}: {text}" if name else text
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        known = ", ".join(name_of(key) for key in _keys(model, found["loc"][:-1]))
        return f"{name} is nothing that can be chosen; there are: {known}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{name} must be {words} {_number(context[key])}, not {_number(given)}"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']+)'", context["expected"])
        return f"{name} must be one of {', '.join(allowed)}, not {given!r}"
    wanted = _KINDS.get(kind.partition("_")[0])
    return f"{name} must be {wanted}, not {given!r}" if wanted else f"{name}: {found['msg']}"


def _keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """What a model, or the one below it at this place, can be given."""
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        inner = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type)]
        model = next(each for each in inner if issubclass(each, BaseModel))
    return list(model.model_fields)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
