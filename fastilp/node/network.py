"""The node in its network: runs what `control` knows of neighbours, routes and the parent in the
event loop. Imports config, control, _core, storage, transports.

Control's work is done in steps, and for every moment of it packets get one as well. Promises that a
peer's routes never take more than half of the node's time.
"""

import asyncio
import hashlib
import hmac
import logging

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger as CoreLedger
from fastilp._core.switch import Switch
from fastilp.config.models import Settings
from fastilp.control.accounts import Accounts
from fastilp.control.inheritance import Inheritance
from fastilp.control.neighbours import Neighbours, RoutingLimits
from fastilp.control.punts import Punts
from fastilp.control.route_view import RouteView
from fastilp.control.routing import Routing
from fastilp.errors import ConflictError, UsageError
from fastilp.storage.kinds import TABLES, TableRecord
from fastilp.storage.ledger import Ledger
from fastilp.transports.pump import Pump
from fastilp.types import AccountDetails

_log = logging.getLogger("fastilp.routing")

ADDRESS = "address"
# What the accounts in the store are below.
_LAST_ADDRESS = "last_address"
_NAMES_SHOWN = 5
_STEP_SECONDS = 0.002


def make_routing(switch: Switch, settings: Settings, seed: bytes) -> Routing:
    """The secret behind the values that vouch for our prefixes follows from the node's."""
    secret = hmac.digest(seed, b"fastilp routing", hashlib.sha256)
    return Routing(switch, secret, multipath=settings.routing.multipath)


def inherits(settings: Settings) -> bool:
    """Whether a parent gives the node its address: where the settings do not."""
    return "ilp_address" not in settings.node.model_fields_set


def own_address(settings: Settings, ledger: Ledger) -> str:
    """The one that a parent gave last, or that of the settings."""
    if inherits(settings) and ledger.store is not None:
        record = TABLES.get(ledger.store, ADDRESS)
        if record is not None:
            return record.entries
    return settings.node.ilp_address


def last_address(settings: Settings, ledger: Ledger) -> str:
    """The one that the node had when it ran last."""
    record = None if ledger.store is None else TABLES.get(ledger.store, _LAST_ADDRESS)
    return own_address(settings, ledger) if record is None else record.entries


def take_address(accounts: Accounts, address: str) -> None:
    """Once the store's accounts are open: where the settings name another address than before,
    those below the old one move, as they do when a parent gives another one."""
    before = accounts.switch.address
    if address != before and not _moved(accounts, before, address):
        return
    _keep_last(accounts.switch.ledger, address)


def _moved(accounts: Accounts, before: str, address: str) -> bool:
    below = f"{before}."
    names = [details.username for _, details in accounts if details.ilp_address.startswith(below)]
    about = {"before": before, "ilp_address": address, "count": len(names)}
    about["accounts"] = sorted(names)[:_NAMES_SHOWN]
    try:
        accounts.readdress(address)
    except (UsageError, ConflictError) as error:
        accounts.switch.address = address
        text = "the node has another address; accounts keep theirs, below the old one"
        _log.warning(text, extra={**about, "reason": str(error)})
        return False
    finally:
        accounts.routing.readdress(address)
    if names:
        text = "the node has another address; accounts of the API below the old one moved along"
        _log.warning(text, extra=about)
    return True


def _keep_last(ledger: CoreLedger, address: str) -> None:
    if ledger.store is None:
        return
    record = TableRecord(name=_LAST_ADDRESS, entries=address)
    if TABLES.get(ledger.store, _LAST_ADDRESS) != record:
        ledger.transact(puts=[TABLES.put(record)])


class Network:
    """Made once punts are answered; told of accounts and links from then on."""

    def __init__(
        self, settings: Settings, switch: Switch, accounts: Accounts, punts: Punts, pump: Pump
    ) -> None:
        self._switch = switch
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._is_soon = False
        self._rest_until = 0.0
        self._closed = False
        self._services = punts.services
        self.neighbours = Neighbours(
            switch,
            accounts.routing,
            punts.requests,
            now_ms=pump.now_ms,
            answer=punts.reply,
            wake=self.wake,
            limits=RoutingLimits(settings.routing.route_broadcast_interval),
        )
        self.inheritance = Inheritance(
            switch,
            accounts,
            self.neighbours,
            punts.requests,
            pump.now_ms,
            is_wanted=inherits(settings),
            on_address=self._readdressed,
        )
        self.view = RouteView(switch, accounts.routing, self.neighbours)
        punts.neighbours = self.neighbours
        punts.requests.on_answered = self.wake
        self._now_ms = pump.now_ms

    # --- Accounts and links ---------------------------------------------------------------------

    def account_opened(self, account: Account, details: AccountDetails, *, is_up: bool) -> None:
        """A new account, or one whose details have changed; `is_up`: packets can leave to it."""
        self.neighbours.open(account, details, is_up=is_up)
        self.inheritance.link(account.name, is_up)
        self.wake()

    def account_closed(self, username: str) -> None:
        self.neighbours.close(username)
        self.inheritance.link(username, False)

    def link(self, username: str, is_up: bool) -> None:
        self.neighbours.link(username, is_up)
        self.inheritance.link(username, is_up)
        self.wake()

    def circuit(self, username: str, is_open: bool) -> None:
        self.neighbours.circuit(username, is_open)

    def close(self) -> None:
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()

    # --- Time -----------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something has changed: look at what is to be done, in a turn of the loop's own."""
        if not self._is_soon and not self._closed:
            self._set(max(0.0, self._rest_until - self._loop.time()))

    def _set(self, delay_seconds: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._is_soon = delay_seconds <= max(
            _STEP_SECONDS * 2, self._rest_until - self._loop.time()
        )
        self._handle = self._loop.call_later(delay_seconds, self._run)

    def _run(self) -> None:
        self._is_soon = False
        began = self._loop.time()
        try:
            self._tick()
            has_more = self.neighbours.work()
            while has_more and self._loop.time() - began < _STEP_SECONDS:
                has_more = self.neighbours.work()
        except Exception:
            # One neighbour's route must not end the others'.
            _log.exception("routing failed")
            has_more = False
        if self._closed:
            return
        # Packets get as much time, whoever wakes us.
        now = self._loop.time()
        self._rest_until = now + (now - began)
        if has_more:
            self._set(now - began)
            return
        due = [self.neighbours.next_ms(), self.inheritance.next_ms()]
        next_ms = min((each for each in due if each is not None), default=None)
        if next_ms is not None:
            self._set(max(0.001, now - began, (next_ms - self._now_ms()) / 1_000))

    def _tick(self) -> None:
        now_ms = self._now_ms()
        next_ms = self.neighbours.next_ms()
        if next_ms is not None and next_ms <= now_ms:
            self.neighbours.tick()
        self.inheritance.tick()

    def _readdressed(self, address: str) -> None:
        """After a restart the node has its address at once."""
        self._services.readdress(address)
        ledger = self._switch.ledger
        if ledger.store is not None:
            ledger.transact(puts=[TABLES.put(TableRecord(name=ADDRESS, entries=address))])
            _keep_last(ledger, address)
