from collections.abc import Callable
from typing import Any, final

from typing_extensions import disjoint_base

from fastilp._core.http_socket import HttpSocket
from fastilp._core.link import Link, LinkOwner

@disjoint_base
class HttpPool:
    """The connections to one host and port that wait for no answer: whichever account's Prepare
    comes next takes one. `depth`: requests at a time on one connection, all of one account. To be
    subclassed by the shell. Raises UsageError for a depth that is none."""

    depth: int
    now: float
    """Set by the shell now and then; what time-outs are measured by."""
    def __init__(self, *, depth: int) -> None: ...
    def waiting_owners(self) -> list[Any]:
        """Of the outlets that wait for a connection, and may have one more."""

@final
class HttpOutlet(LinkOwner):
    """The Prepares of one http-out link on their way to connections; owner of the link. `owner`:
    the shell of it, asked to `open_more()` connections while Prepares wait for one, and told of
    `refused(ids)`, for which the queue has no room; `head`: of every request, up to and with
    `Content-Length: `."""

    link: Link
    owner: Any
    carrying: int
    """Connections with requests of this outlet, of which `connections_max` is the bound."""
    last_error: str
    """Why the last Prepare was not answered; an answer empties it."""
    queue_count: int
    """Prepares that wait for a connection."""
    def __init__(
        self,
        link: Link,
        pool: HttpPool,
        owner: object,
        head: bytes,
        wake: Callable[[], None],
        *,
        connections_max: int,
        queue_count_max: int,
        queue_size_max: int,
    ) -> None: ...
    def close(self) -> None:
        """It waits for no connection any more, and has no owner."""
    def drop_queue(self, expired_before: bytes | None = None) -> list[int]:
        """Forget what waits for a connection, or of it what expired before this time (17 digits).
        Returns the request ids."""

@disjoint_base
class HttpClientConnection(HttpSocket):
    """One socket of the pool. To be subclassed by the shell."""

    outlet: HttpOutlet | None
    """Whose requests it carries; none while it waits for no answer."""
    waiting: int
    """Requests that were written and not answered."""
    idle_since: float
    keep_alive_seconds: float
    """How long it may be idle, as the server says; infinite if it does not."""
    expiry: bytes
    """Of the oldest request without an answer, 17 digits; empty if there is none."""
    def __init__(self, pool: HttpPool) -> None: ...
    def answered(self, request_id: int, status: int, body: bytes) -> None:
        """For the subclass: an answer that is no packet, or not with status 200."""
    def other(self, received: bytes) -> None:
        """For the subclass: bytes for the full parser, as all that follow on this connection."""
    def failed(self, error: str) -> None:
        """For the subclass: the peer broke the protocol; withdraw and hang up."""
    def retire(self) -> None:
        """For the subclass: the peer will close this connection; withdraw and hang up."""
    def opened(self) -> None:
        """It can take requests."""
    def pop(self) -> int:
        """The id of the oldest request without an answer, for the full parser. IndexError."""
    def offer(self) -> None:
        """It can take the next request (after `pop`)."""
    def withdraw(self) -> None:
        """It takes no request any more."""
    def lost(self) -> list[int]:
        """The socket has gone. Returns the ids of the requests without an answer."""
