"""`fastilp watch`: what a running node does right now, polled over its HTTP API."""

import json
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fastilp.cli import options
from fastilp.cli.activity import Activity, activity, lines
from fastilp.cli.client import NodeClient, NodeError
from fastilp.cli.connect import connect
from fastilp.cli.status import read_status
from fastilp.errors import FastILPError

# Lines of a frame that are not accounts: head, outcomes, a spare one for the terminal's own.
_OTHER_LINES = 14
_ACCOUNTS_MIN = 5


def command(
    context: typer.Context,
    node: options.NodeUrl = None,
    auth: options.Auth = None,
    config_file: options.ConfigFile = None,
    ca_file: options.CaFile = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    accounts: Annotated[
        int | None,
        typer.Option(min=0, help="How many to show, busiest first; else what fits, or all."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Two looks, one report, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per look.")] = False,
) -> None:
    """Show live throughput, balances and rejects of a running node, until Ctrl-C.

    Examples:

        fastilp watch --config node.toml

        fastilp watch --node http://127.0.0.1:7770 --auth admin --once --json
    """
    root = options.root_options(context)
    given = options.Given(node, auth)
    client = connect(root, given, config_file=config_file, ca_file=ca_file)
    watch = _Watch(client, interval, accounts, as_json)
    try:
        if once:
            watch.print(watch.look())
        elif as_json or not sys.stdout.isatty():
            watch.print_forever()
        else:
            watch.show_forever()
    except KeyboardInterrupt:
        pass


class _Watch:
    """The first look is taken when it is made: what is wrong with the address shows at once."""

    def __init__(
        self, client: NodeClient, interval: float, accounts: int | None, as_json: bool
    ) -> None:
        self._client = client
        self._interval = interval
        self._accounts = accounts
        self._as_json = as_json
        self._status = read_status(client)
        self._taken_at = time.monotonic()

    def look(self) -> Activity:
        """What has happened since the last look, an interval ago."""
        time.sleep(self._interval)
        status, taken_at = read_status(self._client), time.monotonic()
        found = activity(self._status, status, taken_at - self._taken_at)
        self._status, self._taken_at = status, taken_at
        return found

    def print(self, found: Activity) -> None:
        if self._as_json:
            typer.echo(json.dumps(found._asdict()))
        else:
            typer.echo("\n".join(lines(found, self._accounts)))

    def print_forever(self) -> None:
        while True:
            self.print(self.look())
            sys.stdout.flush()

    def show_forever(self) -> None:
        console = Console(highlight=False)
        started = activity(self._status, self._status, self._interval)
        with Live(self._text(console, started), console=console, screen=True) as live:
            while True:
                live.update(self._frame(console), refresh=True)

    def _frame(self, console: Console) -> Text:
        """A node that is restarted is watched again once it is back."""
        try:
            return self._text(console, self.look())
        except NodeError as error:
            if error.status < 500:
                raise
            return Text(f" {error}")
        except FastILPError as error:
            return Text(f" {error}")

    def _text(self, console: Console, found: Activity) -> Text:
        room = max(_ACCOUNTS_MIN, console.height - _OTHER_LINES)
        count = self._accounts if self._accounts is not None else room
        return Text("\n".join(lines(found, count)), no_wrap=True)
