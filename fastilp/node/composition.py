"""`Node`: opens the ledger, builds the switch, starts transports and control, and ends all of it
in order.

Promises that a start leaves a whole node or nothing open. A stop waits for what is in flight, then
rejects what peers still owe us over HTTP, hangs up, commits and closes the ledger; what was sent
over BTP and is still unanswered then stays reserved, for the crash report of the next start.
"""

import asyncio
import os
from pathlib import Path

import structlog

from fastilp._core.switch import Switch
from fastilp.config import secret_seed
from fastilp.config.models import Settings
from fastilp.control.accounts import Accounts
from fastilp.control.api.context import Context, Health
from fastilp.control.events import Events
from fastilp.control.punts import Punts
from fastilp.control.tables import NodeTables
from fastilp.control.tracing import Tracing
from fastilp.control.vault import Vault
from fastilp.errors import ConfigError
from fastilp.node.admin import Admin
from fastilp.node.details import details_of, rebased
from fastilp.node.feeds import Feeds
from fastilp.node.listeners import Listeners
from fastilp.node.listening import certificates, check_addresses
from fastilp.node.monitoring import Monitoring
from fastilp.node.network import Network, last_address, make_routing, own_address, take_address
from fastilp.node.open_accounts import OpenAccounts
from fastilp.node.oversight import Oversight
from fastilp.node.paying import NodePaying
from fastilp.node.rating import make_feed
from fastilp.node.reload import reload
from fastilp.node.report import (
    EventLog,
    log_crash_report,
    log_draining,
    log_left_over,
    log_lost_routes,
    log_overridden,
    log_unserved,
)
from fastilp.node.settling import NodeSettling
from fastilp.node.wiring import NodeWiring
from fastilp.storage.ledger import Ledger
from fastilp.transports.http_pool import HttpSenderLimits
from fastilp.transports.pump import Pump

_log = structlog.get_logger("fastilp.node")

# How often a drain looks whether it is done, and how long connections get to take their answers.
_DRAIN_POLL_SECONDS = 0.02
_DRAIN_REPORT_SECONDS = 1.0
_HANG_UP_SECONDS = 2.0


