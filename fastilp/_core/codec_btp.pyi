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

def decode(message: bytes) -> Message:
    """Any BTP message. Raises DecodeError. `code`, `name`, `triggered_at`, `data` are set for an Error, `amount` for a Transfer."""

def encode(type: int, request_id: int, entries: list[Entry], *, code: str = "", name: str = "", triggered_at: str = "", data: bytes = b"", amount: int = 0) -> bytes:
    """A BTP message (not a WebSocket frame), canonical."""
