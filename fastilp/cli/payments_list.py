"""`fastilp payments list`."""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, segment
from fastilp.cli.tables import columns, units


def _table(payments: Any) -> list[str]:
    if not payments:
        return [" no payments yet"]
    rows = [("payment", "ordered", "state", "sent", "delivered", "receiver")]
    rows += [
        (
            str(each["id"]),
            str(each["created_at"])[:19],
            str(each["state"]),
            _sent(each),
            _delivered(each),
            str(each["receiver"]),
        )
        for each in payments
    ]
    return columns(rows, right=(3, 4))


def _sent(payment: dict[str, Any]) -> str:
    scale = payment["source_asset_scale"]
    uncertain = ""
    if int(payment["uncertain_amount"]):
        uncertain = f" + up to {units(payment['uncertain_amount'], scale)}"
    return f"{units(payment['sent_amount'], scale)}{uncertain} {payment['source_asset_code']}"


def _delivered(payment: dict[str, Any]) -> str:
    scale = payment["destination_asset_scale"]
    if scale is None:
        return str(payment["delivered_amount"])
    return f"{units(payment['delivered_amount'], scale)} {payment['destination_asset_code']}"


@asks_node(_table)
def command(
    node: NodeClient,
    username: Annotated[str, typer.Argument(help="Whose payments.")],
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 100,
    after: Annotated[
        str, typer.Option(metavar="PAYMENT", help="Those that are older than this one.")
    ] = "",
) -> Answer:
    """List the payments that an account has sent, newest first.

    Example:

        fastilp payments list alice --auth alice-password --limit 20
    """
    query = f"?limit={limit}" + (f"&after={segment(after)}" if after else "")
    return node.get(f"/accounts/{segment(username)}/payments{query}")
