"""Control records with types: what a key and its bytes mean. The records themselves are in `kinds`.

A record is one byte of version and a MessagePack map, under the key `<kind>/<name>`; what has its
default is left out. A kind knows its newest version and how to raise an older one; a newer one is
refused, because a fastilp that does not know a field must not drop it. May import `_core`, errors
and types; promises that `unpack` returns a whole record or raises StorageError.
"""

import dataclasses
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Generic, Protocol, TypeVar

import msgpack

from fastilp.errors import StorageError, UsageError

Record = TypeVar("Record")
Fields = dict[str, Any]

# LMDB's limit.
_KEY_SIZE_MAX = 511
# Integers that MessagePack cannot hold: two's complement, big-endian, as short as it goes.
_WIDE_INTEGER = 1
_MESSAGEPACK_MIN, _MESSAGEPACK_MAX = -(2**63), 2**64 - 1


class Reader(Protocol):
    """The part of `_core.store.Store` that reading needs."""

    def get(self, key: bytes) -> bytes | None: ...
    def items(
        self, prefix: bytes = b"", after: bytes = b"", limit: int = -1
    ) -> Iterator[tuple[bytes, bytes]]: ...


class Kind(Generic[Record]):
    """Records of one dataclass. `upgrades[n]` turns the fields of version n + 1 into those of n
    + 2, so the newest version is one more than there are upgrades."""

    def __init__(
        self,
        name: str,
        type_: Callable[..., Record],
        key: Callable[[Record], str],
        upgrades: tuple[Callable[[Fields], Fields], ...] = (),
    ) -> None:
        self.name = name
        self.prefix = f"{name}/".encode()
        self.version = len(upgrades) + 1
        self._type = type_
        # A default that changes needs a new version.
        self._defaults = tuple(
            (field.name, field.default)
            for field in dataclasses.fields(type_)  # type: ignore[arg-type]
        )
        self._key = key
        self._upgrades = upgrades

    def key(self, name: str) -> bytes:
        """Names that are too long for a key (an ILP prefix may be) go by their hash."""
        encoded = name.encode()
        if len(self.prefix) + len(encoded) > _KEY_SIZE_MAX:
            encoded = b"\0" + sha256(encoded).digest()
        return self.prefix + encoded

    def put(self, record: Record) -> tuple[bytes, bytes]:
        """Key and value, for the `puts` of `Ledger.transact`."""
        fields = {
            name: _to_messagepack(value)
            for name, default in self._defaults
            if (value := getattr(record, name)) != default or type(value) is not type(default)
        }
        return self.key(self._key(record)), bytes([self.version]) + msgpack.packb(fields)

    def unpack(self, key: bytes, value: bytes) -> Record:
        fields = self.fields(key, value)
        try:
            return self._type(**fields)
        except (TypeError, ValueError) as error:
            raise StorageError(f"record {key!r} is not a whole {self.name}: {error}") from error

    def fields(self, key: bytes, value: bytes) -> Fields:
        """Unchecked: for readers of very many. What has its default is absent."""
        version = value[0] if value else 0
        if version > self.version:
            raise StorageError(
                f"record {key!r} has version {version}, this fastilp reads {self.name} records "
                f"up to version {self.version}; use the fastilp that wrote it, or a newer one"
            )
        try:
            fields: Fields = msgpack.unpackb(value[1:], ext_hook=_from_extension)
        except (ValueError, msgpack.UnpackException) as error:
            raise StorageError(f"record {key!r} is damaged: {error}") from error
        if version == 0 or not isinstance(fields, dict):
            raise StorageError(f"record {key!r} is damaged: it is no {self.name}")
        for upgrade in self._upgrades[version - 1 :]:
            fields = upgrade(fields)
        return fields

    def raw(self, store: Reader, beginning: str = "") -> Iterator[tuple[bytes, bytes, Fields]]:
        """Key, value and fields of all records, or of those whose names begin so."""
        for key, value in store.items(self.prefix + beginning.encode()):
            yield key, value, self.fields(key, value)

    def get(self, store: Reader, name: str) -> Record | None:
        key = self.key(name)
        value = store.get(key)
        return None if value is None else self.unpack(key, value)

    def page(self, store: Reader, beginning: str, after: str, limit: int) -> Iterator[Record]:
        """The first `limit` of those whose names begin so and come behind `after`, in the order of
        their keys."""
        behind = self.key(after) if after else b""
        for key, value in store.items(self.prefix + beginning.encode(), behind, limit):
            yield self.unpack(key, value)

    def items(self, store: Reader) -> Iterator[Record]:
        """All of this kind, in the order of their keys."""
        for key, value in store.items(self.prefix):
            yield self.unpack(key, value)


def _to_messagepack(value: object) -> object:
    if isinstance(value, int) and not _MESSAGEPACK_MIN <= value <= _MESSAGEPACK_MAX:
        size = value.bit_length() // 8 + 1
        return msgpack.ExtType(_WIDE_INTEGER, value.to_bytes(size, "big", signed=True))
    if isinstance(value, bool | int | str | bytes | None):
        return value
    raise UsageError(f"a record holds numbers, texts and bytes, not {type(value).__name__}")


def _from_extension(code: int, data: bytes) -> int:
    if code != _WIDE_INTEGER:
        raise ValueError(f"unknown extension type {code}")
    return int.from_bytes(data, "big", signed=True)
