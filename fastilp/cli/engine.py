"""`fastilp engine`: settlement engines, each a process of its own, and the suite that tries one.

The commands are found by name: an engine needs packages that the others do not.
"""

import typer

from fastilp.cli.lazy import Lazy, lazy_group

ENGINES = {
    "ethereum": Lazy(
        "fastilp.cli.engine_ethereum", "Settle in ETH or an ERC-20 token.", "ethereum"
    ),
    "xrp": Lazy("fastilp.cli.engine_xrp", "Settle in XRP, by payments on the XRP Ledger.", "xrp"),
    "xrp-stand-in": Lazy(
        "fastilp.cli.engine_xrp_stand_in",
        "Play the XRP Ledger for engines on this machine: payments of XRP and nothing else.",
        "xrp",
    ),
    "lightning": Lazy(
        "fastilp.cli.engine_lightning", "Settle over the Lightning Network.", "engines"
    ),
    "paypal": Lazy("fastilp.cli.engine_paypal", "Settle by PayPal's payouts.", "engines"),
    "accounts": Lazy("fastilp.cli.engine_accounts", "List the accounts of a running engine."),
    "payments": Lazy(
        "fastilp.cli.engine_payments", "Payments that a running engine makes, and has made."
    ),
    "parked": Lazy(
        "fastilp.cli.engine_parked", "Money that arrived at a running engine and is nobody's yet."
    ),
    "conformance": Lazy(
        "fastilp.cli.engine_conformance",
        "Try an engine, by whomever, against the rules of RFC 38.",
    ),
}

command = typer.Typer(
    cls=lazy_group(ENGINES),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Settlement engines: run one, see what it holds, or try one by whomever made it.\n\n"
        "Examples:\n\n"
        "    fastilp engine payments list --open --config xrp.toml\n\n"
        "    fastilp engine conformance http://127.0.0.1:3000 --connector 127.0.0.1:7771"
    ),
)


@command.callback()
def _group() -> None:
    """So that it is a group, whose commands are all found by name."""
