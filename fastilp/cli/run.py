"""`fastilp run`: a node until a signal ends it."""

from pathlib import Path
from typing import Annotated

import typer

from fastilp import config
from fastilp.config.models import Settings
from fastilp.errors import UsageError
from fastilp.logs import configure
from fastilp.node import check as check_start
from fastilp.node import serve


def command(
    config_file: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="TOML file; examples/node.toml shows every key."),
    ] = None,
    http: Annotated[
        str | None, typer.Option(help="host:port, instead of listen.http; port 0: any.")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option(help="Folder of the ledger, instead of node.data_dir.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error, instead of logging.level.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(help='Written when packets are served: {"http": "host:port", "pid": …}.'),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Do all that a start does, but listen.")
    ] = False,
) -> None:
    """Run a node. SIGTERM or Ctrl-C finishes what is in flight and stops it, a second one at once;
    SIGHUP reads the settings again.

    --check builds the node on a copy of its ledger, rules of `[[services]]` too, and ends it. It
    changes nothing, looks at no port, and leaves the ledger of a node that runs alone. Exit status
    1 if the node would not start.

    Examples:

        fastilp run --config examples/node.toml

        FASTILP_LISTEN__HTTP=0.0.0.0:7770 fastilp run --config node.toml
    """
    overrides = {
        "listen.http": http,
        "node.data_dir": data_dir,
        "logging.level": log_level,
    }
    settings = config.load(config_file, overrides)
    if ready_file is not None and not ready_file.parent.is_dir():
        raise UsageError(f"--ready-file: there is no folder {ready_file.parent}")
    if check:
        _check(settings, str(config_file or "defaults"))
        return
    configure(settings.logging.level, settings.logging.format)
    serve(settings, ready_file=ready_file, reload=lambda: config.load(config_file, overrides))


def _check(settings: Settings, name: str) -> None:
    # What a start would log about the ledger is for the start.
    configure("critical", settings.logging.format)
    notes = [
        f"{variable} is no setting; sections end in two underscores"
        for variable in config.unknown_variables()
    ]
    notes += check_start(settings)
    for note in notes:
        typer.echo(f"fastilp: {note}", err=True)
    count = len(settings.accounts)
    accounts = f"{count} account{'' if count == 1 else 's'}"
    typer.echo(f"{name}: {accounts}, {'it starts, but see above' if notes else 'all right'}")
