"""`fastilp logs`: how much a running node writes into its log, over its HTTP API."""

from typing import Annotated

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient


@asks_node()
def command(
    node: NodeClient,
    level: Annotated[
        str,
        typer.Argument(help="debug, info, warning or error; also a part's: fastilp.http=debug."),
    ],
) -> Answer:
    """Change the log level of a running node, until it stops.

    Examples:

        fastilp logs debug --auth admin

        fastilp logs fastilp.http=debug --auth admin
    """
    return node.send_text("PUT", "/tracing-level", level)
