"""The commands of `fastilp`: a table of them, each in a module of its own (`lazy`).

A FastILPError ends in one line on standard error and exit status 1, never in a traceback.
"""

import sys
from typing import Annotated

import typer

from fastilp.cli.entry import INTERRUPTED_STATUS
from fastilp.cli.lazy import Lazy, lazy_group
from fastilp.cli.options import Given, Quiet, RootAuth, RootNodeUrl, RootOptions, given_before
from fastilp.errors import FastILPError
from fastilp.types import VERSION

COMMANDS = {
    "run": Lazy("fastilp.cli.run", "Run a node."),
    "demo": Lazy(
        "fastilp.cli.demo",
        "Start a node with two accounts, alice and bob, pay through it, and show what moved.",
    ),
    "status": Lazy(
        "fastilp.cli.status",
        "Show a running node: address, accounts, balances, links, outcomes of packets.",
    ),
    "health": Lazy(
        "fastilp.cli.health",
        "Tell whether a node takes packets; if not, say why not and end with status 1.",
    ),
    "watch": Lazy(
        "fastilp.cli.watch",
        "Show live throughput, balances and rejects of a running node, until Ctrl-C.",
    ),
    "accounts": Lazy(
        "fastilp.cli.accounts", "Accounts of a running node: create, change, look, delete."
    ),
    "pay": Lazy("fastilp.cli.pay", "Pay from an account of a running node."),
    "receive": Lazy(
        "fastilp.cli.receive", "Print payments that arrive at a running node, as they come."
    ),
    "payments": Lazy(
        "fastilp.cli.payments",
        "Payments of a running node: those that its accounts sent, and those that arrive.",
    ),
    "rates": Lazy(
        "fastilp.cli.rates", "Exchange rates: the value of one standard unit of each asset."
    ),
    "routes": Lazy(
        "fastilp.cli.routing", "Routes: which account the packets of an address prefix go to."
    ),
    "settlement-engines": Lazy(
        "fastilp.cli.settlement_engines",
        "Settlement engines of assets, for accounts without one of their own.",
    ),
    "engine": Lazy(
        "fastilp.cli.engine",
        "Settlement engines: run one, see what it holds, or try one by whomever made it.",
    ),
    "settlements": Lazy(
        "fastilp.cli.settlements",
        "Settlements: what the node pays through engines, and what a human decides of it.",
    ),
    "logs": Lazy("fastilp.cli.logs", "Change the log level of a running node, until it stops."),
    "drain": Lazy(
        "fastilp.cli.drain",
        "Let a running node take no more packets and finish those that are in flight.",
    ),
    "testnet": Lazy(
        "fastilp.cli.testnet",
        "Start a test network on this machine (a ledger, two nodes, two settlement engines), or"
        " join one.",
    ),
    "config": Lazy(
        "fastilp.cli.config",
        "The settings' file: compare it, bring it from Interledger.rs, rotate its secret.",
    ),
    "backup": Lazy("fastilp.cli.backup", "Copy the ledger as of its last commit."),
    "packet": Lazy(
        "fastilp.cli.packet", "Look into ILPv4 packets, and make a Prepare to try a node with."
    ),
    "loadtest": Lazy(
        "fastilp.cli.loadtest",
        "Load a connector and measure it: throughput, latency, CPU time per exchange.",
    ),
}


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

    First steps:

        fastilp demo --once

        fastilp run --config examples/node.toml

        fastilp status --config examples/node.toml
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
        # Behind a command; of one that runs typer makes the same.
        sys.exit(INTERRUPTED_STATUS)
