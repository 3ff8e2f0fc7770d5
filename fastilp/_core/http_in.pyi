from collections.abc import Callable
from typing import final

from typing_extensions import disjoint_base

from fastilp._core.http_socket import HttpSocket
from fastilp._core.link import Link, LinkOwner

@final
class HttpExchanges(LinkOwner):
    """One account's requests that wait for an answer; owner of its link. `is_invalid` says of a
    Reject with F01 whether it is our own answer to something that is no Prepare, which HTTP calls
    400. `take_others` gets (request id, packet) of what is on the link and no answer to one of the
    requests: Prepares, and packets whose request id has the top bit set."""

    link: Link
    waiting: int
    def __init__(
        self,
        link: Link,
        is_invalid: Callable[[bytes], bool],
        take_others: Callable[[list[tuple[int, bytes]]], None],
    ) -> None: ...
    def abandon(self, answer: bytes) -> None:
        """Give every request that waits this whole HTTP answer."""

@final
class HttpAccess:
    """What the connections of one listener share: whose credentials are whose, and the limits.

    `find(username, token)`: the account's exchanges, asked once for each good pair until `forget`.
    `refusal()`: the packet for a body that is no Prepare. `wake()`: rows wait for a turn."""

    now: float
    def __init__(
        self,
        *,
        find: Callable[[str | None, str], HttpExchanges | None],
        refusal: Callable[[], bytes],
        wake: Callable[[], None],
        head_size_max: int,
        body_size_max: int,
        requests_in_flight_max: int,
    ) -> None: ...
    def forget(self) -> None:
        """A token has changed."""

@disjoint_base
class HttpConnection(HttpSocket):
    """One accepted socket, as long as it sends nothing but requests in the shape of ILP peers. To
    be subclassed by the shell."""

    closed: bool
    """Nothing is written any more."""
    last: bool
    """No request is taken any more."""
    leaving: bool
    """Another shape has come: the rest is handed over once all answers are out."""
    busy: bool
    """Too many requests wait for an answer."""
    waiting: int
    idle_since: float
    """`HttpAccess.now` when an answer was written last."""
    reading_since: float
    """Likewise, when a request began that is not complete; 0 between requests."""
    def __init__(self, access: HttpAccess) -> None: ...
    def hand_over(self, received: bytes) -> None:
        """For the subclass: all answers are out; the connection and these bytes are its now."""
    def finished(self) -> None:
        """For the subclass: after `end`, all answers are out."""
    def regulate(self) -> None:
        """For the subclass: `busy` or `leaving` has changed."""
    def leave(self) -> None:
        """Hand over once all answers are out."""
    def end(self) -> None:
        """Take no request any more."""
    def lost(self) -> None:
        """The socket has gone."""
