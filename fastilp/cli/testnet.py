"""`fastilp testnet`: a test network of one's own, or join another by an account at a node of it.

The provider that ilp-cli knew is gone, so `setup` has it named: any service that answers
`GET <provider>/<asset>` as that one did.
"""

from typing import Annotated, Any

import typer

from fastilp.cli.asks_node import asks_node
from fastilp.cli.client import Answer, NodeClient, segment
from fastilp.cli.entry import begin
from fastilp.cli.tables import fields
from fastilp.cli.testnet_run import LEDGERS, run
from fastilp.errors import FastILPError, UsageError

command = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    rich_markup_mode="markdown",
    help=(
        "Start a test network on this machine (a ledger, two nodes, two settlement engines), or"
        " join one.\n\n"
        "Pays through it, shows the balances of both nodes and on the ledger, runs until Ctrl-C,"
        " and keeps nothing.\n\n"
        "Examples:\n\n"
        "    fastilp testnet --currency eth\n\n"
        "    fastilp testnet --currency eth --once --json"
    ),
)

# An account at the provider -> what it is called here.
_NEEDED = ("username", "passkey", "http_endpoint", "btp_endpoint", "asset_code", "asset_scale")


@command.callback()
def start(
    context: typer.Context,
    currency: Annotated[
        str | None, typer.Option(help=f"What is settled in: {', '.join(LEDGERS)}.")
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="End after a payment; exit status 1 if the sums disagree."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON text for each look, amounts as texts.")
    ] = False,
) -> None:
    if context.invoked_subcommand is not None:
        return
    begin()
    if currency not in LEDGERS:
        raise UsageError(f"--currency must be one of {', '.join(LEDGERS)}")
    run(LEDGERS[currency], once=once, as_json=as_json)


@command.command()
@asks_node(fields)
def setup(
    node: NodeClient,
    asset: Annotated[str, typer.Argument(help="xrp, eth, or another that the provider has.")],
    provider: Annotated[
        str,
        typer.Option(
            envvar="FASTILP_TESTNET__PROVIDER",
            help="Its accounts' URL: GET PROVIDER/ASSET makes one.",
        ),
    ],
    return_testnet_credential: Annotated[
        bool, typer.Option("--return-testnet-credential", help="Print the account's token.")
    ] = False,
) -> Answer:
    """Get an account at a test network's node, and add that node here as our parent.

    Example:

        fastilp testnet setup xrp --auth admin --provider http://localhost:9000/api/accounts
    """
    name = asset.lower()
    there = NodeClient(provider).get(f"/{segment(name)}", auth=False).json()
    account = _account(name, there)
    answer = node.send_json("POST", "/accounts/", account)
    if return_testnet_credential:
        return Answer(account["ilp_over_http_outgoing_token"].encode())
    return answer


def _account(asset: str, there: Any) -> dict[str, str]:
    """Our side of it, with the settings that ilp-cli chose."""
    missing = [name for name in _NEEDED if not isinstance(there, dict) or name not in there]
    if missing:
        raise FastILPError(f"the provider's answer has no {', '.join(missing)}")
    token = f"{there['username']}:{there['passkey']}"
    return {
        "ilp_over_http_url": str(there["http_endpoint"]),
        "ilp_over_http_outgoing_token": token,
        "ilp_over_btp_url": str(there["btp_endpoint"]),
        "ilp_over_btp_outgoing_token": token,
        "asset_scale": str(there["asset_scale"]),
        "asset_code": str(there["asset_code"]),
        "username": f"xpring_{asset}",
        "routing_relation": "Parent",
        "settle_threshold": "1000",
        "settle_to": "0",
    }
