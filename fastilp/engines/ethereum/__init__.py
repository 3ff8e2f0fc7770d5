"""Settlement on Ethereum and chains like it, in ETH or an ERC-20 token."""

from fastilp.engines.ethereum.engine import EthereumEngine
from fastilp.engines.ethereum.settings import EthereumSettings

__all__ = ["EthereumEngine", "EthereumSettings"]
