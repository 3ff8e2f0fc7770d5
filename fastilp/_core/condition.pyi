def check(fulfillments: list[bytes], conditions: list[bytes]) -> list[bool]:
    """SHA-256 of each 32-byte fulfillment against its condition. Raises ValueError for another
    length."""

def kernel() -> str:
    """Name of the implementation chosen at import."""
