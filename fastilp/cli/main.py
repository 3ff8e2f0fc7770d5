"""Entry point of `fastilp`: a table of commands, each in a module of its own (`lazy`).

A FastILPError ends in one line on standard error and exit status 1, never in a traceback.
"""

import sys
from typing import Annotated

import typer

from fastilp.cli.lazy import lazy_group
from fastilp.cli.options import Given, Quiet, RootAuth, RootNodeUrl, RootOptions, given_before
from fastilp.errors import FastILPError
from fastilp.types import VERSION

# Command -> module whose `command` is a function, or a typer application with commands of its own.
COMMANDS = {
    "run": "fastilp.cli.run",
    "demo": "fastilp.cli.demo",
    "status": "fastilp.cli.status",
    "health": "fastilp.cli.health",
    "watch": "fastilp.cli.watch",
    "accounts": "fastilp.cli.accounts",
    "pay": "fastilp.cli.pay",
    "payments": "fastilp.cli.payments",
    "rates": "fastilp.cli.rates",
    "routes": "fastilp.cli.routes",
    "settlement-engines": "fastilp.cli.settlement_engines",
    "logs": "fastilp.cli.logs",
    "drain": "fastilp.cli.drain",
    "testnet": "fastilp.cli.testnet",
    "config": "fastilp.cli.config",
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
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
    node: RootNodeUrl = None,
    auth: RootAuth = None,
    quiet: Quiet = False,
) -> None:
    """fastilp, an Interledger connector: a packet switch for money.

    Commands about a running node take `--node`, `--auth` and `--quiet` before or behind
    them.
    """
    given = zip(
        given_before(context, "node", node), given_before(context, "auth", auth), strict=True
    )
    flags, variables = (Given(*each) for each in given)
    context.obj = RootOptions(flags, variables, quiet)


def application() -> typer.Typer:
    app = typer.Typer(
        cls=lazy_group(COMMANDS),
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    return app


def main() -> None:
    try:
        application()(prog_name="fastilp")
    except FastILPError as error:
        sys.stderr.write(f"fastilp: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        # While a command is still loading; one that runs handles it by itself.
        sys.exit(_INTERRUPTED_STATUS)


if __name__ == "__main__":
    main()
