"""`fastilp engine xrp`."""

from fastilp.cli.engine_options import command_of
from fastilp.engines.xrp import XrpEngine, XrpSettings

command = command_of(
    XrpEngine,
    XrpSettings,
    """Settle in XRP, by payments on the XRP Ledger.

    Examples:

        FASTILP_ENGINE_XRP_SECRET=… fastilp engine xrp --xrp-url http://127.0.0.1:5005

        fastilp engine xrp --config xrp.toml --network-id 0
    """,
)
