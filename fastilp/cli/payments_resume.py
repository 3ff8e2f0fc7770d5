"""`fastilp payments resume`."""

from typing import Annotated

import typer

from fastilp.cli import options
from fastilp.cli.client import segment
from fastilp.cli.connect import connect
from fastilp.cli.payment_progress import HOLDER_HINTS, Shown, order


def command(
    context: typer.Context,
    username: Annotated[str, typer.Argument(help="Whose payment.")],
    payment: Annotated[str, typer.Argument(help="Its id.")],
    node: options.NodeUrl = None,
    auth: options.Auth = None,
    config_file: options.ConfigFile = None,
    ca_file: options.CaFile = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    as_table: options.AsTable = False,
) -> None:
    """Pay the rest of a payment that ended before all of it was sent. The account's own token is
    needed. What may have been sent unseen, when its node crashed, is not sent again.

    Example:

        fastilp payments resume alice 0193b5a0-7c1e-7000-8000-000000000001 --auth alice-password
    """
    root = options.root_options(context)
    client = connect(
        root,
        options.Given(node, auth),
        config_file=config_file,
        ca_file=ca_file,
        timeout_seconds=None,
    )
    client.hints = HOLDER_HINTS
    path = f"/accounts/{segment(username)}/payments/{segment(payment)}/resume"
    order(client, path, {}, Shown(quiet or root.quiet, as_json, as_table))
