"""Entry point of `fastilp`: a table of commands, each in a module of its own.

A command's module is imported by name when it is called, because `fastilp packet decode` must not
pay for a server. This is the one lazy import of the package. A FastILPError ends in one
line on standard error and exit status 1, never in a traceback.
"""

import importlib
import sys
from typing import Annotated

import typer

from fastilp.errors import FastILPError
from fastilp.types import VERSION

# Command -> module whose `command` is a function, or a typer application with commands of its own.
COMMANDS = {
    "run": "fastilp.cli.run",
    "demo": "fastilp.cli.demo",
    "status": "fastilp.cli.status",
    "backup": "fastilp.cli.backup",
    "packet": "fastilp.cli.packet",
    "loadtest": "fastilp.cli.loadtest",
}

_INTERRUPTED_STATUS = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fastilp {VERSION}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
) -> None:
    """fastilp, an Interledger connector: a packet switch for money."""


def application(arguments: list[str]) -> typer.Typer:
    """The application with the one command that is called, or with all of them, for the help."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    called = [name for name in COMMANDS if name in arguments[:1]]
    for name in called or COMMANDS:
        command = importlib.import_module(COMMANDS[name]).command
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    try:
        application(sys.argv[1:])(prog_name="fastilp")
    except FastILPError as error:
        sys.stderr.write(f"fastilp: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        # While a command is still loading; one that runs handles it by itself.
        sys.exit(_INTERRUPTED_STATUS)


if __name__ == "__main__":
    main()
