"""ILP-over-HTTP, the sending side: Prepares of one link go to the account's URL. Imports _core and transports only.

sender = HttpSender(switch.open_link(bob, name="http-out"), pump, "https://b.example/accounts/a/ilp", "secret")
switch.set_egress(bob, sender.link)
"""

import ssl
from dataclasses import dataclass

from fastilp._core.link import Link
from fastilp.transports.pump import Pump


@dataclass(frozen=True, slots=True)
class HttpSenderLimits:
    connections_max: int = 32
    queue_size_max: int = 16_384
    """Prepares that wait for a connection; above it they are rejected with T02."""
    response_size_max: int = 65_535
    connect_seconds: float = 10.0
    answer_seconds: float = 35.0
    """A connection without an answer for this long is closed; the switch has rejected the Prepare long before."""
    idle_seconds: float = 60.0


class HttpSender:
    """Owner of one http-out message link. Never sends a Prepare twice. Raises UsageError for a URL that is not
    http:// or https://."""

    link: Link
    last_error: str
    """Why the last Prepare could not be delivered; empty if it could."""

    def __init__(
        self,
        link: Link,
        pump: Pump,
        url: str,
        token: str,
        *,
        limits: HttpSenderLimits | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None: ...

    def flush(self, link: Link) -> None:
        """Called by the pump."""

    def close(self) -> None:
        """Close all connections; what waits for an answer is rejected with T01. The link stays the caller's."""
