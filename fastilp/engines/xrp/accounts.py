"""Where each peer is paid, and by which tag its own payments are known. Imports the neighbours.

One address serves all accounts: what tells payments apart is the destination tag, which we choose
for each account and keep for ever, so that a payment that was under way while the engine was down,
or for months, is still whose it was. The messages are those of `ilp-settlement-xrp`, whose own tags
last five minutes: a peer that does not say that it keeps them is asked before each payment.

A peer who shows somebody else's address is paid there, as it wished; nothing has to be proven.
"""

import secrets
from typing import Any, NamedTuple

import orjson

from fastilp.engines import failures
from fastilp.engines.context import Context, OwnChange, Records
from fastilp.engines.errors import EngineError
from fastilp.engines.parking import credit_parked
from fastilp.engines.xrp.wallet import SCALE, TAG_MAX, address_of, tag_of
from fastilp.errors import DecodeError

QUESTION = {"type": "paymentDetails"}


class Details(NamedTuple):
    """Where to pay."""

    address: str
    tag: int


class PeerAccounts:
    def __init__(self, context: Context, address: str) -> None:
        self._context = context
        self._address = address

    async def begin(self, account_id: str) -> None:
        """Returns when the peer has told where to pay. Raises NotNowError, EngineError."""
        with self._context.change() as change:
            tag = _own_tag(change, account_id)
            change.put(f"account/{account_id}", {"tag": tag, "closed": False})
            credit_parked(change, account_id, str(tag), SCALE)
        await self.details(account_id)

    async def details(self, account_id: str) -> Details:
        """Raises NotNowError, EngineError."""
        with self._context.read() as records:
            known = records.get(f"peer/{account_id}")
        if known is not None and known["permanent"]:
            return Details(known["address"], known["tag"])
        raw = await self._context.message(account_id, orjson.dumps(QUESTION))
        try:
            told, permanent = _details(_decoded(raw))
        except DecodeError as error:
            raise EngineError(f"the peer's engine answered wrongly: {error}") from None
        if told.address == self._address:
            raise EngineError("the peer has our own address: each engine needs its own secret")
        record = {"address": told.address, "tag": told.tag, "permanent": permanent}
        with self._context.change() as change:
            change.put(f"peer/{account_id}", record)
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
            tag = _own_tag(change, account_id)
        answer = {"xrpAddress": self._address, "destinationTag": tag, "permanent": True}
        return orjson.dumps(answer)

    def forget(self, account_id: str) -> None:
        """Payments with its tag are parked from now on; the tag will be nobody else's."""
        with self._context.change() as change:
            known = change.get(f"account/{account_id}")
            if known is not None:
                change.put(f"account/{account_id}", known | {"closed": True})
            change.delete(f"peer/{account_id}")
            failures.forget(change, account_id)


def is_ours(records: Records, tag: int | None) -> bool:
    """Whether an account has this tag, or had."""
    return tag is not None and records.get(f"tag/{tag}") is not None


def account_of(records: Records, tag: int | None) -> str | None:
    """Whose payments have this tag."""
    account_id = None if tag is None else records.get(f"tag/{tag}")
    if account_id is None or records.get(f"account/{account_id}")["closed"]:
        return None
    return str(account_id)


def shown(records: Records, account_id: str) -> dict[str, Any]:
    """Where the peer is paid, and our tag that it pays with."""
    ours, theirs = records.get(f"account/{account_id}"), records.get(f"peer/{account_id}")
    found = {} if theirs is None else {"address": theirs["address"], "tag": theirs["tag"]}
    return found if ours is None else found | {"our_tag": ours["tag"]}


def _own_tag(change: OwnChange, account_id: str) -> int:
    """Chosen once. By chance, so that an engine that has lost its store hardly gives one away
    again."""
    known = change.get(f"account/{account_id}")
    if known is not None:
        return int(known["tag"])
    tag = 1 + secrets.randbelow(TAG_MAX)
    while change.get(f"tag/{tag}") is not None:
        tag = 1 + secrets.randbelow(TAG_MAX)
    change.put(f"tag/{tag}", account_id)
    change.put(f"account/{account_id}", {"tag": tag, "closed": False})
    return tag


def _details(answer: dict[str, Any]) -> tuple[Details, bool]:
    details = Details(address_of(answer.get("xrpAddress")), tag_of(answer.get("destinationTag")))
    return details, answer.get("permanent") is True


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise DecodeError("a message must be JSON") from None
    if not isinstance(found, dict):
        raise DecodeError("Invalid message type")
    return found
