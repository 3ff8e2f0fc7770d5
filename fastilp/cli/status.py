"""`fastilp status`: how a running node is, asked over its HTTP API."""

import json
import sys
from collections.abc import Collection
from typing import Any

import typer

from fastilp.cli import options
from fastilp.cli.activity import WAITS
from fastilp.cli.client import NodeClient
from fastilp.cli.connect import connect
from fastilp.cli.tables import columns, units
from fastilp.errors import FastILPError

_MONEY_COLUMNS = (2, 3, 4)
_MORE = (
    "fastilp: accounts, balances, links and outcomes are shown with --auth TOKEN (the node's"
    " admin_auth_token), or --config with the node's file"
)


def command(
    context: typer.Context,
    node: options.NodeUrl = None,
    auth: options.Auth = None,
    config_file: options.ConfigFile = None,
    ca_file: options.CaFile = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a running node: address, accounts, balances, links, outcomes of packets.

    All that needs --auth or --config; without a token it shows what the node tells everybody: that
    it is ready, and its address.

    Examples:

        fastilp status

        fastilp status --config node.toml

        fastilp status --node http://127.0.0.1:7770 --auth admin --json
    """
    root = options.root_options(context)
    # As with ilp-cli, a variable does not make another call of it.
    root = root._replace(variables=root.variables._replace(auth=None))
    given = options.Given(node, auth)
    client = connect(root, given, config_file=config_file, ca_file=ca_file)
    if client.token is None:
        answer = client.get("/", auth=False)
        shown = answer.text()
    else:
        status = read_status(client)
        shown = json.dumps(status) if as_json else "\n".join(_lines(status))
    if quiet or root.quiet:
        return
    typer.echo(shown)
    if client.token is None and sys.stdout.isatty():
        typer.echo(_MORE, err=True)


def read_status(client: NodeClient) -> dict[str, Any]:
    found = client.get("/status").json()
    if not isinstance(found, dict) or "in_flight" not in found:
        raise FastILPError(f"{client.url}/status is not the status of a node")
    return found


def link_text(kind: str, up: bool, awaited: Collection[str] = ()) -> str:
    if kind in awaited:
        return f"{kind} {WAITS}"
    # HTTP has no connection that could be up: a request shows whether the peer is there.
    if kind.startswith("http"):
        return f"{kind} configured"
    return f"{kind} {'up' if up else 'down'}"


def _lines(status: dict[str, Any]) -> list[str]:
    rows = [("account", "asset", "balance", "pending in", "pending out", "links")]
    rows += [_row(account) for account in status["accounts"]]
    outcomes = ", ".join(f"{name} {count}" for name, count in status["statuses"].items())
    return [
        f"{status['ilp_address']}, fastilp {status['version']}, {status['in_flight']} in flight",
        *columns(rows, right=_MONEY_COLUMNS),
        f"outcomes since the start: {outcomes or 'none'}",
    ]


def _row(account: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    scale, counters = account["asset_scale"], account["counters"]
    awaited = account.get("links_awaited", ())
    return (
        account["username"],
        f"{account['asset_code']}/{scale}",
        units(account["balance"], scale),
        units(counters["debits_pending"], scale),
        units(counters["credits_pending"], scale),
        ", ".join(link_text(kind, up, awaited) for kind, up in account["links"].items()),
    )
