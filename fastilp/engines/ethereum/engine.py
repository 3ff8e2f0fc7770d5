"""The Ethereum engine: `handshake`, `outgoing` and `incoming` put together. Imports them.

A node that does not answer stops nothing but payments: it is asked again, and `/health` says so.
"""

from typing import Any

from fastilp.engines import paid
from fastilp.engines.base import Engine
from fastilp.engines.context import Context, Records
from fastilp.engines.errors import NotNowError
from fastilp.engines.ethereum.handshake import Handshake
from fastilp.engines.ethereum.incoming import Incoming
from fastilp.engines.ethereum.outgoing import Outgoing
from fastilp.engines.ethereum.rpc import Rpc
from fastilp.engines.ethereum.settings import EthereumSettings
from fastilp.engines.ethereum.signing import Key
from fastilp.engines.node_http import shown_url
from fastilp.engines.parking import parked_count
from fastilp.engines.pinning import pin
from fastilp.engines.quantity import Quantity
from fastilp.engines.watcher import Watcher
from fastilp.errors import ConfigError


class EthereumEngine(Engine[EthereumSettings]):
    units_max = 2**256 - 1
    parks = True
    # Nearly all of them wait for confirmations, and one must not wait for those behind it.
    at_a_time = 1_000

    def __init__(self, context: Context, settings: EthereumSettings) -> None:
        super().__init__(context, settings)
        self.scale = settings.asset_scale
        self._key = Key(bytes.fromhex(settings.private_key.get_secret_value()))
        self._rpc = Rpc(settings.ethereum_url)
        self._chain_id: int | None = None
        self._watcher = Watcher(self._look, settings.poll_frequency, "the chain")
        self.handshake = Handshake(context, self._key, settings.token_address, settings.asset_scale)
        self.outgoing = Outgoing(context, self._rpc, self._key, settings)
        self.incoming = Incoming(context, self._rpc, self._key.address, settings)
        self._add_metrics()

    @property
    def address(self) -> str:
        return self._key.address

    async def start(self) -> None:
        self._rpc.open()
        paid.sweep(self.context)
        try:
            await self._chain()
        except NotNowError as error:
            self.context.log.warning("no chain yet", why=str(error))
        self.context.log.info("ethereum", address=self.address, chain_id=self._chain_id)
        self._watcher.start()

    async def stop(self) -> None:
        await self._watcher.stop()
        await self._rpc.close()

    async def create_account(self, account_id: str) -> None:
        await self.handshake.begin(account_id)

    async def delete_account(self, account_id: str) -> None:
        self.handshake.forget(account_id)

    async def receive_message(self, account_id: str, message: bytes) -> bytes:
        return await self.handshake.receive(account_id, message)

    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        peer = self.handshake.peer(account_id)
        if peer is None:
            raise NotNowError("the peer has not told its address yet")
        await self.outgoing.pay(account_id, peer, quantity.amount, key, await self._chain())

    def problems(self) -> list[str]:
        found = [self._rpc.trouble, self._watcher.trouble]
        if self.incoming.reorganised:
            found.append("the chain was reorganised deeper than `confirmations`; see the log")
        return found

    def remarks(self) -> dict[str, str]:
        return dict(self.outgoing.said)

    def ledger_id(self, records: Records, key: str) -> str | None:
        return paid.ledger_id(records, key)

    def peer(self, records: Records, account_id: str) -> dict[str, Any]:
        known = records.get(f"peer/{account_id}")
        return {} if known is None else {"address": known["own_address"]}

    async def _chain(self) -> int:
        """Its id. Raises NotNowError; ConfigError if it is another one than the settings say, or
        than it was."""
        if self._chain_id is None:
            found = await self._rpc.number("eth_chainId")
            wanted, url = self.settings.chain_id, self.settings.ethereum_url
            if wanted is not None and found != wanted:
                message = f"the node at {shown_url(url)} is on the chain {found}"
                raise ConfigError(message, key="chain_id")
            genesis = await self._rpc.block(0, whole=False)
            # Any chain can have the same id; the first block is its own.
            pin(self.context, {"chain_id": found, "block_0": genesis["hash"]}, url)
            self._chain_id = found
        return self._chain_id

    async def _look(self) -> None:
        try:
            await self._chain()
            await self.outgoing.resend()
            if self.settings.watch_incoming:
                await self.incoming.look()
        finally:
            # It may be another node at the next look, even if it was never away.
            self._chain_id = None

    def _add_metrics(self) -> None:
        gauge = self.context.gauge
        gauge(
            "ethereum_next_block", "First block that was not looked at.", self.incoming.next_block
        )
        gauge("ethereum_parked", "Payments of senders whom no account has.", self._parked)
        gauge(
            "ethereum_reorganised",
            "Reorganisations deeper than the confirmations.",
            lambda: self.incoming.reorganised,
        )

    def _parked(self) -> int:
        with self.context.read() as records:
            return parked_count(records)
