"""Settlement engines: a framework for writing one, and engines for some ledgers. Each engine is a
process of its own. Imports errors and logs, never the node.

`Engine` and `serve` are what a program of one page needs (examples/csv_engine.py).
"""

from fastilp.engines.base import Engine
from fastilp.engines.context import Context, OwnChange, Records
from fastilp.engines.errors import EngineError, NotNowError
from fastilp.engines.process import serve
from fastilp.engines.quantity import Quantity
from fastilp.engines.settings import EngineSettings, load

__all__ = [
    "Context",
    "Engine",
    "EngineError",
    "EngineSettings",
    "NotNowError",
    "OwnChange",
    "Quantity",
    "Records",
    "load",
    "serve",
]
