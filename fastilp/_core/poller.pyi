from collections.abc import Callable
from typing import final

from typing_extensions import disjoint_base

@disjoint_base
class Polled:
    """Something with a socket that a Poller watches."""

@final
class Poller:
    """Watches the sockets of one event loop that are read by the core. `wake()` is called when
    rows have come in. Raises OSError where the system has no more descriptors."""

    def __init__(self, wake: Callable[[], None]) -> None: ...
    def fileno(self) -> int:
        """Readable when `serve` has something to do."""
    def serve(self) -> None:
        """Read what is readable."""
    def close(self) -> None: ...
