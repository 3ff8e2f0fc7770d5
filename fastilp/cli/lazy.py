"""Commands whose modules are imported by name when they are called. Imports typer.

A command's module has a `command`: a function, or a typer application with commands of its own.
`fastilp packet decode` must not pay for a server, nor `fastilp accounts list` for a WebSocket
client. This is the one lazy import of the package.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group


def lazy_group(modules: Mapping[str, str]) -> type[TyperGroup]:
    """A group of commands, name -> module, for `typer.Typer(cls=…)`."""

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*super().list_commands(ctx), *modules]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in modules:
                return _loaded(cmd_name, modules[cmd_name])
            return super().get_command(ctx, cmd_name)

    return LazyGroup


def _loaded(name: str, module: str) -> Any:
    found = importlib.import_module(module).command
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    single = typer.Typer(
        add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False
    )
    single.command(name)(found)
    return get_command(single)
