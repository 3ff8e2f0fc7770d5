"""PayPal's webhooks: a listener of its own, which the internet may reach. Imports the client.

An event moves no money. It says where to look now instead of at the next turn, and is believed that
much when PayPal confirms that it is its own (`verify-webhook-signature`). Only events about payouts
that are waited for are verified at all: nobody can make us call PayPal otherwise.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from fastilp.engines.errors import NotNowError
from fastilp.engines.paypal.client import Client
from fastilp.errors import ConfigError

VERIFY = "/v1/notifications/verify-webhook-signature"
PATH = "/webhooks"
BODY_BYTES_MAX = 1 << 16
HEADER_LENGTH_MAX = 1_024
AT_A_TIME = 4
# Of a field of PayPal's call, the header that has it.
SIGNED = {
    "auth_algo": "PAYPAL-AUTH-ALGO",
    "cert_url": "PAYPAL-CERT-URL",
    "transmission_id": "PAYPAL-TRANSMISSION-ID",
    "transmission_sig": "PAYPAL-TRANSMISSION-SIG",
    "transmission_time": "PAYPAL-TRANSMISSION-TIME",
}


class Webhooks:
    """`start` and `stop`. `is_awaited` and `look_at` take PayPal's id of a batch."""

    def __init__(
        self,
        client: Client,
        webhook_id: str,
        is_awaited: Callable[[str], bool],
        look_at: Callable[[str], None],
    ) -> None:
        self._client = client
        self._webhook_id = webhook_id
        self._is_awaited = is_awaited
        self._look_at = look_at
        self._turn = asyncio.Semaphore(AT_A_TIME)
        self._runner: web.AppRunner | None = None
        self.verified_count = 0
        self.refused_count = 0
        self.address = ""

    async def start(self, address: str) -> None:
        """Raises ConfigError."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post(PATH, self._event)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        host, _, port = address.rpartition(":")
        try:
            await web.TCPSite(self._runner, host, int(port)).start()
        except (OSError, OverflowError) as error:
            message = f"cannot listen on {address}: {error}"
            raise ConfigError(message, key="webhook_bind_address") from None
        self.address = f"{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _event(self, request: web.Request) -> web.Response:
        raw = await request.read()
        batch = _batch_of(raw)
        if batch is None or not self._is_awaited(batch):
            # PayPal repeats what is not answered with 2xx, for days.
            return web.Response(status=200)
        headers = {field: request.headers.get(name, "") for field, name in SIGNED.items()}
        if not all(0 < len(value) <= HEADER_LENGTH_MAX for value in headers.values()):
            self.refused_count += 1
            return web.Response(status=400, text="not signed")
        try:
            async with self._turn:
                is_genuine = await self._is_genuine(headers, raw)
        except NotNowError:
            return web.Response(status=503)
        if not is_genuine:
            self.refused_count += 1
            return web.Response(status=400, text="not signed by PayPal")
        self.verified_count += 1
        self._look_at(batch)
        return web.Response(status=200)

    async def _is_genuine(self, headers: dict[str, str], raw: bytes) -> bool:
        """The event is passed on byte for byte: that is what was signed."""
        known = orjson.dumps({**headers, "webhook_id": self._webhook_id})
        answer = await self._client.post(VERIFY, known[:-1] + b',"webhook_event":' + raw + b"}")
        return answer.get("verification_status") == "SUCCESS"


def _batch_of(raw: bytes) -> str | None:
    """Whose payout the event is about, if it is about one."""
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    resource: Any = event.get("resource") if isinstance(event, dict) else None
    if not isinstance(resource, dict):
        return None
    header = resource.get("batch_header")
    holder = header if isinstance(header, dict) else resource
    batch = holder.get("payout_batch_id")
    return batch if isinstance(batch, str) else None
