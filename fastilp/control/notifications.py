"""Payments that arrive, for those who listen: one message per fulfilled packet, as Interledger.rs
has it. Imports nothing of fastilp but _core.

A listener that does not read loses what is too much for its queue, and is told how much.
"""

import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from fastilp._core.books import Account

# As many as Interledger.rs keeps for a listener.
QUEUE_MAX = 256


class Incoming(Protocol):
    """One packet that was fulfilled here; the STREAM receiver makes it."""

    @property
    def to_account(self) -> Account: ...
    @property
    def from_account(self) -> Account | None: ...
    @property
    def destination(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def connection_closed(self) -> bool: ...


class Listener:
    """What one listener has not taken yet. `on_more` is called when there is something again,
    `on_end` when there will be no more."""

    def __init__(self, forget: Callable[["Listener"], None], *, is_wrapped: bool) -> None:
        self.on_more: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._forget = forget
        self._is_wrapped = is_wrapped
        self._waiting: deque[str] = deque()
        self._lost = 0

    def put(self, message: str) -> None:
        if len(self._waiting) >= QUEUE_MAX:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(message)
        if self.on_more is not None:
            self.on_more()

    def take(self) -> list[str]:
        """The messages that wait, each a JSON text."""
        found = [f'{{"Ok":{each}}}' if self._is_wrapped else each for each in self._waiting]
        self._waiting.clear()
        if self._lost:
            # To one account's listener there is no such message in Interledger.rs: whoever
            # expects a payment does not find the fields of one.
            found.insert(0, json.dumps({"Err": f"channel lagged by {self._lost}"}))
            self._lost = 0
        return found

    def close(self) -> None:
        self.on_more = self.on_end = None
        self._forget(self)


class Notifications:
    """`received` is told of every packet; `listen` makes a listener of one account, or of all."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._of_all: set[Listener] = set()
        self._of_account: dict[bytes, set[Listener]] = {}

    def __len__(self) -> int:
        return len(self._of_all) + sum(map(len, self._of_account.values()))

    def listen(self, account: Account | None) -> Listener:
        if account is None:
            listener = Listener(self._of_all.discard, is_wrapped=True)
            self._of_all.add(listener)
            return listener
        account_id = account.id
        listener = Listener(lambda each: self._forget(account_id, each), is_wrapped=False)
        self._of_account.setdefault(account_id, set()).add(listener)
        return listener

    def end(self, account_id: bytes) -> None:
        """The account is gone."""
        for listener in list(self._of_account.get(account_id, ())):
            if listener.on_end is not None:
                listener.on_end()

    def received(self, incoming: Incoming) -> None:
        """Called for every packet: next to nothing where nobody listens."""
        listeners = self._of_account.get(incoming.to_account.id)
        if not listeners and not self._of_all:
            return
        message = self._message(incoming)
        for listener in (*(listeners or ()), *self._of_all):
            listener.put(message)

    def _message(self, incoming: Incoming) -> str:
        sender = incoming.from_account
        fields = {
            "to_username": incoming.to_account.name,
            "from_username": incoming.to_account.name if sender is None else sender.name,
            "destination": incoming.destination,
            "amount": incoming.amount,
            "timestamp": self._now().isoformat(),
            "sequence": incoming.sequence,
            "connection_closed": incoming.connection_closed,
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    def _forget(self, account_id: bytes, listener: Listener) -> None:
        listeners = self._of_account.get(account_id)
        if listeners is not None:
            listeners.discard(listener)
            if not listeners:
                del self._of_account[account_id]
