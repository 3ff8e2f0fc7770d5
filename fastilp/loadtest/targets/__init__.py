"""What can be loaded: one module per connector, which starts, configures, pins and stops it.

Imports the loadtest modules and errors. A target that this machine cannot start says why.
"""

from collections.abc import Callable

from fastilp.errors import UsageError
from fastilp.loadtest.targets.base import Target
from fastilp.loadtest.targets.direct import Direct
from fastilp.loadtest.targets.fastilp import FastilpNode
from fastilp.loadtest.targets.ilp_connector import IlpConnector
from fastilp.loadtest.targets.interledger_rs import InterledgerRs
from fastilp.loadtest.targets.nginx import Nginx

TARGETS: dict[str, Callable[[], Target]] = {
    "fastilp": FastilpNode,
    "ilp-connector": IlpConnector,
    "interledger-rs": InterledgerRs,
    "nginx": Nginx,
    "direct": Direct,
}


def target(name: str) -> Target:
    if name not in TARGETS:
        raise UsageError(f"{name!r} is no target; there are: {', '.join(TARGETS)}")
    return TARGETS[name]()


__all__ = ["TARGETS", "Target", "target"]
