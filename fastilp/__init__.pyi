"""The public names of fastilp, for type checkers."""

from fastilp._core.books import Account
from fastilp._core.connection_batch import BatchConnection
from fastilp._core.connection_btp import BtpConnection
from fastilp._core.link import Connection, Link
from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp._core.switch import Switch
from fastilp.errors import (
    ConfigError,
    ConflictError,
    DecodeError,
    FastILPError,
    InternalError,
    ProtocolError,
    StorageError,
    UsageError,
)
from fastilp.storage.ledger import Ledger

__all__ = [
    "Account",
    "BatchConnection",
    "BtpConnection",
    "ConfigError",
    "ConflictError",
    "Connection",
    "DecodeError",
    "FastILPError",
    "Fulfill",
    "InternalError",
    "Ledger",
    "Link",
    "Prepare",
    "ProtocolError",
    "Reject",
    "StorageError",
    "Switch",
    "UsageError",
    "decode",
]
