from typing import Final, final

from fastilp._core.link import Connection, Link

READ_MORE: Final[int]
"""All that came was read."""
READ_OTHER: Final[int]
"""Something that is not a packet: take `other`, then `read` on."""
READ_HELD: Final[int]
"""This link has brought its share of the turn: stop reading the socket, and `read` on after
`Switch.process`."""
READ_FAULT: Final[int]
"""The peer broke the protocol, see `fault`; nothing more is read."""

@final
class BtpConnection(Connection):
    """One BTP socket after its WebSocket handshake, at first without an account (Switch.accept).
    `get_buffer` and `buffer_updated` are those of asyncio.BufferedProtocol."""

    masked: bool
    """We are the WebSocket client: what we send is masked, what comes must not be."""
    message_size_max: int
    """Bytes of one message, in one frame or in many."""
    def open(self, *, masked: bool, message_size_max: int = 66_559) -> None:
        """Say so before the first byte."""
    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """Where the next bytes of the stream go. Release it before the call after next."""
    def buffer_updated(self, size: int) -> int:
        """So many bytes were written there: returns what `read` does."""
    def read(self) -> int:
        """Read what has come: packets become rows of the batch, up to the first frame that is
        something else. One of the READ_ numbers. Never raises on peer bytes."""
    def other(self) -> tuple[int, bytes] | None:
        """What READ_OTHER stands for: the opcode CLOSE or PING and its payload, or BINARY and a
        whole message, be it that it holds no packet or that no link is bound yet."""
    def fault(self) -> tuple[int, str]:
        """Close code (RFC 6455 7.4.1) and text of READ_FAULT."""
    def feed(self, message: bytes | bytearray | memoryview) -> tuple[int, int, bytes] | None:
        """One message from elsewhere. A Prepare or an answer on a bound connection becomes a row:
        None. Anything else is the shell's: (type, request_id, whole message); type 0 = unreadable.
        Never raises on peer bytes."""
    def bind(self, link: Link, *, masked: bool) -> None:
        """Attach to a btp link after the hello; a connection that was bound to the link before is
        unbound. `masked`: we are the WebSocket client."""
