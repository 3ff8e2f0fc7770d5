from typing import final

@final
class InFlightTable:
    """Forwarded Prepares, for the switch (inflight.pxd). `capacity` is a power of two."""

    def __new__(cls, capacity: int, first_generation: int = 0) -> InFlightTable: ...
    def __len__(self) -> int: ...
