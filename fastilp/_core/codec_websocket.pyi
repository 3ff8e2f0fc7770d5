CONTINUATION: int
TEXT: int
BINARY: int
CLOSE: int
PING: int
PONG: int

def frame(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    """One final frame of this payload, with the 4 bytes of `mask` as a client (RFC 6455 5.3).
    Raises UsageError for a mask of another length."""
