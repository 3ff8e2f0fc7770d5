"""lnd, by its REST interface. Imports node and http.

Streams are lines of `{"result": …}`; a failure is `{"error": …}` in them, or a problem with a
status. Bytes are base64 in JSON, and hex in some of the paths.
"""

import asyncio
import base64
import binascii
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastilp.engines.errors import EngineError, NotNowError
from fastilp.engines.lightning.http import Http
from fastilp.engines.lightning.node import (
    Invoice,
    LightningNode,
    Payment,
    State,
    integer,
    shown,
    text,
)
from fastilp.errors import ConfigError

# So long lnd tries routes; the answer comes soon after.
PAY_S = 60
PAY_ANSWER_S = PAY_S + 30
LOOKUPS_AT_ONCE = 16
NOT_FOUND = 5
_STATES = {
    "SUCCEEDED": State.PAID,
    "FAILED": State.FAILED,
}


class LndNode(LightningNode):
    def __init__(self, url: str, macaroon_path: str | None, tls_cert_path: str | None) -> None:
        headers = {}
        if macaroon_path is not None:
            headers["Grpc-Metadata-macaroon"] = _read(macaroon_path, "lnd_macaroon_path").hex()
        self._url = url
        self._http = Http(headers, _tls(tls_cert_path))
        self._turn = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    @property
    def trouble(self) -> str:
        return self._http.trouble

    def open(self) -> None:
        self._http.open()

    async def close(self) -> None:
        await self._http.close()

    async def describe(self) -> str:
        found = await self._call("GET", "/v1/getinfo")
        chains = found.get("chains") or [{}]
        network = chains[0].get("network") if isinstance(chains[0], dict) else None
        return f"lnd {text(found.get('identity_pubkey'))} on {network}"

    async def create_invoice(self, msat: int, memo: str, expiry_s: int) -> str:
        body = {"value_msat": str(msat), "memo": memo, "expiry": str(expiry_s), "private": True}
        found = await self._call("POST", "/v1/invoices", body)
        return text(found.get("payment_request"))

    async def decode(self, invoice: str) -> Invoice:
        status, found = await self._http.call("GET", f"{self._url}/v1/payreq/{quote(invoice)}")
        if status in (400, 404, 500) and isinstance(found, dict) and "message" in found:
            raise EngineError(f"no invoice for this node: {shown(found['message'])}")
        found = _checked(status, found)
        begun_s, expiry_s = integer(found.get("timestamp")), integer(found.get("expiry"))
        return Invoice(
            text(found.get("payment_hash")), integer(found.get("num_msat")), begun_s + expiry_s
        )

    async def pay(self, invoice: str, fee_msat_max: int) -> None:
        body = {
            "payment_request": invoice,
            "timeout_seconds": PAY_S,
            "fee_limit_msat": str(fee_msat_max),
            "no_inflight_updates": True,
        }
        url = f"{self._url}/v2/router/send"
        _checked(*await self._http.call("POST", url, body, PAY_ANSWER_S, line=-1))

    async def payment(self, payment_hash: str) -> Payment:
        name = base64.urlsafe_b64encode(bytes.fromhex(payment_hash)).decode()
        # Its first line is how things are now.
        status, found = await self._http.call(
            "GET", f"{self._url}/v2/router/track/{quote(name)}", line=0
        )
        if _is_not_found(found):
            return Payment(State.UNKNOWN)
        found = _checked(status, found)
        return Payment(
            _STATES.get(text(found.get("status")), State.PENDING),
            integer(found.get("fee_msat") or 0),
            text(found.get("payment_preimage") or ""),
            text(found.get("failure_reason") or ""),
        )

    async def received(self, payment_hashes: Iterable[str]) -> dict[str, int]:
        names = list(payment_hashes)
        amounts = await asyncio.gather(*(self._received(name) for name in names))
        return {name: msat for name, msat in zip(names, amounts, strict=True) if msat is not None}

    async def _received(self, payment_hash: str) -> int | None:
        async with self._turn:
            status, found = await self._http.call("GET", f"{self._url}/v1/invoice/{payment_hash}")
        if status == 404:
            return None
        found = _checked(status, found)
        return integer(found.get("amt_paid_msat")) if found.get("state") == "SETTLED" else None

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return _checked(*await self._http.call(method, self._url + path, body))


def _checked(status: int, found: Any) -> dict[str, Any]:
    """The object, out of its stream's envelope. Raises NotNowError."""
    if not isinstance(found, dict):
        raise NotNowError(f"lnd answers {shown(found)}")
    error = found.get("error")
    if status >= 400 or error is not None:
        why = error if error is not None else found
        message = why.get("message", why) if isinstance(why, dict) else why
        raise NotNowError(f"lnd: {shown(message)}")
    result = found.get("result", found)
    if not isinstance(result, dict):
        raise NotNowError(f"lnd answers {shown(found)}")
    return result


def _is_not_found(found: Any) -> bool:
    """Old versions of lnd have `grpc_code`. Any other error says nothing about the payment."""
    if not isinstance(found, dict):
        return False
    error = found.get("error", found)
    return isinstance(error, dict) and NOT_FOUND in (error.get("code"), error.get("grpc_code"))


def _read(path: str, key: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", key=key) from None


def _tls(path: str | None) -> ssl.SSLContext | None:
    """lnd makes a certificate of its own: that one, and no other, is trusted."""
    if path is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=_read(path, "lnd_tls_cert_path").decode())
    except (ssl.SSLError, UnicodeDecodeError, binascii.Error) as error:
        message = f"{path} is no certificate in PEM: {error}"
        raise ConfigError(message, key="lnd_tls_cert_path") from None
    return context
