"""BTP 2.0 over WebSocket: what both sides share. Imports _core and transports only.

A `BtpPort` is the account's side of it and outlives connections: control opens a "btp" link, makes a port of it and
puts it into the token table (peers that dial us), hands it to a `BtpDialler` (peers that we dial), or both.

    port = BtpPort(switch.open_link(alice, kind="btp", name="btp"), pump)
    btp_tokens.put("alice", "alice-password", port)
"""

from collections.abc import Callable

from fastilp._core.link import Link
from fastilp.transports.pump import Pump


class BtpPort:
    """Owner of one btp link; at most one connection at a time carries it, a newer one replaces it."""

    link: Link
    up: bool

    def __init__(
        self, link: Link, pump: Pump, on_change: Callable[["BtpPort"], None] | None = None
    ) -> None:
        """`on_change`: called when `up` changes."""

    def flush(self, link: Link) -> None:
        """Called by the pump."""

    def disconnect(self) -> None:
        """Close the connection, if there is one; the peer may come again."""

    def close(self) -> None:
        """Close the connection and the link, for good."""
