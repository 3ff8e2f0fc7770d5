"""`fastilp payments`: payments that arrive at any account of a running node."""

import typer

from fastilp.cli.lazy import Lazy, lazy_group

LAZY = {
    "incoming": Lazy(
        "fastilp.cli.incoming_all",
        "Print each payment that arrives, until Ctrl-C: one JSON object a line.",
    )
}

command = typer.Typer(
    cls=lazy_group(LAZY),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Payments that arrive at any account of a running node.\n\n"
        "Example:\n\n"
        "    fastilp payments incoming --auth admin"
    ),
)


@command.callback()
def _group() -> None:
    """So that it stays a group, with one command."""