class Node:
    """A node in the running event loop, where it is made: `await start()`, … `await stop()`."""

    def __init__(self, settings: Settings, *, listens: bool = True) -> None:
        """`listens`: False for one that is never started; another node may have its addresses."""
        self.settings = settings
        self._reloading = asyncio.Lock()
        # Before anything is written: with a taken port there is to be no new ledger either.
        if listens:
            check_addresses(settings.listen)
        certificates(settings.listen)
        self.ledger = _open_ledger(settings)
        try:
            self._build()
        except BaseException:
            self.ledger.close()
            raise

    def _build(self) -> None:
        """Everything that needs no socket: what is wrong with the settings shows here."""
        settings = self.settings
        log_crash_report(self.ledger)
        log_unserved(settings)
        seed, generated = secret_seed(settings)
        if generated is not None:
            path = str(generated)
            _log.info("secret_seed generated; keep a copy, it must not change", path=path)
        self.switch = Switch(
            self.ledger,
            last_address(settings, self.ledger),
            in_flight_max=settings.node.in_flight_max,
            hold_max_ms=settings.node.hold_max_ms,
            window_min_ms=settings.node.window_min_ms,
        )
        vault = Vault.open(self.ledger, seed)
        routing = make_routing(self.switch, settings, seed)
        self.accounts = Accounts(self.switch, routing, vault)
        self.tables = NodeTables(self.switch, self.accounts)
        self._events = EventLog(self.ledger)
        self.pump = Pump(self.switch, self._events)
        self.events = Events(self.switch, self.accounts)
        sending = HttpSenderLimits(connections_max=settings.node.http_connections_out_max)
        self.wiring = NodeWiring(self.pump, vault.hash_key, self._on_link, sending)
        self.accounts.wiring = self.wiring
        self.paying = NodePaying(settings.payments, self.ledger, self.pump, seed, self.wiring)
        self.wiring.on_updated.append(self.paying.account_updated)
        self.wiring.on_shut.append(self.paying.account_shut)
        self.accounts.on_closed.append(self.paying.account_closed)
        self.accounts.restore()
        take_address(self.accounts, own_address(settings, self.ledger))
        self._seed_accounts()
        self.tracing = Tracing.to(settings.tracing.otlp_url, self.switch.address)
        rating = settings.exchange_rate
        lost = self.tables.load(
            settings.routes,
            settings.rates,
            rating.spread,
            rating.spreads,
            settings.settlement.engines,
        )
        self.rate_feed = make_feed(rating, self.switch, lambda: self.tables.rates, self.tracing)
        if self.rate_feed is not None:
            self.tables.on_rates = self.rate_feed.renew
        log_lost_routes(lost)
        self.monitoring = Monitoring(settings, self.switch, self.accounts, self.rate_feed)
        self._events.on_store = self.monitoring.on_store
        self.oversight = Oversight(settings, self.switch, self.pump, self.monitoring)
        self.wiring.oversight = self.oversight
        self.settling = NodeSettling(
            settings, self.pump, self.ledger, self.accounts, self.tables, self.monitoring
        )
        self.settling.attach(self.wiring, self._events)
        self.network: Network | None = None
        self._open = OpenAccounts(settings.open_btp, self.accounts, self.wiring.btp_tokens)
        self._admin: Admin | None = None
        self._listeners: Listeners | None = None
        self._is_ready = False

    def _on_link(self, username: str, kind: str, up: bool) -> None:
        self.events.link(username, kind, up)
        if not self._events.draining:
            self.monitoring.on_link(username, kind, up)
        if self.network is not None:
            self.network.link(username, self.wiring.is_reachable(username))
            self._open.link(username, up)

    def _seed_accounts(self) -> None:
        """The accounts of the settings, unless the API has changed or closed them since."""
        closed = self.accounts.closed_usernames()
        overridden = []
        for account in self.settings.accounts:
            details = details_of(account, self.accounts.vault)
            details = rebased(details, self.settings.node.ilp_address, self.switch.address)
            if self.accounts.find(account.username) or account.username in closed:
                overridden.append(account.username)
            else:
                self.accounts.add(details)
        self.accounts.save()
        log_overridden(overridden)
        if len(self.accounts) == 0:
            _log.warning("there are no accounts, so nobody can pay through this node")
        log_left_over(self.accounts)

    async def start(self) -> None:
        """Listen and dial. Raises ConfigError where listening fails; then nothing is left open."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        punts = Punts(self.switch, self.accounts.details, self.pump.wake, self.oversight.services)
        self.network = Network(self.settings, self.switch, self.accounts, punts, self.pump)
        wiring = self.wiring
        wiring.network = self.oversight.network = self.network
        self.monitoring.metrics.neighbours = self.network.neighbours
        wiring.open_all(self.accounts.entries())
        token = self.settings.node.admin_auth_token
        self.paying.restore()
        context = Context(
            self.switch,
            self.accounts,
            self.tables,
            self.events,
            admin_auth_token=token.get_secret_value() if token else None,
            health=self._health,
            drain=self.drain,
            alerts=self.monitoring.alerts,
            metrics=self.monitoring.metrics,
            routes=self.network.view,
            paying=self.paying.for_api,
            settlement=self.settling.settlement,
        )
        admin = Admin(context, self.tracing)
        self._admin = admin
        self._listeners = Listeners(
            self.settings.listen,
            self.pump,
            wiring.http_tokens,
            wiring.btp_tokens,
            wiring.batch_tokens,
            admin.fallback,
            admin.is_trusted,
            self._open.tokens,
            Feeds(context, self.paying.notifications),
        )
        await admin.start()
        await self._listeners.start()
        await self.settling.start(punts)
        self._is_ready = True
        wiring.start()
        if self.rate_feed is not None:
            self.rate_feed.start()
        await self.monitoring.start()
        _log.info(
            "ready",
            **self.addresses(),
            ilp_address=self.switch.address,
            accounts=len(self.accounts),
            data_dir=self.settings.node.data_dir,
            durability=self.settings.node.durability,
        )

    @property
    def http(self) -> str:
        """Where it listens, host:port, with the port that the system chose."""
        return self.addresses().get("http", self.settings.listen.http)

    def addresses(self) -> dict[str, str]:
        """Where it listens, by the names of `[listen]`, with the ports that the system chose."""
        found = self._listeners.addresses() if self._listeners is not None else {}
        if self.settling.address is not None:
            found["settlement"] = self.settling.address
        if self.monitoring.address is not None:
            found["prometheus"] = self.monitoring.address
        return found

    def drain(self) -> int:
        """Take no more Prepares; those in flight end, and everything else goes on. Returns how many
        there are."""
        # A Fulfill that waits for its commit is in flight for its sender.
        left = self.switch.in_flight() + self.switch.waiting()
        if not self._events.draining:
            _log.info("draining", in_flight=left)
            self._events.draining = True
            self.paying.payments.interrupt()
            self.switch.drain()
        return left

    async def reload(self, settings: Settings) -> None:
        """Take over what has changed in the settings and can change in a running node."""
        async with self._reloading:
            await reload(self.accounts, self.tables, self.settings, settings)
            self.settings = settings

    async def stop(self) -> None:
        """Take no more, finish what is in flight (at most `drain_max_ms`), commit, close."""
        try:
            await self._hang_up()
        finally:
            # Fulfills that wait for their commit are in flight for their senders.
            left = self.switch.in_flight() + self.switch.waiting()
            self.ledger.close()
        if left:
            _log.warning("stopped with packets in flight; the next start reports them", left=left)
        elif self._is_ready:
            _log.info("stopped")

    async def _hang_up(self) -> None:
        if self._listeners is not None:
            self._listeners.stop_accepting()
            self.settling.stop_accepting()
            self.drain()
            self.events.close()
            await self._drain()
            await self._reject_waiting()
            await self.paying.close(_HANG_UP_SECONDS)
            await self.settling.close(_HANG_UP_SECONDS)
            await self._listeners.drain(_HANG_UP_SECONDS)
        self.oversight.close()
        if self.network is not None:
            self.network.close()
        self._open.close()
        await self.monitoring.close()
        await asyncio.to_thread(self.tracing.close)
        if self.rate_feed is not None:
            await self.rate_feed.close()
        if self._admin is not None:
            await self._admin.close()
        await self.wiring.close_all()
        self.pump.close()

    async def _reject_waiting(self) -> None:
        """The Rejects reach their senders' sockets before those are closed."""
        self.wiring.reject_waiting()
        # The turn that the Rejects asked for comes first.
        await asyncio.sleep(0)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.settings.node.drain_max_ms / 1_000
        report_at = loop.time() + _DRAIN_REPORT_SECONDS
        while loop.time() < end and not self._is_drained():
            if loop.time() >= report_at:
                report_at += _DRAIN_REPORT_SECONDS
                log_draining(self.switch, end - loop.time())
            await asyncio.sleep(_DRAIN_POLL_SECONDS)

    def _is_drained(self) -> bool:
        # A Fulfill leaves after its commit: with nothing in flight there may still be some to send.
        return self.switch.in_flight() == 0 and self.switch.waiting() == 0

    def _health(self) -> Health:
        reasons = []
        if self._events.draining:
            reasons.append(f"it is draining, {self.switch.in_flight()} packets are in flight")
        elif not self._is_ready:
            reasons.append("it does not listen yet")
        store = self.ledger.store
        health = str(store.stats()["health"]) if store is not None else "healthy"
        if health != "healthy":
            reasons.append(f"the disk does not commit: {health}")
        elif not self._events.accepts:
            reasons.append("the disk is slow to commit")
        return Health(live=True, reasons=reasons)


def _open_ledger(settings: Settings) -> Ledger:
    path = Path(settings.node.data_dir)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"{os.fspath(path)!r} cannot be made: {error.strerror}"
        raise ConfigError(message, key="node.data_dir") from None
    is_new = not (path / "data.mdb").exists()
    ledger = Ledger.open(str(path), durability=settings.node.durability)
    if is_new:
        _log.info("a new ledger was created", data_dir=str(path))
    return ledger
