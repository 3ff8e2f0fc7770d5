"""Settlement in XRP on the XRP Ledger."""

from fastilp.engines.xrp.engine import XrpEngine
from fastilp.engines.xrp.settings import XrpSettings

__all__ = ["XrpEngine", "XrpSettings"]
