"""`fastilp engine lightning`."""

from fastilp.cli.engine_options import command_of
from fastilp.engines.lightning import LightningEngine, LightningSettings

command = command_of(
    LightningEngine,
    LightningSettings,
    """Settle over the Lightning Network, by a node of yours: lnd, or Electrum.

    Examples:

        fastilp engine lightning --lnd-macaroon-path admin.macaroon --lnd-tls-cert-path tls.cert

        FASTILP_ENGINE_ELECTRUM_PASSWORD=… fastilp engine lightning --node electrum
    """,
)
