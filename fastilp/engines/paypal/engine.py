"""The PayPal engine: `accounts`, `outgoing`, `incoming` and `webhooks` put together. Imports them.

PayPal not answering stops nothing but payments: it is asked again, and `/health` says so.
"""

from typing import Any

from fastilp.engines import paid
from fastilp.engines.base import Engine
from fastilp.engines.context import Context, Records
from fastilp.engines.parking import parked_count
from fastilp.engines.paypal.accounts import PeerAccounts, shown
from fastilp.engines.paypal.client import Client
from fastilp.engines.paypal.incoming import Incoming
from fastilp.engines.paypal.money import scale_of
from fastilp.engines.paypal.outgoing import Outgoing
from fastilp.engines.paypal.settings import PayPalSettings
from fastilp.engines.paypal.webhooks import Webhooks
from fastilp.engines.quantity import Quantity
from fastilp.engines.watcher import Watcher
from fastilp.errors import ConfigError


class PayPalEngine(Engine[PayPalSettings]):
    # Far more than PayPal takes in one payout; what it refuses waits.
    units_max = 10**15
    parks = True
    # Nearly all of them wait for PayPal, and one must not wait for those behind it.
    at_a_time = 1_000

    def __init__(self, context: Context, settings: PayPalSettings) -> None:
        super().__init__(context, settings)
        currency = settings.currency
        self.scale = scale_of(currency)
        self.client = Client(
            settings.paypal_url,
            settings.paypal_client_id.get_secret_value(),
            settings.paypal_secret.get_secret_value(),
        )
        self.accounts = PeerAccounts(context, settings.paypal_email, currency, self.scale)
        self.outgoing = Outgoing(
            context, self.client, currency, self.scale, settings.poll_frequency
        )
        self.incoming = Incoming(context, self.client, currency, self.scale)
        self._watcher = Watcher(self.incoming.look, settings.poll_frequency, "PayPal")
        self.webhooks = Webhooks(
            self.client,
            settings.webhook_id or "",
            self.outgoing.is_awaited,
            self.outgoing.look_at,
        )
        self._add_metrics()

    async def start(self) -> None:
        address = self.settings.webhook_bind_address
        if address is not None and not self.settings.webhook_id:
            raise ConfigError("is missing: events could not be verified", key="webhook_id")
        self.client.open()
        paid.sweep(self.context)
        if address is not None:
            await self.webhooks.start(address)
            self.context.log.info("paypal webhooks", http=self.webhooks.address)
        self.context.log.info("paypal", email=self.settings.paypal_email)
        self._watcher.start()

    async def stop(self) -> None:
        await self._watcher.stop()
        await self.webhooks.stop()
        await self.client.close()

    async def create_account(self, account_id: str) -> None:
        await self.accounts.begin(account_id)

    async def delete_account(self, account_id: str) -> None:
        self.accounts.forget(account_id)

    async def receive_message(self, account_id: str, message: bytes) -> bytes:
        return self.accounts.receive(account_id, message)

    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        await self.outgoing.pay(lambda: self.accounts.details(account_id), quantity.amount, key)

    def problems(self) -> list[str]:
        return [self.client.trouble, self._watcher.trouble]

    def remarks(self) -> dict[str, str]:
        return {key: f"its payout is {what} at PayPal" for key, what in self.outgoing.said.items()}

    def ledger_id(self, records: Records, key: str) -> str | None:
        return paid.ledger_id(records, key)

    def peer(self, records: Records, account_id: str) -> dict[str, Any]:
        return shown(records, account_id)

    def _add_metrics(self) -> None:
        gauge, hooks = self.context.gauge, self.webhooks
        gauge("paypal_parked", "Payments with the note of an account that is closed.", self._parked)
        gauge("paypal_pending", "Payments to us that PayPal holds.", self._pending)
        gauge("paypal_webhooks", "Events that PayPal confirmed.", lambda: hooks.verified_count)
        gauge(
            "paypal_webhooks_refused",
            "Events that PayPal did not confirm.",
            lambda: hooks.refused_count,
        )

    def _parked(self) -> int:
        with self.context.read() as records:
            return parked_count(records)

    def _pending(self) -> int:
        with self.context.read() as records:
            return len(records.items("pending/"))
