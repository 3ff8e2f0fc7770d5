"""What settlement engines call (RFC 38): `POST /accounts/<id>/settlements` credits an account,
`POST /accounts/<id>/messages` asks the peer's engine. Imports settlement, idempotency and the
problems of the API.

Promises that a settlement is on the disk before it is answered, and that the same one, however
often and however close together it is sent, is credited once and answered the same each time.
"""

import hmac
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from fastilp._core.books import Account
from fastilp._core.packet import Fulfill
from fastilp.control.api.problems import KEY_IS_TIED, Problem
from fastilp.control.engine_client import OCTET_STREAM
from fastilp.control.idempotency import KEPT_MS, Call, Idempotency, TiedError
from fastilp.control.quantities import QuantityError, parse_quantity
from fastilp.control.settlement import Settlement
from fastilp.control.settlement_messages import DATA_SIZE_MAX, EngineMessages
from fastilp.errors import StorageError
from fastilp.storage.ledger import Ledger

_log = logging.getLogger("fastilp.settlement")

# Old engines have the singular.
_PATH = re.compile(r"/accounts/([^/]+)/(settlement|message)s?/?")
_INVALID_ID = "https://errors.interledger.org/http-api/settings/invalid-account-id"
_NOT_FOUND = "https://errors.interledger.org/http-api/accounts/account-not-found"
_KEY_SIZE_MAX = 255
_SCOPE = "settlement"
_DAY_MS = 24 * 3_600_000


class EngineReply(NamedTuple):
    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str]


class SettlementCalls:
    """`incoming_token`: what engines show; None: whoever reaches the listener is one. `kept_days`:
    how long a settlement that is sent again is known."""

    def __init__(
        self,
        settlement: Settlement,
        messages: EngineMessages,
        ledger: Ledger,
        idempotency: Idempotency,
        incoming_token: str | None,
        kept_days: int = 400,
    ) -> None:
        self._settlement = settlement
        self._messages = messages
        self._ledger = ledger
        self._idempotency = idempotency
        self._token = incoming_token.encode() if incoming_token is not None else None
        self._kept_ms = max(kept_days * _DAY_MS, KEPT_MS)

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> EngineReply:
        """Header names in lower case."""
        try:
            return await self._answer(method, path, headers, body)
        except Problem as problem:
            response = problem.response()
            kept = {
                name.title(): value
                for name, value in response.headers.items()
                if name not in ("content-type", "content-length")
            }
            content_type = response.media_type or ""
            return EngineReply(response.status_code, bytes(response.body), content_type, kept)

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> EngineReply:
        match = _PATH.fullmatch(path)
        if match is None:
            raise Problem(404, f"there is nothing at {path[:200]}")
        self._check_token(headers.get("authorization", ""))
        if method != "POST":
            raise Problem(405, f"{path[:200]} takes POST", headers={"Allow": "POST"})
        account = self._account(match[1])
        key = headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= _KEY_SIZE_MAX:
            raise Problem(400, f"Idempotency-Key must have 1 to {_KEY_SIZE_MAX} characters")
        if match[2] == "message":
            return await self._message(account, key, body)
        if key is None:
            raise Problem(400, "a settlement needs an Idempotency-Key (RFC 38)")
        return await self._credit(account, key, body)

    def _check_token(self, authorization: str) -> None:
        if self._token is None:
            return
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise Problem(401, "send `Authorization: Bearer <settlement.incoming_token>`")

    def _account(self, text: str) -> Account:
        try:
            account_id = uuid.UUID(text).bytes
        except ValueError:
            raise Problem(
                400,
                f"{text[:100]!r} is no account id: it is the `id` that the API shows, a UUID",
                kind=_INVALID_ID,
                title="Invalid Account Id",
            ) from None
        found = self._settlement.found(account_id)
        if found is None:
            detail = f"no account has the id {text[:100]} and a settlement engine"
            raise Problem(404, detail, kind=_NOT_FOUND, title="Account Not Found")
        return found[0]

    # --- Credits --------------------------------------------------------------------------------

    async def _credit(self, account: Account, key: str, body: bytes) -> EngineReply:
        try:
            quantity = parse_quantity(body)
        except QuantityError as error:
            raise Problem(400, str(error)) from None
        # Whatever the JSON looked like: this is the same settlement.
        same = b"credit " + account.id + quantity.json()

        async def work(call: Call) -> EngineReply:
            # All of it is taken: what is less than a unit waits for the next one.
            reply = EngineReply(201, quantity.json(), "application/json", {})
            kept = call.puts(reply.status, reply.content_type, reply.body, self._kept_ms)
            try:
                ticket = self._settlement.credits.credit(account, quantity, kept)
            except QuantityError as error:
                raise Problem(400, str(error)) from None
            except StorageError as error:
                raise Problem(503, str(error)) from None
            await self._committed(ticket)
            about = {"account": account.name, "amount": quantity.amount, "scale": quantity.scale}
            _log.info("a settlement came in", extra=about)
            return reply

        # Not the sweep's hour, but the sweep, ends what is known of a credit: a clock that is set
        # forward must not make it a new one.
        return await self._once(account, key, same, work, is_known_until_swept=True)

    # --- Messages -------------------------------------------------------------------------------

    async def _message(self, account: Account, key: str | None, body: bytes) -> EngineReply:
        if self._settlement.engine_of_account(account) is None:
            raise Problem(404, f"account `{account.name}` is open no more")
        if len(body) > DATA_SIZE_MAX:
            raise Problem(413, f"a message has at most {DATA_SIZE_MAX} bytes")
        if key is None:
            return await self._send(account, body)

        async def work(call: Call) -> EngineReply:
            reply = await self._send(account, body)
            try:
                self._ledger.transact(puts=call.puts(reply.status, reply.content_type, reply.body))
            except StorageError as error:
                _log.warning("the answer to a message is not kept", extra={"reason": str(error)})
            return reply

        return await self._once(account, key, b"message " + account.id + body, work)

    async def _send(self, account: Account, body: bytes) -> EngineReply:
        answer = await self._messages.send(account, body)
        if isinstance(answer, Fulfill):
            return EngineReply(201, answer.data, OCTET_STREAM, {})
        detail = "Error sending message to peer engine"
        members = {
            "code": answer.code,
            "message": answer.message[:1_000],
            "data": answer.data.decode("utf-8", "replace"),
        }
        raise Problem(502, f"{detail}: {answer.code} {answer.message[:200]}", members=members)

    # --- Once -----------------------------------------------------------------------------------

    async def _once(
        self,
        account: Account,
        key: str,
        same: bytes,
        work: Callable[[Call], Awaitable[EngineReply]],
        *,
        is_known_until_swept: bool = False,
    ) -> EngineReply:
        # An engine's keys mean nothing to another one, which may use the same: they are the
        # account's.
        scope = f"{_SCOPE} {account.id.hex()}"
        try:
            begun = await self._idempotency.begin(
                scope, key, same, is_known_until_swept=is_known_until_swept
            )
        except TiedError:
            raise Problem(409, f"key {key!r} was used before", title=KEY_IS_TIED) from None
        if isinstance(begun, Call):
            try:
                return await work(begun)
            finally:
                begun.end()
        await self._committed(self._ledger.ticket)
        return EngineReply(begun.status, begun.body, begun.content_type, {})

    async def _committed(self, ticket: int) -> None:
        try:
            await self._ledger.committed(ticket)
        except StorageError as error:
            # Sent again, it is known.
            raise Problem(503, f"it is not on the disk yet: {error}") from None
