"""The XRP engine: `accounts`, `outgoing` and `incoming` put together. Imports them.

A node that does not answer stops nothing but payments: it is asked again, and `/health` says so.
"""

import asyncio

from prometheus_client import Gauge

from fastilp.engines.base import Engine
from fastilp.engines.context import Context
from fastilp.engines.errors import NotNowError
from fastilp.engines.parking import parked_count
from fastilp.engines.quantity import Quantity
from fastilp.engines.xrp.accounts import PeerAccounts
from fastilp.engines.xrp.incoming import Incoming
from fastilp.engines.xrp.outgoing import Outgoing
from fastilp.engines.xrp.rpc import Rpc
from fastilp.engines.xrp.settings import XrpSettings
from fastilp.engines.xrp.wallet import SCALE, Wallet
from fastilp.errors import ConfigError


class XrpEngine(Engine[XrpSettings]):
    scale = SCALE
    # A hundred billion XRP: there are no more.
    units_max = 10**17
    # A node queues ten of one account; what waits for a peer or for money gives way meanwhile.
    at_a_time = 10

    def __init__(self, context: Context, settings: XrpSettings) -> None:
        super().__init__(context, settings)
        wallet = Wallet(settings.xrp_secret.get_secret_value())
        self.address = wallet.address
        self.rpc = Rpc(settings.xrp_url)
        self._network_is_right = False
        self._watcher: asyncio.Task[None] | None = None
        self._watch_trouble = ""
        self.accounts = PeerAccounts(context, wallet.address)
        self.outgoing = Outgoing(context, self.rpc, wallet, settings)
        self.incoming = Incoming(context, self.rpc, wallet.address)
        self._add_metrics()

    async def start(self) -> None:
        self.rpc.open()
        self.outgoing.sweep()
        try:
            await self._check_network()
        except NotNowError as error:
            self.context.log.warning("no ledger yet", why=str(error))
        self.context.log.info("xrp", address=self.address)
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self.rpc.close()

    async def create_account(self, account_id: str) -> None:
        await self.accounts.begin(account_id)

    async def delete_account(self, account_id: str) -> None:
        self.accounts.forget(account_id)

    async def receive_message(self, account_id: str, message: bytes) -> bytes:
        return self.accounts.receive(account_id, message)

    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        await self._check_network()
        await self.outgoing.pay(
            account_id, lambda: self.accounts.details(account_id), quantity.amount, key
        )

    def problems(self) -> list[str]:
        said = [
            f"payment {key}: the XRP node says {what}" for key, what in self.outgoing.said.items()
        ]
        found = [self.rpc.trouble, self._watch_trouble, *said]
        return [text for text in dict.fromkeys(found) if text]

    async def _check_network(self) -> None:
        """Raises NotNowError; ConfigError if it is another one than the settings say."""
        wanted = self.settings.network_id
        if self._network_is_right or wanted is None:
            return
        # Nodes that say nothing are of the main network.
        found = (await self.rpc.ledger()).network_id or 0
        if found != wanted:
            message = f"the node at {self.settings.xrp_url} is on the network {found}"
            raise ConfigError(message, key="network_id")
        self._network_is_right = True

    async def _watch(self) -> None:
        while True:
            try:
                await self._check_network()
                await self.outgoing.resend()
                await self.incoming.look()
                self._watch_trouble = ""
            except Exception as error:
                # Nothing is lost: the cursor stays, and the same ledgers are next.
                self._watch_trouble = str(error) or type(error).__name__
                self.context.log.warning("cannot look at the ledger", why=self._watch_trouble)
            await asyncio.sleep(self.settings.poll_frequency / 1_000)

    def _add_metrics(self) -> None:
        figures = {
            "next_ledger": ("First ledger that was not looked at.", self.incoming.next_ledger),
            "parked": ("Payments with the tag of an account that is closed.", self._parked),
            "strays": (
                "Payments with no tag of ours, since the start.",
                lambda: self.incoming.strays,
            ),
        }
        for name, (text, look) in figures.items():
            gauge = Gauge(f"fastilp_engine_xrp_{name}", text, registry=self.context.registry)
            gauge.set_function(look)

    def _parked(self) -> int:
        with self.context.read() as records:
            return parked_count(records)
