"""`fastilp health`: whether a running node takes packets, for probes and scripts."""

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient
from fastilp.errors import FastILPError


@asks_node()
def command(node: NodeClient) -> Answer:
    """Tell whether a node takes packets; if not, say why not and end with status 1. Needs no token.

    Example:

        fastilp health --node http://127.0.0.1:7770 --quiet
    """
    answer = node.call("GET", "/health", auth=False, expected=(503,))
    found = answer.json()
    if not isinstance(found, dict) or "ready" not in found:
        raise FastILPError(f"{node.url}/health is not the health of a node")
    if not found["ready"]:
        reasons = "; ".join(map(str, found.get("reasons") or ["no reason given"]))
        raise FastILPError(f"{node.url} takes no packets: {reasons}")
    return answer
