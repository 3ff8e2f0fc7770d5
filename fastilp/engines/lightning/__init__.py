"""Settlement on the Lightning Network, by a node of the operator's."""

from fastilp.engines.lightning.engine import LightningEngine
from fastilp.engines.lightning.settings import LightningSettings

__all__ = ["LightningEngine", "LightningSettings"]
