"""Where each peer is paid, and by which note its own payments are known. Imports the neighbours.

PayPal shows the payee the note that the payer gives a payout. Each account has a note of its own,
drawn by chance and kept for ever, so that a payment that comes late is still whose it was.

A peer who shows somebody else's email is paid there, as it wished; nothing has to be proven.
"""

import re
import secrets
from typing import Any, NamedTuple

import orjson

from fastilp.engines.context import Context, OwnChange, Records
from fastilp.engines.errors import EngineError
from fastilp.engines.parking import credit_parked
from fastilp.engines.paypal.settings import email_of
from fastilp.errors import DecodeError

QUESTION = {"type": "paymentDetails"}
NOTE = re.compile(r"ILP-[0-9a-f]{32}")


class Details(NamedTuple):
    """Where to pay, and with which note."""

    email: str
    note: str


class PeerAccounts:
    def __init__(self, context: Context, email: str, currency: str, scale: int) -> None:
        self._context = context
        self._email = email
        self._currency = currency
        self._scale = scale

    async def begin(self, account_id: str) -> None:
        """Returns when the peer has told where to pay. Raises NotNowError, EngineError."""
        with self._context.change() as change:
            note = _own_note(change, account_id)
            change.put(f"account/{account_id}", {"note": note, "closed": False})
            credit_parked(change, account_id, note, self._scale)
        await self.details(account_id)

    async def details(self, account_id: str) -> Details:
        """Raises NotNowError, EngineError."""
        with self._context.read() as records:
            known = records.get(f"peer/{account_id}")
        if known is not None:
            return Details(known["email"], known["note"])
        raw = await self._context.message(account_id, orjson.dumps(QUESTION))
        try:
            told = self._told(_decoded(raw))
        except DecodeError as error:
            raise EngineError(f"the peer's engine answered wrongly: {error}") from None
        if told.email == self._email:
            raise EngineError("the peer has our own email: each engine needs its own account")
        with self._context.change() as change:
            change.put(f"peer/{account_id}", told._asdict())
        return told

    def receive(self, account_id: str, message: bytes) -> bytes:
        """Raises EngineError."""
        try:
            question = _decoded(message)
        except DecodeError as error:
            raise EngineError(str(error), status=400) from None
        if question.get("type") != QUESTION["type"]:
            raise EngineError("Invalid message type", status=400)
        with self._context.change() as change:
            note = _own_note(change, account_id)
        answer = {"ppEmail": self._email, "tag": note, "currency": self._currency}
        return orjson.dumps(answer)

    def forget(self, account_id: str) -> None:
        """Payments with its note are parked from now on; the note will be nobody else's."""
        with self._context.change() as change:
            known = change.get(f"account/{account_id}")
            if known is not None:
                change.put(f"account/{account_id}", known | {"closed": True})
            change.delete(f"peer/{account_id}")

    def _told(self, answer: dict[str, Any]) -> Details:
        note, currency = answer.get("tag"), answer.get("currency")
        if not isinstance(note, str) or not NOTE.fullmatch(note):
            raise DecodeError('"tag" must be ILP- and 32 hex digits')
        if currency != self._currency:
            shown = str(currency)[:10]
            raise DecodeError(f"is paid in {shown}, and we pay in {self._currency}")
        return Details(email_of(answer.get("ppEmail")), note)


def is_ours(records: Records, note: str) -> bool:
    """Whether an account has this note, or had."""
    return records.get(f"note/{note}") is not None


def account_of(records: Records, note: str) -> str | None:
    """Whose payments have this note."""
    account_id = records.get(f"note/{note}")
    if account_id is None or records.get(f"account/{account_id}")["closed"]:
        return None
    return str(account_id)


def shown(records: Records, account_id: str) -> dict[str, Any]:
    """Where the peer is paid, and our note that it pays with."""
    ours, theirs = records.get(f"account/{account_id}"), records.get(f"peer/{account_id}")
    found = {} if theirs is None else {"email": theirs["email"], "note": theirs["note"]}
    return found if ours is None else found | {"our_note": ours["note"]}


def _own_note(change: OwnChange, account_id: str) -> str:
    """Drawn once."""
    known = change.get(f"account/{account_id}")
    if known is not None:
        return str(known["note"])
    note = f"ILP-{secrets.token_hex(16)}"
    change.put(f"note/{note}", account_id)
    change.put(f"account/{account_id}", {"note": note, "closed": False})
    return note


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise DecodeError("a message must be JSON") from None
    if not isinstance(found, dict):
        raise DecodeError("Invalid message type")
    return found
