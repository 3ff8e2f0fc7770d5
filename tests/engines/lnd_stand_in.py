"""Stand-ins for two lnd nodes with a channel between them: they replay the JSON that lnd documents
for its REST interface, with its streams, base64, macaroons and errors. No lnd is behind them: they
show that we speak the protocol as it is written down, not that lnd does.

An invoice is a text that only they can read. `balance_msat` is what each side of the channel has.
"""

import asyncio
import base64
import json
import secrets
import ssl
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aiohttp import web

MACAROON = b"\x02\x01a macaroon of the stand-in"
NOT_FOUND, ALREADY_EXISTS, INVALID = 5, 6, 3


@dataclass
class Made:
    """An invoice of one of the two."""

    payee: "LndStandIn"
    preimage: bytes
    msat: int
    made_s: int
    expiry_s: int
    text: str = ""
    state: str = "OPEN"

    @property
    def payment_hash(self) -> bytes:
        return sha256(self.preimage).digest()


@dataclass
class Paid:
    status: str
    made: Made
    fee_msat: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Channel:
    """What both know: invoices by their texts."""

    def __init__(self) -> None:
        self.made: dict[str, Made] = {}


class LndStandIn:
    def __init__(self, name: str, channel: Channel, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.balance_msat = 10**9
        self.fee_msat = 0
        """Routing fee of each payment."""
        self.payments: dict[bytes, Paid] = {}
        self.tries = 0
        self.sent = 0
        """HTLCs that have arrived, ever."""
        self.faults: list[str] = []
        """What becomes of the next payments: `fail`, `hold` (until `release`), `hang up before`
        and `hang up after` it is made."""
        self.is_down = False
        self.calls: list[str] = []
        self._channel = channel
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/v1/getinfo", self._getinfo)
        app.router.add_post("/v1/invoices", self._add_invoice)
        app.router.add_get("/v1/invoice/{hash}", self._invoice)
        app.router.add_get("/v1/payreq/{text}", self._payreq)
        app.router.add_post("/v2/router/send", self._send)
        app.router.add_get("/v2/router/track/{hash}", self._track)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def release(self, status: str = "SUCCEEDED") -> None:
        """Payments that are held come to their end."""
        for paid in self.payments.values():
            if paid.status == "IN_FLIGHT":
                self._end(paid, status)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}")
        if self.is_down:
            return _hung_up(request)
        if request.headers.get("Grpc-Metadata-macaroon") != MACAROON.hex():
            return _error(2, "verification failed: signature mismatch after caveat verification")
        found: web.StreamResponse = await handler(request)
        return found

    async def _getinfo(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "identity_pubkey": sha256(self.name.encode()).hexdigest() + "02",
                "alias": self.name,
                "chains": [{"chain": "bitcoin", "network": "regtest"}],
                "synced_to_chain": True,
            }
        )

    async def _add_invoice(self, request: web.Request) -> web.Response:
        body = await request.json()
        made = Made(
            self,
            secrets.token_bytes(32),
            int(body["value_msat"]),
            int(time.time()),
            int(body["expiry"]),
        )
        made.text = f"lnbcrt{made.msat}n1p{secrets.token_hex(40)}"
        self._channel.made[made.text] = made
        return web.json_response(
            {
                "r_hash": base64.b64encode(made.payment_hash).decode(),
                "payment_request": made.text,
                "add_index": str(len(self._channel.made)),
                "payment_addr": base64.b64encode(secrets.token_bytes(32)).decode(),
            }
        )

    async def _invoice(self, request: web.Request) -> web.Response:
        wanted = bytes.fromhex(request.match_info["hash"])
        for made in self._channel.made.values():
            if made.payee is self and made.payment_hash == wanted:
                paid_msat = made.msat if made.state == "SETTLED" else 0
                return web.json_response(
                    {
                        "r_hash": base64.b64encode(wanted).decode(),
                        "value_msat": str(made.msat),
                        "settled": made.state == "SETTLED",
                        "payment_request": made.text,
                        "state": made.state,
                        "amt_paid_sat": str(paid_msat // 1_000),
                        "amt_paid_msat": str(paid_msat),
                    }
                )
        return _error(NOT_FOUND, "unable to locate invoice", 404)

    async def _payreq(self, request: web.Request) -> web.Response:
        made = self._channel.made.get(request.match_info["text"])
        if made is None:
            return _error(2, "checksum failed. Expected xxxxxx, got yyyyyy.")
        return web.json_response(
            {
                "destination": sha256(made.payee.name.encode()).hexdigest() + "02",
                "payment_hash": made.payment_hash.hex(),
                "num_satoshis": str(made.msat // 1_000),
                "timestamp": str(made.made_s),
                "expiry": str(made.expiry_s),
                "num_msat": str(made.msat),
            }
        )

    async def _send(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.tries += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "hang up before":
            return _hung_up(request)
        made = self._channel.made[body["payment_request"]]
        if time.time() > made.made_s + made.expiry_s:
            return _stream_error(INVALID, "invoice expired. Valid until then")
        known = self.payments.get(made.payment_hash)
        if known is not None and known.status == "SUCCEEDED":
            return _stream_error(ALREADY_EXISTS, "invoice is already paid")
        if known is not None and known.status == "IN_FLIGHT":
            return _stream_error(ALREADY_EXISTS, "payment is in transition")
        paid = self.payments[made.payment_hash] = Paid("IN_FLIGHT", made, self.fee_msat)
        is_too_dear = self.fee_msat > int(body["fee_limit_msat"])
        if fault == "fail" or is_too_dear or made.msat + self.fee_msat > self.balance_msat:
            self._end(paid, "FAILED")
        elif fault != "hold":
            self._end(paid, "SUCCEEDED")
        if fault == "hang up after":
            return _hung_up(request)
        return await self._stream(request, paid, is_quiet=True)

    async def _track(self, request: web.Request) -> web.StreamResponse:
        name = base64.urlsafe_b64decode(request.match_info["hash"])
        paid = self.payments.get(name)
        if paid is None:
            return _stream_error(NOT_FOUND, "payment isn't initiated", 404)
        return await self._stream(request, paid, is_quiet=False)

    async def _stream(self, request: web.Request, paid: Paid, is_quiet: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if not is_quiet or paid.ended.is_set():
            await response.write(_line(paid))
        if not paid.ended.is_set():
            await paid.ended.wait()
            await response.write(_line(paid))
        return response

    def _end(self, paid: Paid, status: str) -> None:
        paid.status = status
        if status == "SUCCEEDED":
            assert paid.made.state == "OPEN"
            paid.made.state = "SETTLED"
            paid.made.payee.balance_msat += paid.made.msat
            self.balance_msat -= paid.made.msat + paid.fee_msat
            self.sent += 1
        paid.ended.set()


def _line(paid: Paid) -> bytes:
    is_paid = paid.status == "SUCCEEDED"
    result = {
        "payment_hash": paid.made.payment_hash.hex(),
        "value_msat": str(paid.made.msat),
        "payment_preimage": paid.made.preimage.hex() if is_paid else "0" * 64,
        "payment_request": paid.made.text,
        "status": paid.status,
        "fee_msat": str(paid.fee_msat if is_paid else 0),
        "failure_reason": (
            "FAILURE_REASON_NO_ROUTE" if paid.status == "FAILED" else "FAILURE_REASON_NONE"
        ),
    }
    return json.dumps({"result": result}).encode() + b"\n"


def _error(code: int, message: str, status: int = 500) -> web.Response:
    return web.json_response({"code": code, "message": message, "details": []}, status=status)


def _stream_error(code: int, message: str, status: int = 200) -> web.Response:
    body = {"error": {"code": code, "message": message, "details": []}}
    return web.json_response(body, status=status)


def _hung_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.StreamResponse()
