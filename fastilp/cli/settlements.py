"""`fastilp settlements`: what a running node pays through settlement engines, over its HTTP API."""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, segment
from fastilp.cli.tables import columns, fields, units

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Settlements: what the node pays through engines, and what a human decides of it.\n\n"
        "Examples:\n\n"
        "    fastilp settlements list --open --auth admin\n\n"
        "    fastilp settlements settle alice --auth admin"
    ),
)
# A refusal says by itself why; `update`, or a deletion, is not what helps here.
HINTS = {404: "`fastilp settlements list` shows the settlements", 409: ""}
Identifier = Annotated[str, typer.Argument(metavar="SETTLEMENT", help="Its id.")]


def _table(settlements: Any) -> list[str]:
    if not settlements:
        return [" no settlements yet"]
    rows = [("settlement", "begun", "account", "amount", "state", "tries", "error")]
    rows += [
        (
            str(each["id"]),
            str(each["created_at"])[:19],
            str(each["username"]),
            f"{units(each['amount'], each['asset_scale'])} {each['asset_code']}",
            str(each["state"]),
            str(each["tries"]),
            str(each["error"] or ""),
        )
        for each in settlements
    ]
    return columns(rows, right=(3, 5))


@command.command("list")
@asks_node(_table)
def list_all(
    node: NodeClient,
    account: Annotated[str, typer.Option(metavar="USERNAME", help="Those of one account.")] = "",
    open_only: Annotated[
        bool, typer.Option("--open", help="Those that wait for their engine, or for you.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 100,
    after: Annotated[
        str, typer.Option(metavar="SETTLEMENT", help="Those that are older than this one.")
    ] = "",
) -> Answer:
    """List settlements, newest first.

    Example:

        fastilp settlements list --open --auth admin
    """
    query = f"?limit={limit}" + ("&open=true" if open_only else "")
    query += f"&account={segment(account)}" if account else ""
    query += f"&after={segment(after)}" if after else ""
    return node.get(f"/settlements{query}")


@command.command("show")
@asks_node(fields)
def show(node: NodeClient, settlement: Identifier) -> Answer:
    """Show a settlement: how much, its state, how often its engine was asked, what it said.

    Example:

        fastilp settlements show 0193b5a0-7c1e-7000-8000-000000000001 --auth admin
    """
    node.hints = HINTS
    return node.get(f"/settlements/{segment(settlement)}")


@command.command("retry")
@asks_node(fields)
def retry(
    node: NodeClient,
    settlement: Identifier,
    engine_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the engine is now, if it has moved.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="At that URL, even if it may have paid already.")
    ] = False,
) -> Answer:
    """Ask the engine again now, with the same key: it pays once, however often it is asked.

    Example:

        fastilp settlements retry 0193b5a0-7c1e-7000-8000-000000000001 --auth admin
    """
    node.hints = HINTS
    body: dict[str, object] = {"force": force}
    if engine_url is not None:
        body["engine_url"] = engine_url
    return node.send_json("POST", f"/settlements/{segment(settlement)}/retry", body)


@command.command("resolve")
@asks_node(fields)
def resolve(
    node: NodeClient,
    settlement: Identifier,
    is_paid: Annotated[bool, typer.Option("--paid", help="It was paid.")] = False,
    is_refunded: Annotated[
        bool, typer.Option("--refunded", help="It was not and never will be: owe it again.")
    ] = False,
    external_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it is on the ledger.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Refund what the engine may have paid.")
    ] = False,
) -> Answer:
    """Say what has become of a settlement that its engine refuses or does not answer. Look at the
    ledger first.

    Example:

        fastilp settlements resolve 0193b5a0-7c1e-7000-8000-000000000001 --paid --auth admin
    """
    if is_paid == is_refunded:
        raise typer.BadParameter("say which: --paid or --refunded")
    node.hints = HINTS
    body: dict[str, object] = {"state": "paid" if is_paid else "refunded", "force": force}
    if external_id is not None:
        body["external_id"] = external_id
    return node.send_json("POST", f"/settlements/{segment(settlement)}/resolve", body)


@command.command("settle")
@asks_node(fields)
def settle(
    node: NodeClient,
    username: Annotated[str, typer.Argument(help="Whom to pay.")],
    amount: Annotated[
        int | None, typer.Option(metavar="UNITS", help="How much; else down to settle_to.")
    ] = None,
) -> Answer:
    """Settle with an account's holder now, whatever the threshold is.

    Example:

        fastilp settlements settle alice --amount 1000 --auth admin
    """
    node.hints = {409: ""}
    body = {} if amount is None else {"amount": str(amount)}
    return node.send_json("POST", f"/accounts/{segment(username)}/settle", body)
