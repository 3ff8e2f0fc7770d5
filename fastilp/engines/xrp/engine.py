"""The XRP engine: `accounts`, `outgoing` and `incoming` put together. Imports them.

A node that does not answer stops nothing but payments: it is asked again, and `/health` says so.
"""

from typing import Any

from fastilp.engines import paid
from fastilp.engines.base import Engine
from fastilp.engines.context import Context, Records
from fastilp.engines.errors import NotNowError
from fastilp.engines.node_http import shown_url
from fastilp.engines.parking import parked_count
from fastilp.engines.pinning import pin, pinned
from fastilp.engines.quantity import Quantity
from fastilp.engines.watcher import Watcher
from fastilp.engines.xrp.accounts import PeerAccounts, shown
from fastilp.engines.xrp.incoming import Incoming
from fastilp.engines.xrp.outgoing import Outgoing
from fastilp.engines.xrp.rpc import Ledger, Rpc
from fastilp.engines.xrp.settings import XrpSettings
from fastilp.engines.xrp.wallet import SCALE, Wallet
from fastilp.errors import ConfigError


class XrpEngine(Engine[XrpSettings]):
    scale = SCALE
    # A hundred billion XRP: there are no more.
    units_max = 10**17
    parks = True
    # A node queues ten of one account; what waits for a peer or for money gives way meanwhile.
    at_a_time = 10

    def __init__(self, context: Context, settings: XrpSettings) -> None:
        super().__init__(context, settings)
        wallet = Wallet(settings.xrp_secret.get_secret_value())
        self.address = wallet.address
        self.rpc = Rpc(settings.xrp_url)
        self._network_is_right = False
        self._watcher = Watcher(self._look, settings.poll_frequency, "the ledger")
        self.accounts = PeerAccounts(context, wallet.address)
        self.outgoing = Outgoing(context, self.rpc, wallet, settings)
        self.incoming = Incoming(context, self.rpc, wallet.address)
        self._add_metrics()

    async def start(self) -> None:
        self.rpc.open()
        paid.sweep(self.context)
        try:
            await self._check_network()
        except NotNowError as error:
            self.context.log.warning("no ledger yet", why=str(error))
        self.context.log.info("xrp", address=self.address)
        self._watcher.start()

    async def stop(self) -> None:
        await self._watcher.stop()
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
        return [self.rpc.trouble, self._watcher.trouble]

    def remarks(self) -> dict[str, str]:
        return {key: f"the XRP node says {what}" for key, what in self.outgoing.said.items()}

    def ledger_id(self, records: Records, key: str) -> str | None:
        return paid.ledger_id(records, key)

    def peer(self, records: Records, account_id: str) -> dict[str, Any]:
        return shown(records, account_id)

    async def _check_network(self) -> None:
        """Raises NotNowError; ConfigError if it is another one than the settings say, or than it
        was."""
        if self._network_is_right:
            return
        newest = await self.rpc.ledger()
        # Nodes that say nothing are of the main network.
        found, wanted = newest.network_id or 0, self.settings.network_id
        if wanted is not None and found != wanted:
            message = f"the node at {shown_url(self.settings.xrp_url)} is on the network {found}"
            raise ConfigError(message, key="network_id")
        await self._check_history(found, newest)
        self._network_is_right = True

    async def _check_history(self, network_id: int, newest: Ledger) -> None:
        """Test networks begin anew under the same number: a ledger that was seen before must be the
        same one, if the node still has it."""
        url, known = self.settings.xrp_url, pinned(self.context)
        seen = {"network_id": network_id, "ledger": newest.number, "hash": newest.hash}
        if known is not None:
            if newest.number < known["ledger"]:
                message = f"the XRP node is at {newest.number}, and {known['ledger']} was seen"
                raise NotNowError(message)
            found = await self.rpc.ledger_hash(known["ledger"])
            seen = known | {"network_id": network_id, "hash": found or known["hash"]}
        pin(self.context, seen, url)

    async def _look(self) -> None:
        try:
            await self._check_network()
            await self.outgoing.resend()
            await self.incoming.look()
        except Exception:
            # It may be another node when it answers again.
            self._network_is_right = False
            raise

    def _add_metrics(self) -> None:
        gauge, incoming = self.context.gauge, self.incoming
        gauge("xrp_next_ledger", "First ledger that was not looked at.", incoming.next_ledger)
        gauge("xrp_parked", "Payments with the tag of an account that is closed.", self._parked)
        gauge(
            "xrp_strays", "Payments with no tag of ours, since the start.", lambda: incoming.strays
        )

    def _parked(self) -> int:
        with self.context.read() as records:
            return parked_count(records)
