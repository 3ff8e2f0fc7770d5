"""Prepares of our own to peers, without money: IL-DCP and CCP. Imports _core.

They leave by the switch's control link, and their answers come back there. Promises exactly one
call of `on_answer` for each request: what the peer said, or what the switch says in its place when
the link is down or the time is over.
"""

from collections.abc import Callable

from fastilp._core.books import Account
from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp._core.switch import Switch
from fastilp.errors import DecodeError

OnAnswer = Callable[[Fulfill | Reject], None]

# A peer that does not answer in this time is asked again.
EXPIRY_MS = 10_000
_IDS = 2**32


class Requests:
    """`wake` asks for a turn of the pump."""

    def __init__(self, switch: Switch, wake: Callable[[], None]) -> None:
        self._switch = switch
        self._wake = wake
        self._waiting: dict[int, OnAnswer] = {}
        self._last = 0
        self.on_answered: Callable[[], None] = lambda: None
        """Called after each: what is due next may have changed."""

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, account: Account, prepare: Prepare, on_answer: OnAnswer) -> None:
        """Send it to the account's holder, whatever its destination."""
        self._last = (self._last + 1) % _IDS
        while self._last in self._waiting:
            self._last = (self._last + 1) % _IDS
        self._waiting[self._last] = on_answer
        self._switch.control.receive([(self._last, bytes(prepare))], egress=account)
        self._wake()

    def answered(self, request_id: int, packet: bytes) -> None:
        """The control link has brought an answer."""
        on_answer = self._waiting.pop(request_id, None)
        if on_answer is None:
            return
        try:
            answer = decode(packet)
        except DecodeError as error:
            answer = Reject(code="F01", triggered_by=self._switch.address, message=str(error))
        if not isinstance(answer, Prepare):
            on_answer(answer)
        self.on_answered()
