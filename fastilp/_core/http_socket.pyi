import asyncio

from typing_extensions import Buffer, disjoint_base

from fastilp._core.poller import Polled, Poller

@disjoint_base
class HttpSocket(Polled):
    """The socket side of an asyncio.BufferedProtocol; its free room is its buffer."""

    reading_paused: bool
    def attach(self, transport: asyncio.Transport, poller: Poller | None = None) -> None:
        """The transport owns the socket. With a poller (and without TLS) it only begins and ends
        the connection; in between the socket is read and written here."""
    def detach(self) -> None:
        """The transport does everything from now on; if there was a poller, its reading is
        paused. Before the socket is closed or given away."""
    def pause(self) -> None:
        """Read no more for now."""
    def resume(self) -> None:
        """Read on."""
    def get_buffer(self, sizehint: int) -> Buffer: ...
    def buffer_updated(self, nbytes: int) -> None: ...
    def __len__(self) -> int: ...
