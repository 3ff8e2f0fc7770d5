"""The journal's file as docs/ledger.md describes it, read and made without anything of fastilp:
what the product makes of its own bytes proves nothing. Imports the standard library only.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

NAME = "journal"
BLOCK = 4096
FORMAT = 2
HEADER_SIZE = 64
# Magic, format, node id, journal id; the checksum of all that is before it ends the 64 bytes.
FILE = struct.Struct("<8sI4x16sQ20xI")
# Magic, format, journal id, sequence, synced, attempt, body size, body's checksum, the header's.
RECORD = struct.Struct("<4sIQQQQQ8xII")
# Format, rows, controls, first ticket, ticket.
BODY = struct.Struct("<HHIIIQQ")
CONTROL = struct.Struct("<II")
# In the database `meta`: journal id, offset, sequence.
TAIL = struct.Struct("<QQQ")
DELETED = 0xFFFFFFFF

Rows = dict[bytes, bytes]
Records = dict[bytes, bytes]


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Found:
    """A record in the file."""

    at: int
    sequence: int
    synced: int
    attempt: int
    body: bytes

    @property
    def end(self) -> int:
        return self.at + -(-(HEADER_SIZE + len(self.body)) // BLOCK) * BLOCK


def record(body: bytes, journal_id: int, sequence: int, *, synced: int | None = None,
           attempt: int | None = None, version: int = FORMAT) -> bytes:  # fmt: skip
    """Whole blocks, as they are appended."""
    synced = sequence - 1 if synced is None else synced
    attempt = sequence if attempt is None else attempt
    fields = (b"ILPR", version, journal_id, sequence, synced, attempt, len(body), crc32c(body))
    header = RECORD.pack(*fields, crc32c(RECORD.pack(*fields, 0)[:-4]))
    return (header + body).ljust(-(-(HEADER_SIZE + len(body)) // BLOCK) * BLOCK, b"\0")


def record_at(data: bytes, at: int, journal_id: int) -> Found | None:
    """The whole record of this journal that begins here."""
    header = data[at : at + HEADER_SIZE]
    if len(header) < HEADER_SIZE or header[:4] != b"ILPR":
        return None
    _, version, found_id, sequence, synced, attempt, size, body_sum, own = RECORD.unpack(header)
    body = data[at + HEADER_SIZE : at + HEADER_SIZE + size]
    if own != crc32c(header[:-4]) or found_id != journal_id or len(body) != size:
        return None
    assert version == FORMAT
    return Found(at, sequence, synced, attempt, body) if body_sum == crc32c(body) else None


def read(directory: Path, meta: dict[bytes, bytes]) -> list[Found]:
    """What the databases do not have: from the tail on that `meta` names, in order."""
    if b"journal" not in meta:
        return []
    journal_id, at, sequence = TAIL.unpack(meta[b"journal"])
    data = (directory / NAME).read_bytes()
    magic, version, node_id, own_id, own = FILE.unpack_from(data)
    assert (magic, version) == (b"fastilpJ", FORMAT)
    assert (node_id, own_id) == (meta[b"node_id"], journal_id), "another journal"
    assert own == crc32c(data[: FILE.size - 4])
    found = []
    while True:
        places = [record_at(data, place, journal_id) for place in (at, BLOCK)]
        candidates = [one for one in places if one is not None and one.sequence == sequence]
        if not candidates:
            return found
        found.append(max(candidates, key=lambda one: one.attempt))
        at, sequence = found[-1].end, sequence + 1


def controls(data: bytes) -> list[tuple[bytes, bytes | None]]:
    found: list[tuple[bytes, bytes | None]] = []
    while data:
        key_size, value_size = CONTROL.unpack_from(data)
        deleted = value_size == DELETED
        key_end = CONTROL.size + key_size
        end = key_end + (0 if deleted else value_size)
        assert end <= len(data), "a control record is cut off"
        found.append((data[CONTROL.size : key_end], None if deleted else data[key_end:end]))
        data = data[end:]
    return found


def apply(body: bytes, rows: Rows, records: Records) -> tuple[int, int]:
    """One journal record: rows are absolute, control records are put or deleted in order. Its first
    ticket and its last."""
    version, _, row_count, control_count, _, first, ticket = BODY.unpack_from(body)
    assert version in (1, FORMAT) and first <= ticket
    end = BODY.size + 128 * row_count
    for at in range(BODY.size, end, 128):
        rows[body[at : at + 16]] = body[at : at + 128]
    changes = controls(body[end:])
    assert len(changes) == control_count
    for key, data in changes:
        if data is None:
            records.pop(key, None)
        else:
            records[key] = data
    return first, ticket


def body(ticket: int, row: bytes, *, version: int = FORMAT) -> bytes:
    """A journal record with one row, and the control record `key` -> `value`."""
    header = BODY.pack(version, 0, 1, 1, 0, ticket, ticket)
    return header + row + CONTROL.pack(3, 5) + b"keyvalue"


def file_header(node_id: bytes, journal_id: int, *, version: int = FORMAT) -> bytes:
    fields = (b"fastilpJ", version, node_id, journal_id)
    return FILE.pack(*fields, crc32c(FILE.pack(*fields, 0)[:-4])).ljust(BLOCK, b"\0")


def tail(journal_id: int, at: int = BLOCK, sequence: int = 1) -> bytes:
    return TAIL.pack(journal_id, at, sequence)
