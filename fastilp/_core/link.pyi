from collections.abc import Iterable
from typing import Any, final

from typing_extensions import disjoint_base

from fastilp._core.books import Account

@final
class Link:
    """A logical channel of an account. `kind` is "message" (whole packets in Python, also used by
    the HTTP shells), "btp" (WebSocket frames built by the core) or "batch" (MessagePack frames
    built by the core)."""

    account: Account | None
    name: str
    kind: str
    up: bool
    """Settable for message links; the others are up while a connection is bound to them."""
    egress_size: int
    """Bytes waiting to be taken."""
    in_flight: int
    """Prepares sent on this link and unanswered."""
    owner: Any
    """Free for the shell: `Switch.flush_links` calls `link.owner.flush(link)` when the link is
    dirty."""
    def receive(self, packets: Iterable[tuple[int, bytes]], egress: Account | None = None) -> None:
        """Hand in packets with the peer's request ids (0 .. 2**32 - 1), whatever their type; they
        are looked at in Switch.process. An answer repeats the id of the Prepare it answers.
        `egress` (in-process links only) sends these Prepares to that account without own-address
        check and routing. Raises UsageError for a packet over 65,535 bytes or a closed link, never
        for what the packet says."""
    def take(self) -> list[tuple[int, bytes]]:
        """Message links: what waits to be sent, in order."""
    def take_bytes(self) -> bytes:
        """btp and batch links: frames waiting to be written on the bound connection, in order."""
    def close(self) -> None: ...

@disjoint_base
class LinkOwner:
    """An owner that the core itself has, and flushes without a call of Python: nothing to be
    subclassed there."""

    def flush(self, link: Link) -> None:
        """Take what waits on the link, and write it."""

@disjoint_base
class Connection:
    """One socket and its parser, at first without an account (Switch.accept)."""

    link: Link | None
    def close(self) -> None:
        """The socket has gone. What is in flight on the link stays until answered or expired."""
