"""Two Ethereum engines that are peers, and their connectors, for tests. `PAYER` is the payer's
account at its engine, `PAYEE` the payee's at the other one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from fastilp.engines.conformance.calls import Calls
from fastilp.engines.conformance.connector import Seen, StandIn
from fastilp.engines.ethereum import EthereumEngine, EthereumSettings
from fastilp.engines.host import Host
from tests.engines.anvil import KEYS

PAYER, PAYEE = "payer", "payee"
NOWHERE = "http://127.0.0.1:1"


def chosen(directory: Path, connector: str, key: int, **more: Any) -> EthereumSettings:
    given: dict[str, Any] = {
        "settlement_api_bind_address": "127.0.0.1:0",
        "data_dir": str(directory),
        "connector_url": connector,
        "retry_first_ms": 5,
        "retry_longest_ms": 50,
        "private_key": SecretStr(KEYS[key]),
        "poll_frequency": 20,
        "confirmations": 0,
    }
    return EthereumSettings(**(given | more))


@asynccontextmanager
async def hosted(
    settings: EthereumSettings, kind: type[EthereumEngine] = EthereumEngine
) -> AsyncIterator[tuple[Host, Calls]]:
    host = Host(kind, settings)
    try:
        await host.start()
        async with aiohttp.ClientSession() as session:
            yield host, Calls(f"http://{host.address}", session)
    finally:
        await host.stop()


def engine(host: Host) -> EthereumEngine:
    assert isinstance(host.engine, EthereumEngine)
    return host.engine


@asynccontextmanager
async def connectors() -> AsyncIterator[StandIn]:
    """Both in one: what PAYER's engine says goes to PAYEE's, and back."""
    stand_in = StandIn("127.0.0.1:0")
    stand_in.accounts = {
        PAYER: Seen(other_account=PAYEE),
        PAYEE: Seen(other_account=PAYER),
    }
    await stand_in.start()
    try:
        yield stand_in
    finally:
        await stand_in.stop()


def join(stand_in: StandIn, payer: Calls, payee: Calls) -> None:
    stand_in.accounts[PAYER].other_engine = payee.url
    stand_in.accounts[PAYEE].other_engine = payer.url


@dataclass
class Pair:
    """Both engines, introduced to each other."""

    stand_in: StandIn
    payer: Host
    payer_calls: Calls
    payee: Host
    payee_calls: Calls

    async def settle(self, amount: int, scale: int = 18, key: str = "") -> None:
        body = {"amount": str(amount), "scale": scale}
        assert (await self.payer_calls.settle(PAYER, body, key)).status == 201

    def credits(self) -> list[int]:
        return [quantity.amount for quantity in self.stand_in.accounts[PAYEE].credits.values()]

    def has_paid(self, count: int) -> bool:
        return self.payer._payments.outbox.done_count >= count


@asynccontextmanager
async def pair(
    directory: Path,
    url: str,
    payer_kind: type[EthereumEngine] = EthereumEngine,
    payer: dict[str, Any] | None = None,
    **both: Any,
) -> AsyncIterator[Pair]:
    """`both` are settings of both engines, `payer` more of the payer's."""
    async with connectors() as stand_in:
        both = {"ethereum_url": url, **both}
        one = chosen(directory / "payer", stand_in.url, 0, **(both | (payer or {})))
        other = chosen(directory / "payee", stand_in.url, 1, **both)
        async with (
            hosted(one, payer_kind) as (first, first_calls),
            hosted(other) as (second, second_calls),
        ):
            join(stand_in, first_calls, second_calls)
            assert (await second_calls.create(PAYEE)).status == 201
            assert (await first_calls.create(PAYER)).status == 201
            yield Pair(stand_in, first, first_calls, second, second_calls)
