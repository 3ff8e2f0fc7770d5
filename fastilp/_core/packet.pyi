from datetime import datetime
from typing import final

@final
class Prepare:
    """ILPv4 Prepare (RFC 27). `expires_at`: aware datetime or Unix milliseconds; reads back as UTC datetime."""

    def __init__(
        self,
        *,
        amount: int,
        expires_at: datetime | int,
        execution_condition: bytes,
        destination: str,
        data: bytes = b"",
    ) -> None: ...
    amount: int
    expires_at: datetime
    expires_at_ms: int
    execution_condition: bytes
    destination: str
    data: bytes
    def __bytes__(self) -> bytes: ...
    @staticmethod
    def decode(buffer: bytes | bytearray | memoryview) -> Prepare: ...

@final
class Fulfill:
    def __init__(self, *, fulfillment: bytes, data: bytes = b"") -> None: ...
    fulfillment: bytes
    data: bytes
    def __bytes__(self) -> bytes: ...
    @staticmethod
    def decode(buffer: bytes | bytearray | memoryview) -> Fulfill: ...

@final
class Reject:
    def __init__(self, *, code: str, triggered_by: str = "", message: str = "", data: bytes = b"") -> None: ...
    code: str
    triggered_by: str
    message: str
    data: bytes
    def __bytes__(self) -> bytes: ...
    @staticmethod
    def decode(buffer: bytes | bytearray | memoryview) -> Reject: ...

def decode(buffer: bytes | bytearray | memoryview) -> Prepare | Fulfill | Reject:
    """Any of the three by its type byte. Raises fastilp.DecodeError."""

def is_valid_address(address: str) -> bool: ...
def is_valid_prefix(prefix: str) -> bool: ...
