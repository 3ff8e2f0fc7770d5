"""Where a sender's packets leave: from a payment into the network. Imports _core and errors.

`AccountUplink` hands them to the node's own switch as if the account's holder had sent them: its
limits, rates and balance apply. One serves any number of payments of its account at a time.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from fastilp._core.books import Account
from fastilp._core.packet import Reject
from fastilp._core.switch import Switch
from fastilp.errors import UsageError

Answered = Callable[[bytes], None]

_log = logging.getLogger("fastilp.payments")

_ID_BITS = 32


class Uplink(Protocol):
    """What a sender needs. `address` is the one that money would come back to."""

    @property
    def address(self) -> str: ...
    @property
    def asset_code(self) -> str: ...
    @property
    def asset_scale(self) -> int: ...

    def now_ms(self) -> int:
        """Unix time."""

    def send(self, prepare: bytes, answered: Answered) -> None:
        """`answered` gets the Fulfill or Reject, exactly once, perhaps within this call."""


class AccountUplink:
    """`address` is that of the account, `wake` asks for a turn of the pump."""

    def __init__(
        self,
        switch: Switch,
        account: Account,
        wake: Callable[[], None],
        address: str,
        now_ms: Callable[[], int],
    ) -> None:
        self.address = address
        self.asset_code = account.asset_code
        self.asset_scale = account.asset_scale
        self.now_ms = now_ms
        self._wake = wake
        self._waiting: dict[int, Answered] = {}
        self._next_id = 0
        self._is_closed = False
        # Packets to the account are not for us, though it may have no other link.
        name = f"{account.name}/payments"
        self._link = switch.open_link(account, name=name, local=True, takes=False)
        self._link.owner = self

    @property
    def waiting(self) -> int:
        """Packets that are not answered yet."""
        return len(self._waiting)

    def send(self, prepare: bytes, answered: Answered) -> None:
        if self._is_closed:
            text = "the account is closed"
            answered(bytes(Reject(code="T00", triggered_by=self.address, message=text)))
            return
        while self._next_id in self._waiting:
            self._next_id = (self._next_id + 1) % (1 << _ID_BITS)
        request_id = self._next_id
        self._next_id = (request_id + 1) % (1 << _ID_BITS)
        self._link.receive([(request_id, prepare)])
        self._waiting[request_id] = answered
        self._wake()

    def flush(self, link: object) -> None:
        """Called by the pump: hand out the answers that have come."""
        for request_id, packet in self._link.take():
            answered = self._waiting.pop(request_id, None)
            try:
                if answered is not None:
                    answered(packet)
            except Exception:
                # One payment must not take the others' answers with it.
                _log.exception("an answer was not handled")

    def close(self) -> None:
        """Nothing leaves any more. What is not answered yet never will be: whether it was delivered
        is not known here, and so nobody is told that it was not."""
        self._is_closed = True
        self._link.close()


def checked_secret(shared_secret: bytes) -> bytes:
    """UsageError unless it has 32 bytes (RFC 29, section 4)."""
    if len(shared_secret) != 32:
        raise UsageError(f"a shared secret has 32 bytes, not {len(shared_secret)}")
    return shared_secret
