"""`fastilp drain`: take a running node out of service, over its HTTP API."""

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient


@asks_node()
def command(node: NodeClient) -> Answer:
    """Let a running node finish what is in flight and take nothing new; it stops by itself then.

    Example:

        fastilp drain --auth admin
    """
    return node.call("POST", "/drain")
