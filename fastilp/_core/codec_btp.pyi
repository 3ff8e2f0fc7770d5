from typing import NamedTuple

class Entry(NamedTuple):
    name: str
    content_type: int
    data: bytes

class Message(NamedTuple):
    type: int
    request_id: int
    entries: list[Entry]
    code: str
    name: str
    triggered_at: str
    data: bytes
    amount: int

def decode(message: bytes | bytearray | memoryview) -> Message:
    """Any BTP message. Raises DecodeError. `code`, `name`, `triggered_at`, `data` are set for an
    Error, `amount` for a Transfer."""

def encode(
    type: int,
    request_id: int,
    entries: list[Entry],
    *,
    code: str = "",
    name: str = "",
    triggered_at: str = "",
    data: bytes = b"",
    amount: int = 0,
) -> bytes:
    """A BTP message (not a WebSocket frame), canonical. Raises UsageError."""

def read(message: bytes | bytearray | memoryview) -> tuple[int, int, bytes | None]:
    """(type, request_id, packet) as the data plane sees a message; packet is None without an `ilp`
    entry. Raises DecodeError."""

def frame(type: int, request_id: int, packet: bytes, mask: bytes | None = None) -> bytes:
    """The WebSocket frame that the data plane sends for a packet. `mask`: 4 bytes, as a client."""
