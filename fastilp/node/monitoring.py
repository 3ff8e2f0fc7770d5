"""Alerts, metrics and records of a running node. Imports config, control, _core.

What the switch counts anyway costs nothing; packets are counted by kind, and records kept, only
where the settings say so.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog
from aiohttp import web

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.config.models import Settings
from fastilp.control import alerts as kinds
from fastilp.control.accounts import Accounts
from fastilp.control.alerts import Alert, Alerts
from fastilp.control.metrics import CONTENT_TYPE, Classes, Metrics
from fastilp.control.packet_records import PacketRecords
from fastilp.control.rate_feed import RateFeed
from fastilp.control.sinks import JsonLines, Sink, Webhook
from fastilp.control.slices import in_slices
from fastilp.control.values import split_host_port
from fastilp.control.watch import Flaps, Watch
from fastilp.errors import ConfigError
from fastilp.types import Relation

_log = structlog.get_logger("fastilp.alerts")

_LOOK_SECONDS = 1.0


class Monitoring:
    """Made with the switch; `await start()` when the node listens, `await close()` at its end."""

    def __init__(
        self,
        settings: Settings,
        switch: Switch,
        accounts: Accounts,
        rate_feed: RateFeed | None = None,
    ) -> None:
        config = settings.prometheus
        by_kind = config.by_kind or config.bind_address is not None
        self._bind_address = config.bind_address
        self._rate_feed = rate_feed
        self.alerts = Alerts()
        self.alerts.listeners.append(self._log_alert)
        self.watch = Watch(switch, accounts, self.alerts)
        self.flaps = Flaps(self.alerts)
        self._classes = Classes(switch) if by_kind else None
        self.metrics = Metrics(switch, accounts, self.alerts, self._classes, self._numbers)
        self.records = _records(settings, switch)
        self._hook = _webhook(settings)
        if self._hook is not None:
            self.alerts.listeners.append(lambda alert: self._tell(alert))
        if by_kind or self.records is not None:
            switch.observe(by_kind, self.records is not None)
        self.numbers: list[Callable[[], Iterable[tuple[str, str, float]]]] = []
        """More gauges: (name, help, value)."""
        self._runner: web.AppRunner | None = None
        self._looking: asyncio.Task[None] | None = None

    def account_opened(self, account: Account, relation: Relation) -> None:
        if self._classes is not None:
            self._classes.assign(account, relation)

    def account_closed(self, username: str) -> None:
        self.watch.forget(username)
        self.flaps.forget(username)

    def on_link(self, username: str, kind: str, up: bool) -> None:
        self.flaps.changed(username, kind, up)

    def on_store(self, accepts: bool) -> None:
        if accepts:
            self.alerts.clear(kinds.COMMIT_FAILING)
        else:
            text = "commits fail or stall: Prepares are answered T00"
            self.alerts.set(kinds.COMMIT_FAILING, text)

    def on_circuit(self, username: str, is_open: bool) -> None:
        if is_open:
            self.alerts.set(kinds.CIRCUIT_OPEN, "its link keeps failing: no packets", username)
        else:
            self.alerts.clear(kinds.CIRCUIT_OPEN, username)

    async def start(self) -> None:
        """Raises ConfigError where the address of the metrics is taken."""
        if self.records is not None:
            self.records.start()
        if self._hook is not None:
            self._hook.start()
        if self._bind_address is not None:
            await self._listen(self._bind_address)
        self._looking = asyncio.get_running_loop().create_task(self._look())

    @property
    def address(self) -> str | None:
        """Where metrics are served without a token, with the port that the system chose."""
        if self._runner is None or not self._runner.addresses:
            return None
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self.records is not None:
            await self.records.close()
        if self._hook is not None:
            await self._hook.close()

    async def _look(self) -> None:
        while True:
            try:
                self.watch.look()
                self.flaps.look()
                self._look_at_rates()
            except Exception:
                # The next look may see more.
                _log.exception("a look at the accounts failed")
            await asyncio.sleep(_LOOK_SECONDS)

    def _look_at_rates(self) -> None:
        feed = self._rate_feed
        if feed is not None and feed.stale:
            self.alerts.set(kinds.RATES_STALE, f"no rates since: {feed.error}")
        else:
            self.alerts.clear(kinds.RATES_STALE)

    async def _listen(self, address: str) -> None:
        application = web.Application()
        application.router.add_get("/", self._scrape)
        application.router.add_get("/metrics", self._scrape)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        host, port = split_host_port(address)
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address}: {error.strerror}", key="prometheus.bind_address"
            ) from None

    async def _scrape(self, request: web.Request) -> web.Response:
        text = b"".join([piece async for piece in in_slices(self.metrics.pieces())])
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    def _numbers(self) -> Iterable[tuple[str, str, float]]:
        if self.records is not None:
            sink = self.records.sink
            yield "packet_records_written", "Records of packets that left the node.", sink.written
            yield "packet_records_dropped", "Records that had no room.", sink.dropped
        if self._rate_feed is not None:
            yield "rate_failures", "Failed polls of rates in a row.", self._rate_feed.failures
        for more in self.numbers:
            yield from more()

    def _log_alert(self, alert: Alert) -> None:
        _log.warning("alert", kind=alert.kind, account=alert.account or None, reason=alert.message)

    def _tell(self, alert: Alert) -> None:
        if self._hook is not None:
            self._hook.put(
                {
                    "kind": alert.kind,
                    "account": alert.account or None,
                    "message": alert.message,
                    "time_ms": alert.last_ms,
                }
            )


def _records(settings: Settings, switch: Switch) -> PacketRecords | None:
    config = settings.packet_records
    token = config.token.get_secret_value() if config.token is not None else ""
    if config.url is not None:
        sink = Sink("packet_records", Webhook(config.url, token), queue_max=config.queue_max)
    elif config.file is not None:
        sink = Sink("packet_records", JsonLines(config.file), queue_max=config.queue_max)
    else:
        return None
    return PacketRecords(switch, sink)


def _webhook(settings: Settings) -> Sink | None:
    config = settings.alerts
    if config.url is None:
        return None
    token = config.token.get_secret_value() if config.token is not None else ""
    return Sink("alerts", Webhook(config.url, token), queue_max=1_000)
