"""`fastilp routes table`, `lookup`, `neighbours`, `told`: why packets go where they go, and what
others are told. Imports typer.
"""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, segment
from fastilp.cli.routes import command
from fastilp.cli.tables import columns

_TABLE = ("prefix", "next hop", "from", "path", "why")
_TOLD = ("prefix", "announced", "path", "why")
_NEIGHBOURS = ("account", "relation", "up", "learned", "epoch", "told up to", "asked", "refused")


def _table(body: Any) -> list[str]:
    rows = []
    for route in sorted(body["routes"], key=lambda route: route["prefix"]):
        for number, each in enumerate(route["candidates"]):
            first = number == 0
            rows.append(
                (
                    (route["prefix"] or '""') if first else "",
                    each["next_hop"],
                    each.get("relation", each["source"]),
                    " ".join(each.get("path", ())),
                    route["why"] if first else "" if each["usable"] else "its link is down",
                )
            )
    return columns([_TABLE, *rows])


def _lookup(body: Any) -> list[str]:
    hop = body["next_hop"]
    lines = [f"{body['address']} -> {hop if hop is not None else 'nowhere'}"]
    if "prefix" in body:
        lines.append(f"by the route to {body['prefix'] or 'everything'}: {body['why']}")
        # One account may offer the same prefix in several ways.
        usable = dict.fromkeys(each["next_hop"] for each in body["candidates"] if each["usable"])
        others = [each for each in usable if each != hop]
        if others:
            lines.append(f"if its link is down: {', '.join(others)}")
    else:
        lines.append(body["why"])
    return lines


def _neighbours(body: Any) -> list[str]:
    rows = [
        (
            name,
            each["relation"],
            "yes" if each["up"] else "no",
            str(each["learned"]) if each["receives_from"] else "-",
            str(each["epoch"]),
            f"{each['sent_epoch']}/{each['current_epoch']}" if each["sends_to"] else "-",
            each["asked"],
            " ".join(f"{reason}={count}" for reason, count in each["refused"].items()),
        )
        for name, each in sorted(body.items())
    ]
    return columns([_NEIGHBOURS, *rows])


def _told(body: Any) -> list[str]:
    rows = [
        (
            route["prefix"],
            "yes" if route["announced"] else "no",
            " ".join(route["path"]),
            route["why"],
        )
        for route in sorted(body["routes"], key=lambda route: route["prefix"])
    ]
    return columns([_TOLD, *rows])


@command.command("table")
@asks_node(_table)
def show_table(node: NodeClient) -> Answer:
    """Show the routing table: next hops, why these, and who comes after them.

    Example:

        fastilp routes table --auth admin
    """
    return node.get("/routes/table")


@command.command("lookup")
@asks_node(_lookup)
def look_up(
    node: NodeClient,
    address: Annotated[str, typer.Argument(help="An ILP address.")],
) -> Answer:
    """Say where a packet to an address would go, and why; none is sent.

    Example:

        fastilp routes lookup example.bob --auth admin
    """
    return node.get(f"/routes/lookup/{segment(address)}")


@command.command("neighbours")
@asks_node(_neighbours)
def show_neighbours(node: NodeClient) -> Answer:
    """Show who tells us routes, who is told ours, and what was refused.

    Example:

        fastilp routes neighbours --auth admin
    """
    return node.get("/routes/neighbours")


@command.command("told")
@asks_node(_told)
def show_told(
    node: NodeClient,
    username: Annotated[str, typer.Argument(help="The account that is told.")],
) -> Answer:
    """Show what an account is told, and what it is not, and why.

    Example:

        fastilp routes told bob --auth admin
    """
    return node.get(f"/routes/told/{segment(username)}")
