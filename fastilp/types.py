"""Small types that several layers share. Imports nothing of fastilp."""

from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

try:
    VERSION = _version("fastilp")
except PackageNotFoundError:
    # Run from a checkout that was built in place and never installed.
    VERSION = "0+checkout"


class Relation(StrEnum):
    """What the holder of an account is to us (RFC 34); the words of Interledger.rs."""

    PARENT = "Parent"
    PEER = "Peer"
    CHILD = "Child"
    NON_ROUTING_ACCOUNT = "NonRoutingAccount"

    @classmethod
    def parse(cls, text: str) -> "Relation":
        """By name, whatever the case. Raises ValueError that names the four."""
        for relation in cls:
            if relation.value.lower() == text.strip().lower():
                return relation
        raise ValueError(f"must be one of {', '.join(cls)}")


class EndpointKind(StrEnum):
    """What answers the packets of an account inside this process, instead of a peer."""

    LOOPBACK = "loopback"
