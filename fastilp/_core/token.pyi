BODY_SIZE: int
BODY_RECEIPTS_SIZE: int
CHECK_SIZE: int

def token_check(key: bytes, body: bytes) -> bytes:
    """The 11 base64url characters that follow a token's body: SipHash-2-4 under a key of 16 bytes.
    Raises UsageError for another size of key."""

def has_token(key: bytes, address: bytes) -> bool:
    """Whether the last segment of a valid address is a token made with this key, with a body of one
    of the two sizes."""
