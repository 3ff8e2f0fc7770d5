def check(fulfillments: list[bytes], conditions: list[bytes]) -> list[bool]:
    """SHA-256 of each 32-byte fulfillment against its condition. Raises ValueError for another
    length."""

def count_matches(fulfillments: bytes, conditions: bytes) -> int:
    """Of columns of 32 bytes a row, how many rows match."""

def kernel() -> str:
    """Name of the implementation chosen at import."""

def kernels() -> list[str]:
    """Names of those that this machine can run, fastest first."""
