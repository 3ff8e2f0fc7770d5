from typing import Any

def read_request(message: bytes, *, pieces: tuple[int, ...] = ()) -> tuple[str, dict[str, Any]]:
    """What the data plane makes of the beginning of a connection: "done", "more" or "other"; and,
    if it is done, size (of the head), body_size, get, username and token. `pieces`: how many bytes
    had arrived, time after time."""

def read_response(message: bytes, *, pieces: tuple[int, ...] = ()) -> tuple[str, dict[str, Any]]:
    """Likewise of an answer: size, body_size, status, closes, keep_alive_seconds."""

def write_answer(status: int, body_size: int, *, closes: bool = False) -> bytes:
    """The head of an answer with a packet."""
