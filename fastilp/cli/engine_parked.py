"""`fastilp engine parked`: payments of nobody that a running engine keeps, over its HTTP API."""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_engine import After, EngineClient, Limit, asks_engine
from fastilp.cli.client import Answer, segment
from fastilp.cli.tables import columns, fields, units, value

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Money that arrived at a running engine and is nobody's yet: of a sender whom no account"
        " has, or for an account that is closed.\n\n"
        "Examples:\n\n"
        "    fastilp engine parked list\n\n"
        "    fastilp engine parked credit 0x5c50…e1 --account alice"
    ),
)


def _table(page: Any) -> list[str]:
    rows = [("payment", "parked", "owner", "amount", "notes")]
    rows += [
        (
            str(each["key"]),
            str(each["parked_at"] or "")[:19],
            str(each["owner"]),
            units(each["amount"], each["scale"]),
            value(each["notes"]),
        )
        for each in page["parked"]
    ]
    lines = columns(rows, right=(3,)) if page["parked"] else [" nothing is parked here"]
    return lines + ([f" more: --after {page['next']}"] if page["next"] else [])


@command.command("list")
@asks_engine(_table)
def list_all(engine: EngineClient, limit: Limit = 100, after: After = "") -> Answer:
    """List parked payments: how much, and whose the ledger says that they are (an address, a
    destination tag, a note).

    Examples:

        fastilp engine parked list --engine http://127.0.0.1:3000

        fastilp engine parked list --config xrp.toml --json
    """
    query = f"?limit={limit}" + (f"&after={segment(after)}" if after else "")
    return engine.get(f"/admin/parked{query}")


@command.command("credit")
@asks_engine(fields)
def credit(
    engine: EngineClient,
    key: Annotated[str, typer.Argument(help="Of the payment, as `list` shows it.")],
    account: Annotated[str, typer.Option(metavar="ID", help="The engine's account to credit.")],
) -> Answer:
    """Say whose a parked payment is: the connector is told that this account's peer has paid.
    It is credited once, however often this is said; another account is refused after that.

    `fastilp engine accounts` lists the accounts.

    Example:

        fastilp engine parked credit 0x5c50…e1 --account alice
    """
    return engine.send_json("POST", f"/admin/parked/{segment(key)}/credit", {"account": account})
