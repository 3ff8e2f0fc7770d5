from typing_extensions import disjoint_base

from fastilp._core.admission import Admission
from fastilp._core.books import Account
from fastilp._core.link import Link

@disjoint_base
class Terminal(Admission):
    """Prepares that may end at this node."""

    @property
    def terminal(self) -> Link:
        """In-process link without an account: what may end here comes out of it, and answers go in.
        That are Prepares to an address whose last segment is a token of ours, and all Prepares for
        an account without a link.
        A Prepare that goes in with the id of one that came out is that one, not mine: it goes on to
        the account's own link, or is answered F06 where there is none. Set `up` to open it."""
    def set_token_key(self, key: bytes) -> None:
        """The key of tokens (`fastilp._core.token`) that lead to the terminal link: 16 bytes.
        Raises UsageError."""
    def take_terminal(self, now_ms: int) -> list[tuple[int, bytes, Account | None, Account]]:
        """(request id, Prepare, account it came from, account it is for) of all that waits on the
        terminal link and has not expired at `now_ms`. The account is None for packets of control's
        own. A right Fulfill that is handed in before the next `process` always counts, however late
        that comes: whoever makes it may rely on it at once."""
