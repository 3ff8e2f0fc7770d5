"""`fastilp accounts incoming-payments`."""

from typing import Annotated

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import NodeClient, segment
from fastilp.cli.notifications import print_messages


@asks_node()
def command(
    node: NodeClient, username: Annotated[str, typer.Argument(help="Whose payments.")]
) -> None:
    """Print each payment that arrives at an account, until Ctrl-C: one JSON object a line.

    Example:

        fastilp accounts incoming-payments alice --auth alice-password
    """
    print_messages(node, f"/accounts/{segment(username)}/payments/incoming")
