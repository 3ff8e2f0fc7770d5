"""The fields of an account as flags: `--asset-code` is `asset_code`, and so on. Imports typer.

Names of Interledger.rs, and behind them our own. Values go to the node as they were written; it
judges them, and its answer says what is wrong.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer

from fastilp.cli.client import printable
from fastilp.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

_TOKEN_IN = "What the peer must send to us."
_TOKEN_OUT = "What we send to the peer."

# Field -> metavar, help.
FIELDS: dict[str, tuple[str, str]] = {
    "asset_code": ("CODE", 'Asset of the account, such as "USD".'),
    "asset_scale": ("N", "Digits behind the point: 9 counts in billionths of the asset."),
    "ilp_address": ("ADDRESS", "Of the account; else the node's, a dot, its username."),
    "max_packet_amount": ("UNITS", "Larger packets from this account are refused (F08)."),
    "min_balance": ("UNITS", "How far into debt it may go, as -1000; else without limit."),
    "ilp_over_http_url": ("URL", "Where we send packets by ILP-over-HTTP."),
    "ilp_over_http_incoming_token": ("TOKEN", f"{_TOKEN_IN} Also the account's API password."),
    "ilp_over_http_outgoing_token": ("TOKEN", _TOKEN_OUT),
    "ilp_over_btp_url": ("URL", "Dialled for BTP: btp+ws://…, btp+wss://…"),
    "ilp_over_btp_outgoing_token": ("TOKEN", _TOKEN_OUT),
    "ilp_over_btp_incoming_token": ("TOKEN", _TOKEN_IN),
    "settle_threshold": ("UNITS", "Settle when the balance reaches this."),
    "settle_to": ("UNITS", "The balance that a settlement leaves; -N prefunds the peer."),
    "routing_relation": ("RELATION", "Parent, Peer, Child or NonRoutingAccount."),
    "round_trip_time": ("MS", "Taken from the expiry of packets to this account."),
    "amount_per_minute_limit": ("UNITS", "From this account, per minute (T04)."),
    "packets_per_minute_limit": ("N", "From this account, per minute (T05)."),
    "settlement_engine_url": ("URL", "Of the account's own settlement engine."),
    # Ours.
    "max_balance": ("UNITS", "The most that we may come to owe it."),
    "max_in_flight_amount": ("UNITS", "The most that may be under way to it at a time."),
    "max_packet_amount_out": ("UNITS", "Larger packets to this account are refused (F08)."),
    "amount_per_minute_limit_out": ("UNITS", "To this account, per minute (T04)."),
    "spread": ("FRACTION", "Of conversions from this account, as 0.001; else that of the node."),
    "allowed_destinations": ("PREFIX,…", "It may only pay to these prefixes."),
    "circuit_breaker": ("true|false", "No packets to it for a while after its link failed."),
    "receive_routes": ("true|false", "Take the routes it announces; else by its relation."),
    "send_routes": ("true|false", "Announce routes to it; else by its relation."),
    "send_all_routes": ("true|false", "Also those that peers and the parent announced."),
    "route_priority": ("N", "Its routes before those of a lower one; 0 if left out."),
    "route_weight": ("N", "Its share where equal routes share the traffic; 1 if left out."),
    "routes_max": ("N", "Routes that are kept of it; 200000 if left out."),
    "import_allow": ("PREFIX,…", "Routes to these prefixes are taken from it, no others."),
    "import_deny": ("PREFIX,…", "Routes to these prefixes are not taken from it."),
    "in_flight_in_max": ("N", "Packets from it that wait for an answer at a time."),
    "in_flight_out_max": ("N", "Packets to it that wait for an answer at a time."),
    "ilp_over_batch_url": ("URL", "Dialled for the batch protocol: ilp+tcp://…, ilp+tls://…"),
    "ilp_over_batch_incoming_token": ("TOKEN", _TOKEN_IN),
    "ilp_over_batch_outgoing_token": ("TOKEN", _TOKEN_OUT),
    "endpoint": ("KIND", "loopback: the node itself answers the account's packets."),
}
_LISTS = ("allowed_destinations", "import_allow", "import_deny")
REQUIRED = ("asset_code", "asset_scale")
# What `PUT /accounts/<username>/settings` takes.
SETTINGS = (
    "ilp_over_http_url",
    "ilp_over_btp_url",
    "ilp_over_http_incoming_token",
    "ilp_over_http_outgoing_token",
    "ilp_over_btp_incoming_token",
    "ilp_over_btp_outgoing_token",
    "settle_threshold",
    "settle_to",
    # Ours.
    "ilp_over_batch_url",
    "ilp_over_batch_incoming_token",
    "ilp_over_batch_outgoing_token",
)
# What only the admin may change.
LIMITS = tuple(name for name in FIELDS if name not in SETTINGS)


def with_fields(
    names: Iterable[str], required: Iterable[str] = (), others: Iterable[str] = ()
) -> Callable[[Function], Function]:
    """For a function that takes the fields as its `**` argument: typer sees one flag for each, and
    takes the `others` without showing them."""

    def decorate(function: Function) -> Function:
        own = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        flags = [_flag(name, name in required) for name in names]
        flags += [_flag(name, False, hidden=True) for name in others]
        function.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        return function

    return decorate


def given(fields: dict[str, str | None]) -> dict[str, object]:
    """Only the flags that were given, every value as it was written: Interledger.rs takes numbers
    as strings. Lists are no strings, and only we have them."""
    return {
        name: text.split(",") if name in _LISTS else text
        for name, text in fields.items()
        if text is not None
    }


def unset(options: Iterable[str]) -> dict[str, None]:
    """Fields by the names of their flags, with or without dashes. Raises UsageError."""
    found: dict[str, None] = {}
    for option in options:
        name = option.lstrip("-").replace("-", "_")
        if name not in FIELDS or name in REQUIRED:
            known = ", ".join(flag_name(each) for each in FIELDS if each not in REQUIRED)
            shown = printable(option)
            raise UsageError(f"--unset {shown}: there is nothing to unset; it may be {known}")
        found[name] = None
    return found


def flag_name(field: str) -> str:
    return field.replace("_", "-")


def _flag(name: str, required: bool, *, hidden: bool = False) -> inspect.Parameter:
    metavar, help_text = FIELDS[name]
    option = typer.Option(f"--{flag_name(name)}", metavar=metavar, help=help_text, hidden=hidden)
    annotation: Any = Annotated[str, option] if required else Annotated[str | None, option]
    default = inspect.Parameter.empty if required else None
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=annotation)
