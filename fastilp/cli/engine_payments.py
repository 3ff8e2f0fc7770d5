"""`fastilp engine payments`: what a running engine pays, over its HTTP API."""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_engine import After, EngineClient, Limit, asks_engine
from fastilp.cli.client import Answer, segment
from fastilp.cli.tables import columns, fields, units

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Payments that a running engine makes, and has made.\n\n"
        "Example:\n\n"
        "    fastilp engine payments list --open --engine http://127.0.0.1:3000"
    ),
)


def _table(page: Any) -> list[str]:
    rows = [("payment", "asked", "account", "pays", "state", "tries", "on the ledger", "error")]
    rows += [
        (
            str(each["key"]),
            str(each["created_at"])[:19],
            str(each["account"]),
            units(each["units"], each["units_scale"]),
            str(each["state"]),
            str(each["tries"]),
            str(each["ledger_id"] or ""),
            str(each["error"] or ""),
        )
        for each in page["payments"]
    ]
    lines = columns(rows, right=(3, 5)) if page["payments"] else [" no payments here"]
    return lines + ([f" more: --after {page['next']}"] if page["next"] else [])


@command.command("list")
@asks_engine(_table)
def list_all(
    engine: EngineClient,
    account: Annotated[str, typer.Option(metavar="ID", help="Those of one account.")] = "",
    open_only: Annotated[bool, typer.Option("--open", help="Those that are not made yet.")] = False,
    limit: Limit = 100,
    after: After = "",
) -> Answer:
    """List the payments that the connector has asked for, newest first: how much, whether it is
    done, how often it was tried, what went wrong, and what it is called on the ledger.

    Examples:

        fastilp engine payments list --open

        fastilp engine payments list --config ethereum.toml --json
    """
    query = f"?limit={limit}" + ("&open=true" if open_only else "")
    query += f"&account={segment(account)}" if account else ""
    query += f"&after={segment(after)}" if after else ""
    return engine.get(f"/admin/payments{query}")


@command.command("show")
@asks_engine(fields)
def show(engine: EngineClient, payment: Annotated[str, typer.Argument(help="Its key.")]) -> Answer:
    """Show a payment. Its key is the Idempotency-Key of the connector's call: with fastilp, the id
    of the settlement.

    Example:

        fastilp engine payments show 0193b5a0-7c1e-7000-8000-000000000001
    """
    return engine.get(f"/admin/payments/{segment(payment)}")
