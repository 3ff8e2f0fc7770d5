"""`fastilp drain`: take a running node out of service, over its HTTP API."""

import time
from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient
from fastilp.errors import FastILPError

_LOOK_SECONDS = 0.2


def _table(answer: Any) -> list[str]:
    return [f"nothing new is taken, {answer['in_flight']} packets are in flight"]


@asks_node(_table)
def command(
    node: NodeClient,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until nothing is in flight.")
    ] = 0.0,
) -> Answer:
    """Let a running node take no more packets and finish those that are in flight.

    The node stays until it is stopped, which is quick then; only a restart takes this back.

    Example:

        fastilp drain --auth admin --wait 30
    """
    end = time.monotonic() + wait
    while True:
        # Asked for again it changes nothing, and tells what is left.
        answer = node.call("POST", "/drain")
        left = answer.json()["in_flight"]
        if not wait or left == 0:
            return answer
        if time.monotonic() >= end:
            raise FastILPError(
                f"{left} packets are in flight after {wait:g} s; nothing new is taken"
            )
        time.sleep(_LOOK_SECONDS)
