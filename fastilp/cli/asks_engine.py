"""The decorator of commands about a running settlement engine: they get a client, and return its
answer. Imports the decorator of those about a node, whose output it shares.

`--config` takes from the engine's own file where it listens, and its token.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import OUTPUT, Table, show, sign
from fastilp.cli.client import Answer, NodeClient
from fastilp.errors import ConfigError, FastILPError

DEFAULT_ENGINE = "http://127.0.0.1:3000"
_PANEL = "Engine"
_TOKEN_VARIABLE = "FASTILP_ENGINE_INCOMING_TOKEN"

EngineUrl = Annotated[
    str | None,
    typer.Option(
        "--engine",
        "--url",
        help="The engine's base URL.",
        show_default=DEFAULT_ENGINE,
        rich_help_panel=_PANEL,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar=_TOKEN_VARIABLE,
        show_envvar=False,
        help=f"The engine's incoming_token; also {_TOKEN_VARIABLE}.",
        rich_help_panel=_PANEL,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The engine's TOML file, instead of --engine and --token.",
        rich_help_panel=_PANEL,
    ),
]
_SHARED = (("engine", EngineUrl, None), ("token", Token, None), ("config_file", ConfigFile, None))

Limit = Annotated[int, typer.Option(min=1, max=1_000, help="How many.")]
After = Annotated[str, typer.Option(metavar="NEXT", help="What the page before named `next`.")]


class EngineClient(NodeClient):
    """Says engine where a node's client says node."""

    def unreachable(self, error: Exception) -> FastILPError:
        reason = getattr(error, "strerror", None) or error
        return FastILPError(
            f"no engine answers at {self.url}: {reason}; does it run there? --engine says where"
        )

    def _hint(self, status: int, kind: str) -> str:
        if status == 401:
            return f"give --token (or {_TOKEN_VARIABLE}), or --config with incoming_token"
        return "the engine's log says more" if status >= 500 else ""


def asks_engine(table: Table) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """For a function that takes an EngineClient, then its own arguments."""

    def decorate(function: Callable[..., Answer]) -> Callable[..., None]:
        def command(context: typer.Context, **values: Any) -> None:
            shared = {name: values.pop(name) for name, _, _ in (*_SHARED, *OUTPUT)}
            show(
                function(_client(**{name: shared[name] for name, _, _ in _SHARED}), **values),
                table,
                shared,
            )

        sign(command, function, (*_SHARED, *OUTPUT))
        return command

    return decorate


def _client(engine: str | None, token: str | None, config_file: Path | None) -> EngineClient:
    url, file_token = (None, None) if config_file is None else _of_file(config_file)
    return EngineClient(engine or url or DEFAULT_ENGINE, token or file_token)


def _of_file(path: Path) -> tuple[str | None, str | None]:
    """Of any engine: the other settings are its own."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not TOML: {error}", path=str(path)) from None
    address, token = values.get("settlement_api_bind_address"), values.get("incoming_token")
    return (None if address is None else f"http://{address}"), token
