"""`fastilp engine ethereum`."""

from fastilp.cli.engine_options import command_of
from fastilp.engines.ethereum import EthereumEngine, EthereumSettings

command = command_of(
    EthereumEngine,
    EthereumSettings,
    """Settle in ETH, or in an ERC-20 token, on Ethereum or a chain like it.

    Examples:

        FASTILP_ENGINE_PRIVATE_KEY=… fastilp engine ethereum --confirmations 12

        fastilp engine ethereum --config ethereum.toml --ethereum-url http://127.0.0.1:8545
    """,
)
