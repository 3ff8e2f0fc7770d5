"""The control record that names an account of the ledger, so that its row can be read again.

Plain Python, used when accounts are opened. It may import msgpack and fastilp.errors. A record of a
newer version is refused, never guessed at.
"""

from typing import Protocol

import msgpack

from fastilp.errors import StorageError

ACCOUNT_KEY = b"ledger/account/"
_VERSION = 1


class _Handle(Protocol):
    id: bytes
    name: str
    asset_code: str
    asset_scale: int
    kind: str


def account_record(handle: _Handle) -> tuple[bytes, bytes]:
    """Key and value for the store."""
    fields = [_VERSION, handle.name, handle.asset_code, handle.asset_scale, handle.kind]
    return ACCOUNT_KEY + handle.id, msgpack.packb(fields)


def account_decode(value: bytes) -> tuple[str, str, int, str]:
    """Name, asset code, asset scale and kind."""
    version, *fields = msgpack.unpackb(value)
    if version != _VERSION:
        raise StorageError(
            f"account record of version {version}; this fastilp reads version {_VERSION}: "
            "use the newer release"
        )
    name, asset_code, asset_scale, kind = fields
    return name, asset_code, asset_scale, kind
