"""Commands whose modules are imported by name when they are called. Imports typer and the entry.

A command's module has a `command`: a function, or a typer application with commands of its own.
`fastilp packet decode` must not pay for a server, nor `fastilp --help` for all commands: a list of
them shows the words that stand beside the module's name.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from fastilp.cli.entry import begin
from fastilp.errors import FastILPError

_TABLES = "fastilp.cli.help_tables"


class Lazy(NamedTuple):
    """Where a command is, and what a list says of it: how its own help begins."""

    module: str
    help: str
    extra: str = ""
    """What of the package has to be installed for it, as in `pip install fastilp[engines]`."""


def lazy_group(commands: Mapping[str, Lazy]) -> type[TyperGroup]:
    """A group of commands by name, for `typer.Typer(cls=…)`."""

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*super().list_commands(ctx), *commands]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """For a list of commands, and to know whether there is one of this name."""
            if cmd_name in commands:
                return TyperCommand(cmd_name, help=commands[cmd_name].help)
            return super().get_command(ctx, cmd_name)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """For a call, and to complete its arguments."""
            name, found, rest = super().resolve_command(ctx, args)
            if name is not None and name in commands:
                return name, loaded(name, commands[name]), rest
            return name, found, rest

        def format_help(self, ctx: Any, formatter: Any) -> None:
            import_module(_TABLES).keep_names_whole()
            super().format_help(ctx, formatter)

    return LazyGroup


def loaded(name: str, lazy: Lazy) -> Any:
    """The command itself."""
    found = _imported(lazy).command
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        for each in group.commands.values():
            each.callback = _begun(each.callback)
            _help_with_whole_names(each)
        _help_with_whole_names(group)
        return group
    single = typer.Typer(
        add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False
    )
    single.command(name)(found)
    made = get_command(single)
    made.callback = _begun(made.callback)
    _help_with_whole_names(made)
    return made


def _imported(lazy: Lazy) -> Any:
    try:
        return import_module(lazy.module)
    except ModuleNotFoundError as error:
        if not lazy.extra:
            raise
        message = f"{error.name} is not installed: pip install 'fastilp[{lazy.extra}]'"
        raise FastILPError(message) from None


def _help_with_whole_names(command: Any) -> None:
    format_help = command.format_help

    def formatted(context: Any, formatter: Any) -> None:
        import_module(_TABLES).keep_names_whole()
        format_help(context, formatter)

    command.format_help = formatted


def _begun(callback: Callable[..., Any] | None) -> Callable[..., Any]:
    """The command's function, as typer calls it."""
    assert callback is not None

    def called(*arguments: Any, **options: Any) -> Any:
        begin()
        return callback(*arguments, **options)

    return called
