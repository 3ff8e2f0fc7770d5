"""The Ethereum engine: `handshake`, `outgoing` and `incoming` put together. Imports them.

A node that does not answer stops nothing but payments: it is asked again, and `/health` says so.
"""

import asyncio

from prometheus_client import Gauge

from fastilp.engines.base import Engine
from fastilp.engines.context import Context
from fastilp.engines.errors import NotNowError
from fastilp.engines.ethereum.handshake import Handshake
from fastilp.engines.ethereum.incoming import Incoming
from fastilp.engines.ethereum.outgoing import Outgoing
from fastilp.engines.ethereum.rpc import Rpc
from fastilp.engines.ethereum.settings import EthereumSettings
from fastilp.engines.ethereum.signing import Key
from fastilp.engines.parking import parked_count
from fastilp.engines.quantity import Quantity
from fastilp.errors import ConfigError


class EthereumEngine(Engine[EthereumSettings]):
    units_max = 2**256 - 1
    # Nearly all of them wait for confirmations, and one must not wait for those behind it.
    at_a_time = 1_000

    def __init__(self, context: Context, settings: EthereumSettings) -> None:
        super().__init__(context, settings)
        self.scale = settings.asset_scale
        self._key = Key(bytes.fromhex(settings.private_key.get_secret_value()))
        self._rpc = Rpc(settings.ethereum_url)
        self._chain_id: int | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._watch_trouble = ""
        self.handshake = Handshake(context, self._key, settings.token_address, settings.asset_scale)
        self.outgoing = Outgoing(context, self._rpc, self._key, settings)
        self.incoming = Incoming(context, self._rpc, self._key.address, settings)
        self._add_metrics()

    @property
    def address(self) -> str:
        return self._key.address

    async def start(self) -> None:
        self._rpc.open()
        self.outgoing.sweep()
        try:
            await self._chain()
        except NotNowError as error:
            self.context.log.warning("no chain yet", why=str(error))
        self.context.log.info("ethereum", address=self.address, chain_id=self._chain_id)
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
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
        found = [self._rpc.trouble, self._watch_trouble]
        if self.incoming.reorganised:
            found.append("the chain was reorganised deeper than `confirmations`; see the log")
        return [text for text in dict.fromkeys(found) if text]

    async def _chain(self) -> int:
        """Its id. Raises NotNowError; ConfigError if it is another one than the settings say."""
        if self._chain_id is None:
            found = await self._rpc.number("eth_chainId")
            wanted = self.settings.chain_id
            if wanted is not None and found != wanted:
                message = f"the node at {self.settings.ethereum_url} is on the chain {found}"
                raise ConfigError(message, key="chain_id")
            self._chain_id = found
        return self._chain_id

    async def _watch(self) -> None:
        while True:
            try:
                await self._chain()
                await self.outgoing.resend()
                if self.settings.watch_incoming:
                    await self.incoming.look()
                self._watch_trouble = ""
            except Exception as error:
                # Nothing is lost: the cursor stays, and the same blocks are next.
                self._watch_trouble = str(error) or type(error).__name__
                self.context.log.warning("cannot look at the chain", why=self._watch_trouble)
            await asyncio.sleep(self.settings.poll_frequency / 1_000)

    def _add_metrics(self) -> None:
        figures = {
            "next_block": ("First block that was not looked at.", self.incoming.next_block),
            "parked": ("Payments of senders whom no account has.", self._parked),
            "reorganised": (
                "Reorganisations deeper than the confirmations.",
                lambda: self.incoming.reorganised,
            ),
        }
        for name, (text, look) in figures.items():
            gauge = Gauge(f"fastilp_engine_ethereum_{name}", text, registry=self.context.registry)
            gauge.set_function(look)

    def _parked(self) -> int:
        with self.context.read() as records:
            return parked_count(records)
