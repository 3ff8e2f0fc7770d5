"""The command that runs an engine: an option for each of its settings that is no secret.

Imports engines. `command_of` makes the function that typer reads.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from fastilp.engines.base import Engine
from fastilp.engines.process import serve
from fastilp.engines.settings import PREFIX, EngineSettings, load


def command_of(
    kind: type[Engine[Any]], model: type[EngineSettings], text: str
) -> Callable[..., None]:
    """`text` is the command's help."""
    shown = {name: field for name, field in model.model_fields.items() if not _is_secret(field)}

    def command(**values: Any) -> None:
        path, ready_file = values.pop("config_file"), values.pop("ready_file")
        serve(kind, load(model, path, values), ready_file)

    parameters = [_config_file(), *(_option(*each) for each in shown.items()), _ready_file()]
    secrets = [f"`{PREFIX}{name.upper()}`" for name in model.model_fields if name not in shown]
    command.__doc__ = f"{text}\n\nSecrets are in the file or in the environment: " + ", ".join(
        secrets
    )
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    default = "" if field.default is None else f" Default: {field.default}."
    if field.is_required():
        default = " Required."
    flag = f"--{name.replace('_', '-')}"
    option = typer.Option(flag, help=f"{field.description}{default}", show_default=False)
    return _parameter(name, Annotated[str | None, option])


def _config_file() -> inspect.Parameter:
    option = typer.Option("--config", "-c", help="TOML file with the settings.")
    return _parameter("config_file", Annotated[Path | None, option])


def _ready_file() -> inspect.Parameter:
    text = 'Written when it serves: {"http": "host:port", "pid": …}.'
    return _parameter("ready_file", Annotated[Path | None, typer.Option(help=text)])


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=None, annotation=annotation)
