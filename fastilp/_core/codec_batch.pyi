def read(stream: bytes | bytearray | memoryview) -> tuple[list[tuple[int, bytes]], int]:
    """The whole frames at the start of a stream, and how many bytes they took, keep-alives
    included. Raises DecodeError for anything that is not the protocol."""

def frame(request_id: int, packet: bytes | bytearray | memoryview) -> bytes:
    """One frame in its shortest form. Raises UsageError for what the protocol cannot hold."""
