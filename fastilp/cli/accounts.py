"""`fastilp accounts`: the accounts of a running node, over its HTTP API."""

import contextlib
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from fastilp.cli.account_fields import (
    FIELDS,
    LIMITS,
    REQUIRED,
    SETTINGS,
    flag_name,
    given,
    unset,
    with_fields,
)
from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, printable, segment
from fastilp.cli.lazy import Lazy, lazy_group
from fastilp.cli.tables import columns, fields, value
from fastilp.errors import FastILPError, UsageError

LAZY = {
    "incoming-payments": Lazy(
        "fastilp.cli.incoming",
        "Print each payment that arrives at an account, until Ctrl-C: one JSON object a line.",
    )
}

command = typer.Typer(
    cls=lazy_group(LAZY),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Accounts of a running node: create, change, look, delete.\n\n"
        "Examples:\n\n"
        "    fastilp accounts list --config node.toml\n\n"
        "    fastilp accounts create alice --auth admin --asset-code ABC --asset-scale 9"
    ),
)

Username = Annotated[str, typer.Argument(help="2 to 32 letters, digits or underscores.")]
_TRANSPORTS = ("http", "batch", "btp")


def _table(accounts: Any) -> list[str]:
    if not isinstance(accounts, list):
        return fields(accounts)
    rows = [("account", "asset", "relation", "ilp address", "min balance", "sends to")]
    rows += [_row(account) for account in accounts]
    return columns(rows, right=(4,)) if accounts else [" no accounts yet"]


def _row(account: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    urls = (account.get(f"ilp_over_{transport}_url") for transport in _TRANSPORTS)
    minimum = account.get("min_balance")
    return (
        value(account.get("username")),
        f"{value(account.get('asset_code'))}/{value(account.get('asset_scale'))}",
        value(account.get("routing_relation")),
        value(account.get("ilp_address")),
        "none" if minimum is None else value(minimum),
        next((value(url) for url in urls if url), value(account.get("endpoint"))),
    )


def _path(username: str, rest: str = "") -> str:
    return f"/accounts/{segment(username)}{rest}"


@command.command()
@asks_node(fields)
@with_fields(FIELDS, REQUIRED)
def create(node: NodeClient, username: Username, **account: str | None) -> Answer:
    """Create an account, from the next packet on.

    Examples:

        fastilp accounts create alice --auth admin --asset-code ABC --asset-scale 9
        --ilp-over-http-incoming-token alice-password

        fastilp accounts create node_b -c node.toml --asset-code ABC --asset-scale 9
        --routing-relation Peer --ilp-over-http-url http://localhost:8770/accounts/node_a/ilp
        --ilp-over-http-outgoing-token node_a-password
    """
    return node.send_json("POST", "/accounts/", {"username": username, **given(account)})


@command.command()
@asks_node(fields)
@with_fields(FIELDS, REQUIRED)
def update(node: NodeClient, username: Username, **account: str | None) -> Answer:
    """Replace all of an account's settings: what is not given is unset, limits and tokens too
    (`change` leaves them). Its balance stays.

    Example:

        fastilp accounts update alice --auth admin --asset-code ABC --asset-scale 9
        --min-balance -1000000
    """
    return node.send_json("PUT", _path(username), {"username": username, **given(account)})


@command.command()
@asks_node(fields)
@with_fields(FIELDS)
def change(
    node: NodeClient,
    username: Username,
    to_unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="OPTION", help="Back to the default, as max-balance."),
    ] = None,
    **account: str | None,
) -> Answer:
    """Change some of an account's settings, limits among them; what is not given stays.

    Examples:

        fastilp accounts change alice --auth admin --min-balance -2000

        fastilp accounts change alice --auth admin --unset max-balance --unset spread
    """
    changes = given(account)
    for name in unset(to_unset or ()):
        if name in changes:
            raise UsageError(f"--{flag_name(name)} is given, and is to be unset: which of them?")
        changes[name] = None
    if not changes:
        raise UsageError("nothing to change: give an option, such as --min-balance -2000")
    return node.send_json("PATCH", _path(username), changes)


@command.command("update-settings")
@asks_node(fields)
@with_fields(SETTINGS, others=LIMITS)
def update_settings(node: NodeClient, username: Username, **settings: str | None) -> Answer:
    """Change URLs, tokens or settlement of an account; what is not given stays. Its own token is
    enough. Limits and all else are the admin's: `change`.

    Example:

        fastilp accounts update-settings alice --auth alice-password --settle-to 0
    """
    changes = given(settings)
    for name in changes:
        if name in LIMITS:
            flag = flag_name(name)
            raise UsageError(
                f"--{flag} is for the admin to change:"
                f" `fastilp accounts change {username} --{flag} …`"
            )
    return node.send_json("PUT", _path(username, "/settings"), changes)


@command.command()
@asks_node(fields)
def delete(node: NodeClient, username: Username) -> Answer:
    """Close an account; prints what it was.

    Example:

        fastilp accounts delete alice --auth admin
    """
    return node.delete(_path(username))


@command.command()
@asks_node(fields)
def info(node: NodeClient, username: Username) -> Answer:
    """Show an account's settings. Its own token is enough.

    Example:

        fastilp accounts info alice --auth admin --json
    """
    return node.get(_path(username))


@command.command("list")
@asks_node(_table)
def list_accounts(
    node: NodeClient,
    limit: Annotated[str | None, typer.Option(metavar="N", help="At most so many.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="USERNAME", help="Only those behind this name.")
    ] = None,
    asset_code: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only those of this asset.")
    ] = None,
    routing_relation: Annotated[
        str | None, typer.Option(metavar="RELATION", help="Only those with this relation.")
    ] = None,
    username_prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only those whose names begin so.")
    ] = None,
) -> Answer:
    """List the accounts by username: all, a page, or some.

    Examples:

        fastilp accounts list --auth admin

        fastilp accounts list --auth admin --limit 100 --after bob --asset-code USD
    """
    wanted = {
        "limit": limit,
        "after": after,
        "asset_code": asset_code,
        "routing_relation": routing_relation,
        "username_prefix": username_prefix,
    }
    query = urlencode({name: text for name, text in wanted.items() if text is not None})
    return node.get(f"/accounts?{query}" if query else "/accounts")


@command.command()
@asks_node(fields)
def balance(node: NodeClient, username: Username) -> Answer:
    """Show what the node owes the account, in whole units. Its own token is enough.

    Example:

        fastilp accounts balance alice --auth alice-password
    """
    return node.get(_path(username, "/balance"))


@command.command()
@asks_node(fields)
def status(node: NodeClient, username: Username) -> Answer:
    """Show exact balance and counters, what is in flight, which links are up. Its own token is
    enough.

    Example:

        fastilp accounts status alice --auth alice-password
    """
    return node.get(_path(username, "/status"))


@command.command()
@asks_node(timeout_seconds=None)
def events(node: NodeClient, username: Username) -> None:
    """Print what happens to an account, until Ctrl-C or its end. Its own token is enough.

    A line is a name and a JSON object: `balance` (what it is now), `limit` (one of the account's
    limits refuses packets), `link` (one goes up or down), `closed`. Nothing is printed while
    nothing happens.

    Example:

        fastilp accounts events alice --auth alice-password
    """
    with contextlib.suppress(KeyboardInterrupt):
        for name, data in node.events(_path(username, "/events")):
            typer.echo(f"{printable(name)} {printable(data)}")
            if name == "closed":
                return
        raise FastILPError("the connection ended; did the node stop?")
