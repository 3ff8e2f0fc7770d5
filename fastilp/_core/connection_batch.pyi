from typing import final

from fastilp._core.link import Connection, Link

@final
class BatchConnection(Connection):
    """One socket of the batch protocol, at first without an account (Switch.accept("batch")).
    `get_buffer` and `buffer_updated` are those of asyncio.BufferedProtocol."""

    fault: str
    """Why nothing more is read; empty while everything was the protocol."""
    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """Where the next bytes of the stream go. Release it before the call after next."""
    def buffer_updated(self, size: int) -> bool:
        """So many bytes were written there. Whole frames become rows of the batch. False: stop
        reading; for good where `fault` is set, else until the switch has had its turn, because the
        buffer was full and other links want one too. Never raises on peer bytes."""
    def read(self) -> bool:
        """Read on after the switch's turn: frames that did not fit into it. Returns what
        `buffer_updated` does."""
    def received(self) -> bytes:
        """What came and was not read: before `bind` the peer's hello, at most 4,096 bytes of
        it."""
    def bind(self, link: Link, hello_size: int = 0) -> bool:
        """Attach to a batch link after the hello, which took the first `hello_size` bytes; what
        came behind it is read. A connection that was bound to the link before is unbound. Returns
        what `buffer_updated` does."""
