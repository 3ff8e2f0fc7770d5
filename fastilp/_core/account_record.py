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
    max_in_flight_amount: int | None


def account_record(handle: _Handle) -> tuple[bytes, bytes]:
    """Key and value for the store."""
    fields = [handle.name, handle.asset_code, handle.asset_scale, handle.kind]
    return ACCOUNT_KEY + handle.id, msgpack.packb([_VERSION, *fields, handle.max_in_flight_amount])


def account_decode(value: bytes) -> tuple[str, str, int, str, int | None]:
    """Name, asset code, asset scale, kind, and max_in_flight_amount of the last run."""
    version, *fields = msgpack.unpackb(value)
    if version != _VERSION:
        raise StorageError(
            f"account record of version {version}; this fastilp reads version {_VERSION}: "
            "use the newer release"
        )
    name, asset_code, asset_scale, kind, max_in_flight_amount = fields
    return name, asset_code, asset_scale, kind, max_in_flight_amount


def crash_entry(
    handle: _Handle, counters: dict[str, int], was_clean: bool
) -> dict[str, object] | None:
    """What the books cannot know of an account after a run that may not have ended cleanly; None
    if they know everything."""
    if handle.kind != "account":
        return None
    bound = None if was_clean else handle.max_in_flight_amount
    left = {
        "in_flight_out": counters["credits_pending"],
        "in_flight_out_bound": bound,
        "in_flight_in": counters["debits_pending"],
        "not_relayed": counters["debits_posted"] - counters["debits_relayed"],
    }
    if not any(left.values()):
        return None
    names = {"account_id": handle.id, "name": handle.name}
    return {
        **names, "asset_code": handle.asset_code, "asset_scale": handle.asset_scale, **left,
    }  # fmt: skip
