"""`fastilp rates`: the exchange rates of a running node, over its HTTP API."""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient
from fastilp.cli.pairs import PairCommand, as_map, pair_option
from fastilp.cli.tables import pairs

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Exchange rates: the value of one standard unit of each asset.\n\n"
        "Example:\n\n"
        "    fastilp rates set-all --auth admin --pair ABC 1.0 --pair XYZ 2.01"
    ),
)
Pairs = Annotated[list[str] | None, pair_option("CODE RATE", "An asset and its value.")]


def _table(rates: Any) -> list[str]:
    return pairs(("asset", "value"), rates)


@command.command("list")
@asks_node(_table)
def list_rates(node: NodeClient) -> Answer:
    """List the rates. Needs no token.

    Example:

        fastilp rates list
    """
    return node.get("/rates", auth=False)


@command.command("set-all", cls=PairCommand)
@asks_node(_table)
def set_all(node: NodeClient, pair: Pairs = None) -> Answer:
    """Replace all rates; without a pair there is none afterwards.

    Example:

        fastilp rates set-all --auth admin --pair ABC 1.0 --pair XYZ 2.01
    """
    return node.send_json("PUT", "/rates", as_map(pair))
