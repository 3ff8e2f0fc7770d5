"""`fastilp settlement-engines`: which engine settles which asset, over a node's HTTP API."""

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
        "Settlement engines of assets, for accounts without one of their own.\n\n"
        "Example:\n\n"
        "    fastilp settlement-engines set-all --auth admin --pair ETH http://localhost:3000"
    ),
)
Pairs = Annotated[list[str] | None, pair_option("CODE URL", "An asset and its engine.")]


def _table(engines: Any) -> list[str]:
    return pairs(("asset", "engine"), engines)


@command.command("set-all", cls=PairCommand)
@asks_node(_table)
def set_all(node: NodeClient, pair: Pairs = None) -> Answer:
    """Name the engines of assets; those of other assets stay.

    Example:

        fastilp settlement-engines set-all --auth admin --pair ETH http://localhost:3000
    """
    return node.send_json("PUT", "/settlement/engines", as_map(pair))
