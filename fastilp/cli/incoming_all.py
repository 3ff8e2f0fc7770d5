"""`fastilp payments incoming`."""

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import NodeClient
from fastilp.cli.notifications import print_messages


@asks_node()
def command(node: NodeClient) -> None:
    """Print each payment that arrives, until Ctrl-C: one JSON object a line.

    Example:

        fastilp payments incoming --auth admin
    """
    print_messages(node, "/payments/incoming")
