"""One engine put together: store, connector, workers, server. Imports the neighbours.

Started in the order in which they need each other, stopped in the other one. Nothing has to be
finished on the way down: whatever waits is on the disk.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fastilp.engines.accounts import Accounts
from fastilp.engines.admin import Admin
from fastilp.engines.answers import Answers
from fastilp.engines.base import Engine
from fastilp.engines.connector import Connector
from fastilp.engines.context import Context
from fastilp.engines.credits import Credits
from fastilp.engines.holdings import Holdings
from fastilp.engines.outbox import Outbox
from fastilp.engines.payments import Payments
from fastilp.engines.quantity import Quantity
from fastilp.engines.server import Api
from fastilp.engines.settings import EngineSettings
from fastilp.engines.store import ACCOUNTS, Store
from fastilp.errors import ConfigError, StorageError

SWEEP_EVERY_S = 3_600
STOP_WAIT_S = 5.0

Settings = TypeVar("Settings", bound=EngineSettings)


class Host:
    """`start`, then serve until `stop`."""

    def __init__(self, kind: type[Engine[Settings]], settings: Settings) -> None:
        self.settings = settings
        token = settings.connector_token
        self._connector = Connector(
            settings.connector_url, None if token is None else token.get_secret_value()
        )
        self._registry = CollectorRegistry()
        self._store = Store(Path(settings.data_dir), settings.store_bytes_max)
        self._credits = Credits(self._store, self._connector, settings)
        context = Context(self._store, self._connector, self._credits, self._registry)
        self.engine = kind(context, settings)
        self._payments = Payments(
            self._store, self.engine.send_money, settings, self.engine.at_a_time
        )
        self._accounts = Accounts(self._store, self.engine, settings)
        self._answers = Answers(self._store)
        self._holdings = Holdings(
            self._store, self.engine, self._accounts, self._payments, self._credits
        )
        self._registry.register(_Figures(self))
        self._runner: web.AppRunner | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.address = ""
        """host:port, once it is started."""

    async def start(self) -> None:
        """Raises ConfigError."""
        self._connector.open()
        await self.engine.start()
        await self._listen()
        self._credits.outbox.start()
        self._payments.outbox.start()
        self._accounts.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._accounts.stop()
        await self._payments.outbox.stop()
        await self.engine.stop()
        await self._credits.outbox.stop()
        await self._connector.close()
        self._store.close()

    async def create(self, account_id: str) -> None:
        await self._accounts.create(account_id)

    async def delete(self, account_id: str) -> None:
        await self._accounts.delete(account_id)

    def settle(self, account_id: str, quantity: Quantity, key: str) -> None:
        self._payments.take(account_id, quantity, key, self.engine.scale, self.engine.units_max)

    async def message(self, account_id: str, message: bytes) -> bytes:
        self._accounts.check(account_id)
        return await self.engine.receive_message(account_id, message)

    def problems(self) -> list[str]:
        found = [text for text in dict.fromkeys(self.engine.problems()) if text]
        if self._store.problem():
            found.append(self._store.problem())
        found += [f"payment {key}: {text}" for key, text in self.engine.remarks().items()]
        found += [f"account {name}: {why}" for name, why in self._accounts.failing.items()]
        for word, outbox in self.outboxes():
            found += [f"{word} {key}: {note}" for key, note in outbox.failing.items()]
        return found

    def outboxes(self) -> Iterable[tuple[str, Outbox]]:
        return (("payment", self._payments.outbox), ("credit", self._credits.outbox))

    def account_count(self) -> int:
        with self._store.read() as view:
            return view.count(ACCOUNTS)

    def store_bytes(self) -> int:
        return self._store.used_bytes()

    def unready_count(self) -> int:
        return self._accounts.unready_count

    async def _listen(self) -> None:
        token = self.settings.incoming_token
        api = Api(
            self,
            self._answers,
            self._registry,
            None if token is None else token.get_secret_value(),
        )
        application = api.application()
        Admin(self._holdings).add_to(application)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_WAIT_S)
        await self._runner.setup()
        host, port = self.settings.bind
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            where = self.settings.settlement_api_bind_address
            message = f"cannot listen on {where}: {error.strerror or error}"
            raise ConfigError(message, key="settlement_api_bind_address") from None
        bound = self._runner.addresses[0]
        self.address = f"[{host}]:{bound[1]}" if ":" in host else f"{host}:{bound[1]}"

    async def _sweep(self) -> None:
        while True:
            try:
                await self._answers.sweep()
                await self._payments.sweep()
            except StorageError as error:
                self.engine.context.log.error("the store refuses", why=str(error))
            await asyncio.sleep(SWEEP_EVERY_S)


class _Figures:
    """Read when somebody asks."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterable[Metric]:
        name = "fastilp_engine"
        yield GaugeMetricFamily(
            f"{name}_accounts", "Accounts of the connector.", value=self._host.account_count()
        )
        yield GaugeMetricFamily(
            f"{name}_accounts_unready",
            "Accounts that are still to be set up, or to go.",
            value=self._host.unready_count(),
        )
        yield GaugeMetricFamily(
            f"{name}_store_bytes", "Used of the store.", value=self._host.store_bytes()
        )
        for word, outbox in self._host.outboxes():
            figures: list[tuple[Any, str, str, int]] = [
                (GaugeMetricFamily, "waiting", "not done yet", outbox.waiting_count),
                (GaugeMetricFamily, "failing", "have failed often", len(outbox.failing)),
                (CounterMetricFamily, "done", "done since the start", outbox.done_count),
                (CounterMetricFamily, "retries", "tries that failed", outbox.retried_count),
            ]
            for family, suffix, text, value in figures:
                yield family(f"{name}_{word}s_{suffix}", f"{word.title()}s: {text}.", value=value)
