"""Two XRP engines that are peers, their connectors, and the stand-in for the ledger, for tests.
`PAYER` is the payer's account at its engine, `PAYEE` the payee's at the other one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from fastilp.engines.conformance.calls import Calls
from fastilp.engines.conformance.connector import Seen
from fastilp.engines.conformance.connector import StandIn as Connectors
from fastilp.engines.host import Host
from fastilp.engines.xrp import XrpEngine, XrpSettings
from fastilp.engines.xrp.stand_in import StandIn
from fastilp.engines.xrp.stand_in.ledger import ALL_DROPS, StandInLedger
from fastilp.engines.xrp.wallet import Wallet

PAYER, PAYEE = "payer", "payee"
NOWHERE = "http://127.0.0.1:1"
# Of tests only: everybody knows them. Both kinds of keys, secp256k1 and Ed25519.
SECRETS = (
    "sp6JS7f14BuwFY8Mw6bTtLKWauoUs",
    "sEdSKaVGtEer9RrxMSMhFM2WVSW5LT3",
    "sp5vYGGekvDhXJSn6f7oPdcjheQXW",
)
ADDRESSES = tuple(Wallet(secret).address for secret in SECRETS)
FUNDS = 1_000_000_000


def chosen(directory: Path, connector: str, url: str, key: int, **more: Any) -> XrpSettings:
    given: dict[str, Any] = {
        "settlement_api_bind_address": "127.0.0.1:0",
        "data_dir": str(directory),
        "connector_url": connector,
        "retry_first_ms": 5,
        "retry_longest_ms": 50,
        "xrp_secret": SecretStr(SECRETS[key]),
        "xrp_url": url,
        "poll_frequency": 20,
    }
    return XrpSettings(**(given | more))


@asynccontextmanager
async def stand_in(close_every_ms: int = 0, network_id: int = 0) -> AsyncIterator[StandIn]:
    """Both accounts have FUNDS. At the end no drop has come or gone."""
    found = StandIn("127.0.0.1:0", network_id, close_every_ms)
    for address in ADDRESSES[:2]:
        found.ledger.fund(address, FUNDS)
    found.ledger.close()
    await found.start()
    try:
        yield found
    finally:
        await found.stop()
        conserved(found.ledger)


def conserved(ledger: StandInLedger) -> None:
    held = sum(account.balance for account in ledger.validated.accounts.values())
    assert held + ledger.validated.burned == ALL_DROPS


@asynccontextmanager
async def hosted(
    settings: XrpSettings, kind: type[XrpEngine] = XrpEngine
) -> AsyncIterator[tuple[Host, Calls]]:
    host = Host(kind, settings)
    try:
        await host.start()
        async with aiohttp.ClientSession() as session:
            yield host, Calls(f"http://{host.address}", session)
    finally:
        await host.stop()


def engine(host: Host) -> XrpEngine:
    assert isinstance(host.engine, XrpEngine)
    return host.engine


@asynccontextmanager
async def connectors() -> AsyncIterator[Connectors]:
    """Both in one: what PAYER's engine says goes to PAYEE's, and back."""
    found = Connectors("127.0.0.1:0")
    found.accounts = {PAYER: Seen(other_account=PAYEE), PAYEE: Seen(other_account=PAYER)}
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


def join(found: Connectors, payer: Calls, payee: Calls) -> None:
    found.accounts[PAYER].other_engine = payee.url
    found.accounts[PAYEE].other_engine = payer.url


def payments(ledger: StandInLedger, sender: str = ADDRESSES[0]) -> list[dict[str, Any]]:
    """All that this account has sent, validated."""
    entries = ledger.entries_of(sender, 0, ledger.number)
    return [each.transaction for each in entries if each.transaction["Account"] == sender]


def paid(ledger: StandInLedger) -> list[int]:
    """Drops of the payer's payments that moved money."""
    entries = ledger.entries_of(ADDRESSES[0], 0, ledger.number)
    return [
        int(each.transaction["Amount"])
        for each in entries
        if each.transaction["Account"] == ADDRESSES[0]
        and each.meta["TransactionResult"] == "tesSUCCESS"
    ]


@dataclass
class Pair:
    """Both engines, introduced to each other."""

    connectors: Connectors
    payer: Host
    payer_calls: Calls
    payee: Host
    payee_calls: Calls

    async def settle(self, amount: int, scale: int = 6, key: str = "") -> None:
        body = {"amount": str(amount), "scale": scale}
        assert (await self.payer_calls.settle(PAYER, body, key)).status == 201

    def credits(self) -> list[int]:
        return [quantity.amount for quantity in self.connectors.accounts[PAYEE].credits.values()]

    def has_paid(self, count: int) -> bool:
        return self.payer._payments.outbox.done_count >= count

    def signed(self) -> list[dict[str, Any]]:
        """What the payer's engine has on its way."""
        with self.payer._store.read() as view:
            return [record for _, record in view.items(b"engine", "sent/")]


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
