"""JavaScript peers for tests: the load generator has them too."""

from fastilp.loadtest.npm import ensure, node

__all__ = ["ensure", "node"]
