"""One running node: everything that the other layers offer, put together.

The composition root: it may import everything below the command line. `Node` is the node itself,
`serve` runs one until a signal ends it, `check` says whether one would start.
"""

from fastilp.node.check import check
from fastilp.node.composition import Node
from fastilp.node.serve import serve

__all__ = ["Node", "check", "serve"]
