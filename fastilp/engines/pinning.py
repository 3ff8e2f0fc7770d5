"""Which ledger an engine's store is about. Imports the neighbours.

Amounts owed, cursors and keys of credits mean nothing on another ledger: a test network whose nodes
have the same address, one that began anew, a fork. So the first look writes down what it saw, and
another ledger is refused from then on.
"""

from typing import Any

from fastilp.engines.context import Context
from fastilp.engines.node_http import shown_url
from fastilp.errors import ConfigError

_NAME = "ledger"


def pinned(context: Context) -> Any:
    """What the first look saw, or None."""
    with context.read() as records:
        return records.get(_NAME)


def pin(context: Context, seen: dict[str, Any], url: str) -> None:
    """Raises ConfigError unless it is what was seen at first."""
    with context.change() as change:
        known = change.get(_NAME)
        if known is None:
            change.put(_NAME, seen)
    if known not in (None, seen):
        raise ConfigError(
            f"the node at {shown_url(url)} is of another ledger, {_shown(seen)}, than this"
            f" data_dir, {_shown(known)}: give it the right node, or another data_dir",
            key="data_dir",
        )


def _shown(ledger: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in ledger.items())
