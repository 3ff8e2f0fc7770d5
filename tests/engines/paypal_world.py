"""Two PayPal engines that are peers, their connectors, and the stand-in for PayPal, for tests.
`PAYER` is the payer's account at its engine, `PAYEE` the payee's at the other one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from fastilp.engines.conformance.calls import Calls
from fastilp.engines.conformance.connector import StandIn as Connectors
from fastilp.engines.host import Host
from fastilp.engines.paypal import PayPalEngine, PayPalSettings
from tests.engines.paypal_stand_in import PayPalStandIn
from tests.engines.xrp_world import PAYEE, PAYER, connectors, join

EMAILS = ("payer@example.org", "payee@example.org")


def chosen(directory: Path, connector: str, url: str, who: int, **more: Any) -> PayPalSettings:
    given: dict[str, Any] = {
        "settlement_api_bind_address": "127.0.0.1:0",
        "data_dir": str(directory),
        "connector_url": connector,
        "retry_first_ms": 5,
        "retry_longest_ms": 50,
        "paypal_client_id": SecretStr(EMAILS[who]),
        "paypal_secret": SecretStr(EMAILS[who][::-1]),
        "paypal_email": EMAILS[who],
        "paypal_url": url,
        "poll_frequency": 15,
    }
    return PayPalSettings(**(given | more))


@asynccontextmanager
async def stand_in() -> AsyncIterator[PayPalStandIn]:
    """At the end no cent has come or gone."""
    found = PayPalStandIn()
    for email in EMAILS:
        found.add(email)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


@asynccontextmanager
async def hosted(settings: PayPalSettings) -> AsyncIterator[tuple[Host, Calls]]:
    host = Host(PayPalEngine, settings)
    try:
        await host.start()
        async with aiohttp.ClientSession() as session:
            yield host, Calls(f"http://{host.address}", session)
    finally:
        await host.stop()


def engine(host: Host) -> PayPalEngine:
    assert isinstance(host.engine, PayPalEngine)
    return host.engine


@dataclass
class Pair:
    """Both engines, introduced to each other."""

    connectors: Connectors
    payer: Host
    payer_calls: Calls
    payee: Host
    payee_calls: Calls

    async def settle(self, amount: int, scale: int = 2, key: str = "") -> None:
        body = {"amount": str(amount), "scale": scale}
        assert (await self.payer_calls.settle(PAYER, body, key)).status == 201

    def credits(self) -> list[int]:
        return [quantity.amount for quantity in self.connectors.accounts[PAYEE].credits.values()]

    def has_paid(self, count: int) -> bool:
        return self.payer._payments.outbox.done_count >= count

    def sent(self) -> list[dict[str, Any]]:
        """What the payer's engine has on its way."""
        with self.payer._store.read() as view:
            return [record for _, record in view.items(b"engine", "sent/")]

    def note(self) -> str:
        """Of the payee's account."""
        with self.payee._store.read() as view:
            return str(view.get(b"engine", f"account/{PAYEE}")["note"])


@asynccontextmanager
async def pair(
    directory: Path, url: str, payer: dict[str, Any] | None = None, **both: Any
) -> AsyncIterator[Pair]:
    """`both` are settings of both engines, `payer` more of the payer's."""
    async with connectors() as found:
        one = chosen(directory / "payer", found.url, url, 0, **(both | (payer or {})))
        other = chosen(directory / "payee", found.url, url, 1, **both)
        async with hosted(one) as (first, first_calls), hosted(other) as (second, second_calls):
            join(found, first_calls, second_calls)
            assert (await second_calls.create(PAYEE)).status == 201
            assert (await first_calls.create(PAYER)).status == 201
            yield Pair(found, first, first_calls, second, second_calls)
