"""`fastilp engine xrp-stand-in`."""

from pathlib import Path
from typing import Annotated

import typer

from fastilp.engines.xrp.stand_in import serve_stand_in
from fastilp.errors import ConfigError


def command(
    listen: Annotated[str, typer.Option(help="host:port; port 0: any.")] = "127.0.0.1:5005",
    close_every: Annotated[
        float, typer.Option(min=0, help="Seconds; 0: ledgers close by `ledger_accept` only.")
    ] = 1.0,
    ready_file: Annotated[
        Path | None, typer.Option(help='Written when it serves: {"http": "host:port", "pid": …}.')
    ] = None,
) -> None:
    """Play the XRP Ledger for engines on this machine: payments of XRP and nothing else.

    It is in memory, and no node of the XRP Ledger: docs/settlement-xrp.md says what it lacks. The
    account rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh, whose secret everybody knows, has all the XRP.

    Example:

        fastilp engine xrp-stand-in --close-every 0.5
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError("must be host:port, such as 127.0.0.1:5005", key="--listen")
    serve_stand_in(listen, int(close_every * 1_000), ready_file)
