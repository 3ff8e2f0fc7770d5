from typing import final

@final
class Gate:
    """Queue of Fulfills that wait for their commit; for the switch (gate.pxd)."""

    def __len__(self) -> int: ...
