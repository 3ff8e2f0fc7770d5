"""`fastilp pay`: a payment from an account of a running node, over its HTTP API."""

from typing import Annotated

import typer

from fastilp.cli import options
from fastilp.cli.client import segment
from fastilp.cli.connect import connect
from fastilp.cli.payment_progress import HOLDER_HINTS, Shown, order
from fastilp.errors import UsageError


def command(
    context: typer.Context,
    sender_username: Annotated[str, typer.Argument(help="The account that pays.")],
    to: Annotated[
        str,
        typer.Option("--to", metavar="RECEIVER", help="Payment pointer ($…) or SPSP address."),
    ],
    amount: Annotated[
        str | None,
        typer.Option("--amount", metavar="UNITS", help="To send, in units of the sender's asset."),
    ] = None,
    deliver: Annotated[
        str | None,
        typer.Option("--deliver", metavar="UNITS", help="Or: to arrive, in the receiver's units."),
    ] = None,
    slippage: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="How much worse than expected the rate may be.",
            show_default="0.015",
        ),
    ] = None,
    node: options.NodeUrl = None,
    auth: options.Auth = None,
    config_file: options.ConfigFile = None,
    ca_file: options.CaFile = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    as_table: options.AsTable = False,
) -> None:
    """Pay from an account of a running node. Its own token is needed, the admin's will not do.

    On a terminal a bar shows how far it is. Ctrl-C stops the payment and says what was delivered;
    `fastilp payments resume` goes on with it.

    Examples:

        fastilp pay alice --auth alice-password --amount 500
        --to http://localhost:8770/accounts/bob/spsp

        fastilp pay alice --auth alice-password --deliver 2000 --to '$bob.example'
    """
    body = _order(amount, deliver, slippage, to)
    root = options.root_options(context)
    # A payment takes as long as it takes.
    client = connect(
        root,
        options.Given(node, auth),
        config_file=config_file,
        ca_file=ca_file,
        timeout_seconds=None,
    )
    client.hints = HOLDER_HINTS
    path = f"/accounts/{segment(sender_username)}/payments"
    order(client, path, body, Shown(quiet or root.quiet, as_json, as_table))


def _order(
    amount: str | None, deliver: str | None, slippage: str | None, to: str
) -> dict[str, object]:
    if (amount is None) == (deliver is None):
        both = "" if amount is None else ", and not both"
        raise UsageError(f"give --amount, what to send, or --deliver, what is to arrive{both}")
    name = "source_amount" if amount is not None else "delivery_amount"
    body: dict[str, object] = {name: amount if amount is not None else deliver, "receiver": to}
    if slippage is not None:
        body["slippage"] = slippage
    return body
