"""`fastilp status`: how a running node is, asked over its HTTP API."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.table import Table

from fastilp import config
from fastilp.errors import FastILPError, UsageError

_TIMEOUT_SECONDS = 10.0


def command(
    config_file: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The node's TOML file: says where it listens."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Of the node, instead of the file.")] = None,
    token: Annotated[str | None, typer.Option(help="node.admin_auth_token.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a running node: address, accounts, balances, links, outcomes of packets.

    Examples:

        fastilp status --config node.toml

        fastilp status --url http://127.0.0.1:7770 --token admin --json
    """
    settings = config.load(config_file)
    configured = settings.node.admin_auth_token
    wanted_token = token or (configured.get_secret_value() if configured else "")
    status = _get(f"{url or f'http://{settings.listen.http}'}/status", wanted_token)
    if as_json:
        typer.echo(json.dumps(status))
    else:
        _show(status)


def _get(url: str, token: str) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url must be http://host:port, not {url!r}")
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            found = json.load(response)
    except HTTPError as error:
        hint = "; give --token, or --config with node.admin_auth_token" if error.code == 401 else ""
        raise FastILPError(f"{url} answers {error.code} {error.reason}{hint}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise FastILPError(f"no node answers at {url}: {reason}") from None
    if not isinstance(found, dict):
        raise FastILPError(f"{url} is not the status of a node")
    return found


def _show(status: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"{status['ilp_address']}, fastilp {status['version']}, {status['in_flight']} in flight"
    )
    table = Table("account", "asset", box=None)
    for title in ("balance", "pending in", "pending out"):
        table.add_column(title, justify="right")
    table.add_column("links")
    for account in status["accounts"]:
        scale, counters = account["asset_scale"], account["counters"]
        table.add_row(
            account["username"],
            f"{account['asset_code']}/{scale}",
            _units(account["balance"], scale),
            _units(counters["debits_pending"], scale),
            _units(counters["credits_pending"], scale),
            ", ".join(f"{kind} {'up' if up else 'down'}" for kind, up in account["links"].items()),
        )
    console.print(table)
    outcomes = ", ".join(f"{name} {count}" for name, count in status["statuses"].items())
    console.print(f"outcomes since the start: {outcomes or 'none'}")


def _units(amount: str, scale: int) -> str:
    return f"{Decimal(amount).scaleb(-scale):,f}"
