"""`fastilp payments show`."""

from typing import Annotated

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, segment
from fastilp.cli.payment_progress import HINTS
from fastilp.cli.tables import fields


@asks_node(fields)
def command(
    node: NodeClient,
    username: Annotated[str, typer.Argument(help="Whose payment.")],
    payment: Annotated[str, typer.Argument(help="Its id.")],
) -> Answer:
    """Show a payment as it is now: what was sent, what was delivered, why it ended.

    Example:

        fastilp payments show alice 0193b5a0-7c1e-7000-8000-000000000001 --auth alice-password
    """
    node.hints = HINTS
    return node.get(f"/accounts/{segment(username)}/payments/{segment(payment)}")
