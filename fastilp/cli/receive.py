"""`fastilp receive`: payments that arrive at a running node, as they come."""

import json
import sys
from typing import Annotated, Any

import typer

from fastilp.cli import options
from fastilp.cli.client import NodeClient, printable, segment
from fastilp.cli.connect import connect
from fastilp.cli.notifications import print_line, print_messages
from fastilp.cli.tables import units
from fastilp.errors import FastILPError

# Connections whose totals are kept; a total that is forgotten starts anew.
_CONNECTIONS_MAX = 10_000


def command(
    context: typer.Context,
    username: Annotated[
        str | None, typer.Argument(help="Whose; without it those of all accounts.")
    ] = None,
    node: options.NodeUrl = None,
    auth: options.Auth = None,
    config_file: options.ConfigFile = None,
    ca_file: options.CaFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, as it came; so does a pipe.")
    ] = False,
) -> None:
    """Print payments that arrive at a running node, as they come. A line for each packet, with
    the sum of its payment so far; Ctrl-C ends it.

    Examples:

        fastilp receive bob --auth bob-password

        fastilp receive --config node.toml --json
    """
    root = options.root_options(context)
    given = options.Given(node, auth)
    client = connect(root, given, config_file=config_file, ca_file=ca_file)
    account = "" if username is None else f"/accounts/{segment(username)}"
    is_for_people = sys.stdout.isatty() and not as_json
    show = _Lines(client).show if is_for_people else print_line
    if is_for_people:
        print_line(f" waiting for payments to {username or 'any account'}; Ctrl-C ends")
    print_messages(client, f"{account}/payments/incoming", show)


class _Lines:
    """Messages as lines for people. The node is asked once for each account's asset."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self._assets: dict[str, tuple[str, int]] = {}
        self._totals: dict[str, int] = {}

    def show(self, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if isinstance(message, dict) and "Err" in message:
            print_line(f" not all was seen: {printable(str(message['Err']))}")
        elif isinstance(message, dict):
            self._show(message.get("Ok", message))

    def _show(self, message: dict[str, Any]) -> None:
        destination = str(message.get("destination"))
        username = str(message.get("to_username"))
        if message.get("connection_closed"):
            total = self._totals.pop(destination, 0)
            print_line(f" {printable(username)}: payment ended, {self._amount(username, total)}")
            return
        amount = int(message.get("amount", 0))
        total = self._totals.pop(destination, 0) + amount
        if len(self._totals) >= _CONNECTIONS_MAX:
            del self._totals[next(iter(self._totals))]
        self._totals[destination] = total
        print_line(
            f" {printable(username)}: {self._amount(username, amount)} from"
            f" {printable(str(message.get('from_username')))},"
            f" {self._amount(username, total)} of this payment so far"
        )

    def _amount(self, username: str, amount: int) -> str:
        if username not in self._assets:
            self._assets[username] = self._asset(username)
        code, scale = self._assets[username]
        return f"{units(amount, scale)} {printable(code)}".rstrip()

    def _asset(self, username: str) -> tuple[str, int]:
        try:
            found = self._client.get(f"/accounts/{segment(username)}").json()
            return str(found["asset_code"]), int(found["asset_scale"])
        except (FastILPError, KeyError, TypeError, ValueError):
            return "units", 0
