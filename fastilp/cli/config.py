"""`fastilp config`: the settings' file and what the node made of it, without a running node.

`import` reads the settings of Interledger.rs; `diff` compares file and node; `rotate` changes the
secret seed.
"""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from fastilp import config
from fastilp._core.store import Store
from fastilp.cli.interledger_rs import imported
from fastilp.config.models import Settings
from fastilp.control.differences import Difference, differences
from fastilp.control.vault import Vault, rotate
from fastilp.errors import UsageError
from fastilp.node.details import details_of
from fastilp.storage.ledger import Ledger

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "The settings' file: compare it, bring it from Interledger.rs, rotate its secret.\n\n"
        "Example:\n\n"
        "    fastilp config diff --config node.toml"
    ),
)
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The node's TOML file.")]


@command.command("diff")
def diff(
    config_file: ConfigFile,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """Show where the file and the node differ: the file seeds, the API wins afterwards. Exit status
    1 if they do.

    Example:

        fastilp config diff --config node.toml
    """
    settings = config.load(config_file)
    found = _differences(settings)
    if as_json:
        shown = [{"key": d.key, "file": d.file, "node": d.node, "why": d.why} for d in found]
        typer.echo(json.dumps(shown))
    else:
        for each in found:
            file, node = each.file or "nothing", each.node or "nothing"
            typer.echo(f"{each.key}: {file} in the file, {node} in the node; {each.why}")
    if found:
        raise typer.Exit(1)


def _differences(settings: Settings) -> list[Difference]:
    if not (Path(settings.node.data_dir) / "data.mdb").exists():
        raise UsageError(f"{settings.node.data_dir}: no node has run there yet")
    store = Store(settings.node.data_dir, read_only=True)
    try:
        vault = Vault.of_store(store, _seed(settings))
        if vault is None:
            raise UsageError(f"{settings.node.data_dir}: no node of this version has run there yet")
        return differences(
            store,
            vault,
            [details_of(account, vault) for account in settings.accounts],
            settings.routes,
            {code: str(rate) for code, rate in settings.rates.items()},
        )
    finally:
        store.close()


def _seed(settings: Settings) -> bytes:
    seed, generated = config.secret_seed(settings)
    if generated is not None:
        generated.unlink()
        raise UsageError("there is no secret_seed: not in the settings, nor in the data directory")
    return seed


@command.command("import")
def import_(
    source: Annotated[
        Path | None, typer.Argument(help="JSON or YAML file of Interledger.rs, if there is one.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write there; never over a file."),
    ] = None,
) -> None:
    """Make a settings' file out of one of Interledger.rs and its variables `ILP_*`, which win.

    Accounts are no part of it: those are in its Redis, or are created anew over the API.

    Example:

        ILP_ADMIN_AUTH_TOKEN=secret fastilp config import ilp-node.yml --output node.toml
    """
    text, left_out = imported(source)
    for line in left_out:
        typer.echo(f"fastilp: {line}", err=True)
    if output is None:
        typer.echo(text, nl=False)
        return
    _write_new(output, text)


@command.command("rotate")
def rotate_seed(
    config_file: ConfigFile,
    new_seed_file: Annotated[
        Path | None, typer.Option(help="32 bytes in hex; without it they are drawn at random.")
    ] = None,
) -> None:
    """Change the secret seed of a node that does not run: outgoing tokens are sealed anew.

    Peers keep their tokens. Where the seed is in the settings, the new one is written beside the
    data and has to be put there.

    Example:

        fastilp config rotate --config node.toml
    """
    settings = config.load(config_file)
    old = _seed(settings)
    kept = Path(settings.node.data_dir) / "secret_seed.new"
    new = _new_seed(new_seed_file, kept, old)
    ledger = Ledger.open(settings.node.data_dir)
    try:
        count = rotate(ledger, old, new)
    finally:
        ledger.close()
    if settings.node.secret_seed is None:
        os.replace(kept, kept.with_name("secret_seed"))
        typer.echo(f"the seed is another one now; {count} tokens were sealed anew")
    else:
        typer.echo(f"{count} tokens were sealed anew; node.secret_seed is now what is in {kept}")


def _new_seed(given: Path | None, kept: Path, old: bytes) -> bytes:
    """What an interrupted call has drawn is used again: tokens may be sealed with it already."""
    begun = _seed_of(kept.read_text()) if kept.exists() else None
    wanted = _seed_of(given.read_text()) if given is not None else None
    if begun is not None and begun != old:
        if wanted not in (None, begun):
            raise UsageError(f"a rotation to the seed in {kept} has begun; finish that one first")
        return begun
    # What is kept is the seed that the node has by now.
    kept.unlink(missing_ok=True)
    seed = wanted or secrets.token_bytes(32)
    _write_new(kept, seed.hex() + "\n")
    return seed


def _seed_of(text: str) -> bytes:
    try:
        seed = bytes.fromhex(text.strip())
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise UsageError("the new seed must be 32 bytes in hex: `openssl rand -hex 32` makes one")
    return seed


def _write_new(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = "is there already and stays as it is: name another file, or move that one away"
        raise UsageError(f"{path} {text}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sys.stdout.flush()
