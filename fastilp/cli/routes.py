"""`fastilp routes`: the routes of a running node, over its HTTP API."""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, segment
from fastilp.cli.pairs import PairCommand, as_map, pair_option
from fastilp.cli.tables import pairs

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Routes: which account the packets of an address prefix go to.\n\n"
        "Example:\n\n"
        "    fastilp routes set example.bob --auth admin --destination bob"
    ),
)
Pairs = Annotated[
    list[str] | None, pair_option("PREFIX USERNAME", "An address prefix and its account.")
]


def _table(routes: Any) -> list[str]:
    return pairs(("prefix", "account"), routes)


@command.command("list")
@asks_node(_table)
def list_routes(node: NodeClient) -> Answer:
    """List the routes in force. Needs no token.

    Example:

        fastilp routes list
    """
    return node.get("/routes", auth=False)


@command.command("set")
@asks_node()
def set_route(
    node: NodeClient,
    prefix: Annotated[str, typer.Argument(help='ILP address prefix; "" is the default route.')],
    destination: Annotated[str, typer.Option(metavar="USERNAME", help="Where it leads.")],
) -> Answer:
    """Add one static route, or change where it leads.

    Example:

        fastilp routes set example.bob --auth admin --destination bob
    """
    return node.send_text("PUT", f"/routes/static/{segment(prefix)}", destination)


@command.command("set-all", cls=PairCommand)
@asks_node(_table)
def set_all(node: NodeClient, pair: Pairs = None) -> Answer:
    """Replace all static routes; without a pair there is none afterwards.

    Example:

        fastilp routes set-all --auth admin --pair example.bob bob --pair "" parent
    """
    return node.send_json("PUT", "/routes/static", as_map(pair))
