"""The Lightning engine: `outgoing` and `incoming` put together, on one of the nodes. Imports them.

A node that does not answer stops nothing but payments: it is asked again, and `/health` says so.
"""

from fastilp.engines import paid
from fastilp.engines.base import Engine
from fastilp.engines.context import Context, Records
from fastilp.engines.errors import NotNowError
from fastilp.engines.lightning.electrum import ElectrumNode
from fastilp.engines.lightning.incoming import SAT_SCALE, Incoming
from fastilp.engines.lightning.lnd import LndNode
from fastilp.engines.lightning.messages import SAT_MAX
from fastilp.engines.lightning.node import LightningNode
from fastilp.engines.lightning.outgoing import Outgoing
from fastilp.engines.lightning.settings import LightningSettings
from fastilp.engines.quantity import Quantity
from fastilp.engines.watcher import Watcher


class LightningEngine(Engine[LightningSettings]):
    scale = SAT_SCALE
    units_max = SAT_MAX
    # A payment may be held up by any node on its way, and must not hold up the others.
    at_a_time = 100

    def __init__(self, context: Context, settings: LightningSettings) -> None:
        super().__init__(context, settings)
        self.node = node_of(settings)
        self.outgoing = Outgoing(context, self.node, settings)
        self.incoming = Incoming(context, self.node, settings)
        self._watcher = Watcher(self.incoming.look, settings.poll_frequency, "the node")
        self._add_metrics()

    async def start(self) -> None:
        self.node.open()
        self.outgoing.sweep()
        self.incoming.sweep()
        try:
            self.context.log.info("lightning", node=await self.node.describe())
        except NotNowError as error:
            self.context.log.warning("no node yet", why=str(error))
        self._watcher.start()

    async def stop(self) -> None:
        await self._watcher.stop()
        await self.node.close()

    async def receive_message(self, account_id: str, message: bytes) -> bytes:
        return await self.incoming.answer(account_id, message)

    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        await self.outgoing.pay(account_id, quantity.amount, key)

    def problems(self) -> list[str]:
        return [self.node.trouble, self._watcher.trouble]

    def remarks(self) -> dict[str, str]:
        return self.outgoing.hanging()

    def ledger_id(self, records: Records, key: str) -> str | None:
        return paid.ledger_id(records, key)

    def _add_metrics(self) -> None:
        gauge, counts = self.context.gauge, self.incoming.counts
        gauge("lightning_fees_msat", "Routing fees that we have paid.", self.outgoing.fees_msat)
        gauge("lightning_invoices_open", "Invoices that may be paid.", lambda: counts()[0])
        gauge(
            "lightning_invoices_parked",
            "Those of them whose account is gone.",
            lambda: counts()[1],
        )


def node_of(settings: LightningSettings) -> LightningNode:
    """Raises ConfigError."""
    if settings.node == "lnd":
        return LndNode(settings.lnd_url, settings.lnd_macaroon_path, settings.lnd_tls_cert_path)
    return ElectrumNode(
        settings.electrum_url,
        settings.electrum_user,
        settings.electrum_password.get_secret_value(),
        settings.electrum_wallet,
    )
