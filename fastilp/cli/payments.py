"""`fastilp payments`: payments of a running node, those that it sent and those that arrive."""

import typer

from fastilp.cli.lazy import Lazy, lazy_group

LAZY = {
    "list": Lazy(
        "fastilp.cli.payments_list", "List the payments that an account has sent, newest first."
    ),
    "show": Lazy(
        "fastilp.cli.payments_show",
        "Show a payment as it is now: what was sent, what was delivered, why it ended.",
    ),
    "cancel": Lazy(
        "fastilp.cli.payments_cancel",
        "Send nothing more of a payment; what is in flight ends by itself.",
    ),
    "resume": Lazy(
        "fastilp.cli.payments_resume",
        "Pay the rest of a payment that ended before all of it was sent.",
    ),
    "incoming": Lazy(
        "fastilp.cli.incoming_all",
        "Print each payment that arrives, until Ctrl-C: one JSON object a line.",
    ),
}

command = typer.Typer(
    cls=lazy_group(LAZY),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Payments of a running node: those that its accounts sent, and those that arrive.\n\n"
        "Examples:\n\n"
        "    fastilp payments list alice --auth alice-password\n\n"
        "    fastilp payments incoming --auth admin"
    ),
)


@command.callback()
def _group() -> None:
    """So that it stays a group."""
