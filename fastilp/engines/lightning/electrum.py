"""Electrum's daemon, by its JSON-RPC. Imports node and http.

Its answers leave two gaps, closed here. What it calls paid may have been paid on the chain: only
its Lightning history counts. And after a restart it calls a payment unpaid that is still on
its way: while anything is on its way in any of the channels, none is called failed.
"""

import itertools
from base64 import b64encode
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from fastilp.engines.errors import EngineError, NotNowError
from fastilp.engines.lightning.http import TIMEOUT_S, Http
from fastilp.engines.lightning.node import (
    Invoice,
    LightningNode,
    Payment,
    State,
    integer,
    shown,
    text,
)

# Electrum gives up routes after 120 seconds.
PAY_ANSWER_S = 150
_PAID, _IN_FLIGHT = 3, 4
_SENT, _RECEIVED = 0, 1


class ElectrumError(NotNowError):
    """Electrum answered, with an error of its own."""


class ElectrumNode(LightningNode):
    def __init__(self, url: str, user: str, password: str, wallet: str | None) -> None:
        self._url = url
        self._wallet = {} if wallet is None else {"wallet": wallet}
        self._numbers = itertools.count(1)
        token = b64encode(f"{user}:{password}".encode()).decode()
        self._http = Http({"Authorization": f"Basic {token}"}, None)

    @property
    def trouble(self) -> str:
        return self._http.trouble

    def open(self) -> None:
        self._http.open()

    async def close(self) -> None:
        await self._http.close()

    async def describe(self) -> str:
        found = await self._object("getinfo")
        name = text(await self._call("nodeid", **self._wallet))
        return f"electrum {name} on {found.get('network')}"

    async def create_invoice(self, msat: int, memo: str, expiry_s: int) -> str:
        if msat % 1_000:
            raise EngineError("Electrum has no parts of a satoshi", status=400)
        amount = f"{Decimal(msat // 1_000).scaleb(-8):f}"
        found = await self._object(
            "add_request",
            amount=amount,
            memo=memo,
            expiration=expiry_s,
            # Of addresses on the chain, which nobody uses, there may be any number.
            force=True,
            **self._wallet,
        )
        return text(found.get("lightning_invoice"))

    async def decode(self, invoice: str) -> Invoice:
        try:
            found = await self._object("decode_invoice", invoice=invoice)
        except ElectrumError as error:
            raise EngineError(f"no invoice for this node: {error}") from None
        expires_s = integer(found.get("time")) + integer(found.get("exp"))
        return Invoice(text(found.get("rhash")), integer(found.get("amount_msat")), expires_s)

    async def pay(self, invoice: str, fee_msat_max: int) -> None:
        """The limit is Electrum's own: 5 sat, or 1 % if that is more."""
        await self._call("lnpay", invoice=invoice, **self._wallet)

    async def payment(self, payment_hash: str) -> Payment:
        # First the flight, then the history: what lands in between is then in one of the two.
        known = await self._saved(payment_hash)
        is_flying = await self._is_anything_flying()
        sent = (await self._history(_SENT)).get(payment_hash)
        if sent is not None:
            # Of a payment in parts some have arrived: what is missing makes it a negative fee.
            fee_msat = integer(sent.get("fee_msat") or 0)
            if fee_msat >= 0:
                return Payment(State.PAID, fee_msat, text(sent.get("preimage")))
            return Payment(State.PENDING)
        if known is None:
            return Payment(State.UNKNOWN)
        if is_flying or integer(known.get("status")) in (_PAID, _IN_FLIGHT):
            return Payment(State.PENDING)
        return Payment(State.FAILED, reason=f"Electrum says {known.get('status_str')}")

    async def received(self, payment_hashes: Iterable[str]) -> dict[str, int]:
        history = await self._history(_RECEIVED)
        names = [name for name in payment_hashes if name in history]
        return {name: integer(history[name].get("amount_msat")) for name in names}

    async def _history(self, direction: int) -> dict[str, dict[str, Any]]:
        return {
            text(item.get("payment_hash")): item
            for item in await self._objects("lightning_history")
            if item.get("type") == "payment" and item.get("direction") == direction
        }

    async def _saved(self, payment_hash: str) -> dict[str, Any] | None:
        try:
            return await self._object("get_invoice", invoice_id=payment_hash, **self._wallet)
        except ElectrumError as error:
            if "not found" in str(error):
                return None
            raise

    async def _is_anything_flying(self) -> bool:
        return any(
            integer(each.get("local_unsettled_sent")) > 0
            for each in await self._objects("list_channels")
            # Of a channel of another wallet nothing is known.
            if each.get("type") != "BACKUP"
        )

    async def _objects(self, method: str) -> list[dict[str, Any]]:
        found = await self._call(method, **self._wallet)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise NotNowError(f"Electrum answers {shown(found)} to {method}")
        return found

    async def _object(self, method: str, **params: Any) -> dict[str, Any]:
        found = await self._call(method, **params)
        if not isinstance(found, dict):
            raise NotNowError(f"Electrum answers {shown(found)} to {method}")
        return found

    async def _call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        timeout_s = PAY_ANSWER_S if method == "lnpay" else TIMEOUT_S
        status, answer = await self._http.call("POST", self._url, body, timeout_s)
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise NotNowError(f"Electrum answers {shown(answer)}, status {status}")
        error = answer.get("error")
        if error is not None:
            message = error.get("message", error) if isinstance(error, dict) else error
            raise ElectrumError(f"Electrum, {method}: {shown(message)}")
        return answer.get("result")
