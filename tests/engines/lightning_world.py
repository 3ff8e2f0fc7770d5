"""Two Lightning engines that are peers, and their connectors, for tests. `PAYER` is the payer's
account at its engine, `PAYEE` the payee's at the other one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from fastilp.engines.conformance.calls import Calls
from fastilp.engines.conformance.connector import StandIn
from fastilp.engines.host import Host
from fastilp.engines.lightning import LightningEngine, LightningSettings
from tests.engines.ethereum_world import PAYEE, PAYER, connectors, join
from tests.engines.lnd_stand_in import MACAROON, Channel, LndStandIn

__all__ = ["PAYEE", "PAYER", "connectors", "join"]


def chosen(directory: Path, connector: str, **more: Any) -> LightningSettings:
    given: dict[str, Any] = {
        "settlement_api_bind_address": "127.0.0.1:0",
        "data_dir": str(directory),
        "connector_url": connector,
        "retry_first_ms": 5,
        "retry_longest_ms": 50,
        "poll_frequency": 20,
    }
    return LightningSettings(**(given | more))


@asynccontextmanager
async def hosted(settings: LightningSettings) -> AsyncIterator[tuple[Host, Calls]]:
    host = Host(LightningEngine, settings)
    try:
        await host.start()
        async with aiohttp.ClientSession() as session:
            yield host, Calls(f"http://{host.address}", session)
    finally:
        await host.stop()


def engine(host: Host) -> LightningEngine:
    assert isinstance(host.engine, LightningEngine)
    return host.engine


@asynccontextmanager
async def lnds() -> AsyncIterator[tuple[LndStandIn, LndStandIn]]:
    """The payer's and the payee's."""
    channel = Channel()
    both = LndStandIn("payer", channel), LndStandIn("payee", channel)
    try:
        for each in both:
            await each.start()
        yield both
    finally:
        for each in both:
            await each.stop()


def lnd_settings(directory: Path, node: LndStandIn) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    macaroon = directory / f"{node.name}.macaroon"
    macaroon.write_bytes(MACAROON)
    return {"node": "lnd", "lnd_url": node.url, "lnd_macaroon_path": str(macaroon)}


@dataclass
class Pair:
    """Both engines, with their accounts."""

    stand_in: StandIn
    payer: Host
    payer_calls: Calls
    payee: Host
    payee_calls: Calls

    async def settle(self, amount: int, scale: int = 8, key: str = "") -> None:
        body = {"amount": str(amount), "scale": scale}
        assert (await self.payer_calls.settle(PAYER, body, key)).status == 201

    def credits(self) -> list[int]:
        """In satoshis."""
        found = self.stand_in.accounts[PAYEE].credits.values()
        assert all(quantity.scale == 8 for quantity in found)
        return [quantity.amount for quantity in found]

    def has_paid(self, count: int) -> bool:
        return self.payer._payments.outbox.done_count >= count

    def record(self, name: str) -> Any:
        """Of the payer's engine."""
        with self.payer.engine.context.read() as records:
            return records.get(name)


@asynccontextmanager
async def pair(
    directory: Path, payer: dict[str, Any], payee: dict[str, Any], **both: Any
) -> AsyncIterator[Pair]:
    """`payer` and `payee` are settings of one of the two."""
    async with connectors() as stand_in:
        one = chosen(directory / "payer", stand_in.url, **(both | payer))
        other = chosen(directory / "payee", stand_in.url, **(both | payee))
        async with hosted(one) as (first, first_calls), hosted(other) as (second, second_calls):
            join(stand_in, first_calls, second_calls)
            assert (await second_calls.create(PAYEE)).status == 201
            assert (await first_calls.create(PAYER)).status == 201
            yield Pair(stand_in, first, first_calls, second, second_calls)
