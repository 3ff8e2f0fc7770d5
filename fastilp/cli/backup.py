"""`fastilp backup`: a consistent copy of a node's ledger, while the node runs."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from fastilp import config
from fastilp.errors import StorageError
from fastilp.storage.backup import backup


def command(
    destination: Annotated[Path, typer.Argument(help="An empty or new directory.")],
    config_file: Annotated[
        Path | None, typer.Option("--config", "-c", help="The node's TOML file.")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option(help="Folder of the ledger, instead of node.data_dir.")
    ] = None,
) -> None:
    """Copy the ledger as of its last commit. The copy is a data directory that a node can run on.

    A generated secret_seed is copied too, so keep the backup as safe as the node.

    Example:

        fastilp backup --config node.toml /backups/2026-11-22
    """
    source = Path(config.load(config_file, {"node.data_dir": data_dir}).node.data_dir)
    if not source.is_dir():
        raise StorageError(f"{source} is no directory; give the node's --config or --data-dir")
    # The copy is as private as the ledger.
    os.umask(0o077)
    copy = backup(str(source), str(destination))
    seed = source / "secret_seed"
    if seed.exists():
        shutil.copy2(seed, destination / seed.name)
    typer.echo(
        f"{source} copied to {destination}: {copy.accounts} balances (of all accounts, also of"
        " those that left, and three of the node itself for each asset),"
        f" {copy.records} records, {copy.size:,} bytes"
    )
