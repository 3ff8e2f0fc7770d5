from typing import final

@final
class RouteChoices:
    """Groups of next hops; for the switch."""

    def __len__(self) -> int: ...
