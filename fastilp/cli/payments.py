"""`fastilp payments`: payments that arrive at any account of a running node."""

import typer

from fastilp.cli.lazy import lazy_group

command = typer.Typer(
    cls=lazy_group({"incoming": "fastilp.cli.incoming_all"}),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Payments that arrive at any account of a running node.",
)


@command.callback()
def _group() -> None:
    """Payments that arrive at any account of a running node."""
