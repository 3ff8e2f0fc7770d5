"""What watches a running node between packets: rules, circuit breakers. Imports config, control.

Told of every account that is opened or closed. Its timer runs only where there is something to
look at.
"""

import asyncio
from fractions import Fraction

import structlog

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.config.models import Settings
from fastilp.control.breaker import BreakerLimits, Breakers
from fastilp.control.services import Services
from fastilp.node.monitoring import Monitoring
from fastilp.node.network import Network
from fastilp.node.services import add_services
from fastilp.transports.pump import Pump
from fastilp.types import AccountDetails, Relation

_log = structlog.get_logger("fastilp.node")

_TICK_SECONDS = 0.25


class Oversight:
    """Made after the accounts of the settings were opened; `start` in the running loop."""

    def __init__(
        self, settings: Settings, switch: Switch, pump: Pump, monitoring: Monitoring
    ) -> None:
        self.monitoring = monitoring
        limits = settings.circuit_breaker
        self._pump = pump
        self.services = Services(switch)
        add_services(self.services, settings.services)
        self.breakers = Breakers(
            switch,
            BreakerLimits(limits.window, Fraction(limits.ratio), limits.open_ms),
            self._on_circuit,
        )
        self.network: Network | None = None
        """Told of circuits."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def account_opened(self, account: Account, details: AccountDetails) -> None:
        """A new account, or one whose details have changed."""
        self.services.account_added(account.name)
        self.monitoring.account_opened(account, details.routing_relation)
        if details.circuit_breaker:
            self.breakers.watch(account)
        else:
            self.breakers.forget(account.name)
        self._set_timer()

    def account_restored(self, account: Account) -> None:
        """A plain account (control.records.is_plain): no breaker watches it, rules know it."""
        self.monitoring.account_opened(account, Relation.NON_ROUTING_ACCOUNT)

    def account_closed(self, username: str) -> None:
        self.breakers.forget(username)
        self.monitoring.account_closed(username)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer is None and not self._closed and len(self.breakers):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.breakers.tick(self._pump.now_ms())
        self._set_timer()

    def _on_circuit(self, account: Account, is_open: bool) -> None:
        self.monitoring.on_circuit(account.name, is_open)
        if self.network is not None:
            self.network.circuit(account.name, is_open)
        if is_open:
            _log.warning("the link keeps failing: no packets for a while", account=account.name)
        else:
            _log.info("packets go to the account again", account=account.name)
