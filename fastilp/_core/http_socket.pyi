from collections.abc import Callable

from typing_extensions import Buffer, disjoint_base

@disjoint_base
class HttpSocket:
    """The receiving half of an asyncio.BufferedProtocol; its free room is its buffer."""

    def attach(self, write: Callable[[bytes], None]) -> None:
        """`write` of the transport."""
    def get_buffer(self, sizehint: int) -> Buffer: ...
    def buffer_updated(self, nbytes: int) -> None: ...
    def __len__(self) -> int: ...
