"""`fastilp status`: how a running node is, asked over its HTTP API."""

import json
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import typer
from rich.cells import cell_len

from fastilp import config
from fastilp.errors import FastILPError, UsageError

_TIMEOUT_SECONDS = 10.0
_MONEY_COLUMNS = (2, 3, 4)


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
    base = (url or f"http://{settings.listen.http}").rstrip("/")
    status = _get(f"{base}/status", wanted_token)
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
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        reason = getattr(cause, "strerror", None) or cause
        raise FastILPError(f"no node answers at {url}: {reason}; does it run there?") from None
    except ValueError:
        raise FastILPError(f"{url} is not the status of a node") from None
    if not isinstance(found, dict) or "in_flight" not in found:
        raise FastILPError(f"{url} is not the status of a node")
    return found


def _show(status: dict[str, Any]) -> None:
    typer.echo(
        f"{status['ilp_address']}, fastilp {status['version']}, {status['in_flight']} in flight"
    )
    rows: list[tuple[str, ...]] = [
        ("account", "asset", "balance", "pending in", "pending out", "links")
    ]
    for account in status["accounts"]:
        scale, counters = account["asset_scale"], account["counters"]
        rows.append(
            (
                account["username"],
                f"{account['asset_code']}/{scale}",
                _units(account["balance"], scale),
                _units(counters["debits_pending"], scale),
                _units(counters["credits_pending"], scale),
                ", ".join(_link(kind, up) for kind, up in account["links"].items()),
            )
        )
    for line in _lines(rows):
        typer.echo(line)
    outcomes = ", ".join(f"{name} {count}" for name, count in status["statuses"].items())
    typer.echo(f"outcomes since the start: {outcomes or 'none'}")


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    """As wide as it must be: a terminal may wrap a line, but no digit of money is left out."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (text, width) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (width - cell_len(text))
            cells.append(padding + text if number in _MONEY_COLUMNS else text + padding)
        lines.append(f" {'  '.join(cells)}".rstrip())
    return lines


def _link(kind: str, up: bool) -> str:
    # HTTP has no connection that could be up: a request shows whether the peer is there.
    if kind.startswith("http"):
        return f"{kind} configured"
    return f"{kind} {'up' if up else 'down'}"


def _units(amount: str, scale: int) -> str:
    return f"{Decimal(amount).scaleb(-scale):,f}"
