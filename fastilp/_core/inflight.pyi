from typing import final

@final
class InFlightTable:
    """Forwarded Prepares; its operations are for the switch (inflight.pxd). `capacity` is a power of two."""

    def __init__(self, capacity: int, first_generation: int = 0) -> None: ...
    def __len__(self) -> int: ...
