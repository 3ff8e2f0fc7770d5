"""`fastilp pay`: a payment from an account of a running node, over its HTTP API."""

from typing import Annotated

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, segment
from fastilp.cli.tables import fields


# A payment takes as long as it takes; Ctrl-C stops the waiting.
@asks_node(fields, timeout_seconds=None)
def command(
    node: NodeClient,
    sender_username: Annotated[str, typer.Argument(help="The account that pays.")],
    amount: Annotated[
        str, typer.Option("--amount", metavar="UNITS", help="In units of the sender's asset.")
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="RECEIVER", help="Payment pointer ($…) or SPSP address."),
    ],
) -> Answer:
    """Pay from an account of a running node. Its own token is needed, the admin's will not do.

    Example:

        fastilp pay alice --auth alice-password --amount 500
        --to http://localhost:8770/accounts/bob/spsp
    """
    body = {"source_amount": amount, "receiver": to}
    return node.send_json("POST", f"/accounts/{segment(sender_username)}/payments", body)
