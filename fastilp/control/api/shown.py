"""Values as the API shows them, byte for byte as Interledger.rs does. Imports _core, storage and
types."""

import json
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fastilp._core.books import Account
from fastilp.control.api.models import SHOWN_FIELDS
from fastilp.control.records import TOKENS
from fastilp.control.values import SECRET
from fastilp.storage.outbox import PENDING, SettlementIntent
from fastilp.storage.payments import PaymentRecord
from fastilp.types import AccountDetails

_PAYMENT_HIDDEN = ("payment_id", "account_id", "created_at_ms", "changed_at_ms")
_PAYMENT_NAMES = {"from_address": "from", "to_address": "to"}


def account_json(account: Account, details: AccountDetails) -> dict[str, Any]:
    """An account as the API shows it: every token is the text SECRET, set or not."""
    shown: dict[str, Any] = {"id": str(uuid.UUID(bytes=account.id))}
    for name in SHOWN_FIELDS:
        shown[name] = SECRET if name in TOKENS else getattr(details, name)
    if details.spread is not None:
        # Exact, as it was given.
        shown["spread"] = str(details.spread)
    return shown


def payment_json(record: PaymentRecord) -> dict[str, Any]:
    """A payment with all its figures, times as RFC 3339."""
    names = [field.name for field in fields(record) if field.name not in _PAYMENT_HIDDEN]
    shown: dict[str, Any] = {"id": record.payment_id}
    for name in names:
        shown[_PAYMENT_NAMES.get(name, name)] = getattr(record, name)
    for name in ("created_at", "changed_at"):
        moment = datetime.fromtimestamp(getattr(record, f"{name}_ms") / 1_000, UTC)
        shown[name] = moment.isoformat(timespec="milliseconds")
    shown["slippage"] = float(record.slippage)
    shown["receipt"] = receipt_json(record) if record.state == "completed" else None
    return shown


def settlement_json(intent: SettlementIntent) -> dict[str, Any]:
    """A settlement as it is, amounts as texts, times as RFC 3339."""
    moments = {
        name: datetime.fromtimestamp(value_ms / 1_000, UTC).isoformat(timespec="milliseconds")
        for name, value_ms in (
            ("created_at", intent.created_at_ms),
            ("changed_at", intent.changed_at_ms),
            # The first try, and one that a human asks for, are due since then.
            ("next_try_at", max(intent.next_try_ms, intent.changed_at_ms)),
        )
    }
    if intent.state != PENDING:
        del moments["next_try_at"]
    return {
        "id": intent.settlement_id,
        "account_id": str(uuid.UUID(bytes=intent.account_id)),
        "username": intent.username,
        "asset_code": intent.asset_code,
        "asset_scale": intent.scale,
        "amount": str(intent.amount),
        "reason": intent.reason,
        "state": intent.state,
        "tries": intent.tries,
        "may_be_paid": intent.may_be_paid,
        "error": intent.error,
        "external_id": intent.external_id,
        "engine_url": intent.engine_url,
        "next_try_at": None,
        **moments,
    }


def receipt_json(record: PaymentRecord) -> dict[str, Any]:
    """What a payment was, in the order of Interledger.rs, which is that of the alphabet."""
    return {
        "delivered_amount": record.delivered_amount,
        "destination_asset_code": record.destination_asset_code,
        "destination_asset_scale": record.destination_asset_scale,
        "from": record.from_address,
        "in_flight_amount": record.in_flight_amount,
        "sent_amount": record.sent_amount,
        # Nobody has said how much it was to be where the delivery was fixed.
        "source_amount": record.source_amount or record.sent_amount,
        "source_asset_code": record.source_asset_code,
        "source_asset_scale": record.source_asset_scale,
        "to": record.to_address,
    }


def balance_json(amount: int, account: Account) -> bytes:
    """Keys in order, the balance as a float of Rust."""
    code = json.dumps(account.asset_code, ensure_ascii=False)
    number = json_number(amount, account.asset_scale)
    return f'{{"asset_code":{code},"balance":{number}}}'.encode()


def rates_json(rates: Mapping[str, Decimal]) -> bytes:
    """Numbers with all their digits, in the shape of a float of Rust."""
    pairs = (
        f"{json.dumps(code, ensure_ascii=False)}:{_number_text(rate)}"
        for code, rate in sorted(rates.items())
    )
    return f"{{{','.join(pairs)}}}".encode()


def json_number(amount: int, scale: int) -> str:
    """amount / 10^scale as Interledger.rs prints a float: shortest digits, exponents from 1e16 and
    below 1e-5, without a plus sign."""
    return _number_text(Decimal(repr(float(Decimal(amount).scaleb(-scale)))))


def _number_text(value: Decimal) -> str:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    if not isinstance(exponent, int) or not text:
        return "0.0"
    exponent += len(text) - len(text.rstrip("0"))
    text = text.rstrip("0")
    point = len(text) + exponent
    minus = "-" if sign else ""
    if len(text) <= point <= 16:
        return f"{minus}{text}{'0' * exponent}.0"
    if 0 < point <= 16:
        return f"{minus}{text[:point]}.{text[point:]}"
    if -5 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{point - 1}"


def json_bytes(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


class Pieces(Response):
    """An answer that is made while it is sent, piece by piece. The framework's own would start a
    task that looks whether the client has gone; here the next piece finds that out."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def json_response(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(body, status, headers, "application/json")
