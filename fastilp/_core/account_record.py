"""The control record that names an account of the ledger, so that its row can be read again.

Plain Python, used when accounts are opened. It may import msgpack and fastilp.errors. A record of a
newer version is refused, never guessed at.
"""

from typing import Protocol

import msgpack

from fastilp.errors import StorageError

ACCOUNT_KEY = b"ledger/account/"
REPORT_KEY = b"ledger/crash_report"
INTERNAL_KINDS = ("exchange", "settlement", "written_off")
_VERSION = 1


class _Handle(Protocol):
    id: bytes
    name: str
    asset_code: str
    asset_scale: int
    kind: str
    max_in_flight_amount: int | None


def account_record(
    handle: _Handle, name: str = "", asset_code: str = "", asset_scale: int = -1
) -> tuple[bytes, bytes]:
    """Key and value for the store; the three fields replace those of the handle."""
    fields = [
        _VERSION,
        name or handle.name,
        asset_code or handle.asset_code,
        handle.asset_scale if asset_scale < 0 else asset_scale,
        handle.kind,
        handle.max_in_flight_amount,
    ]
    return ACCOUNT_KEY + handle.id, msgpack.packb(fields)


def report_record(entries: list[dict[str, object]]) -> tuple[bytes, bytes]:
    """Key and value of a crash report that nobody has acknowledged yet. Amounts go as text: they
    have up to 128 bits, MessagePack's integers 64."""
    wide = [
        {key: str(value) if isinstance(value, int) else value for key, value in entry.items()}
        for entry in entries
    ]
    return REPORT_KEY, msgpack.packb([_VERSION, wide])


def report_decode(value: bytes | None) -> list[dict[str, object]]:
    """The entries of a report, [] if there is none."""
    if value is None:
        return []
    version, entries = msgpack.unpackb(value)
    _check_version(version)
    texts = ("account_id", "name", "asset_code")
    return [
        {key: int(value) if value and key not in texts else value for key, value in entry.items()}
        for entry in entries
    ]


def _check_version(version: int) -> None:
    if version != _VERSION:
        raise StorageError(
            f"ledger record of version {version}; this fastilp reads version {_VERSION}: "
            "use the newer release"
        )


def account_decode(value: bytes) -> tuple[str, str, int, str, int | None]:
    """Name, asset code, asset scale, kind, and max_in_flight_amount of the last run."""
    version, *fields = msgpack.unpackb(value)
    _check_version(version)
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
