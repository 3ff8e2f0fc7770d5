"""An engine whose ledger is a list, hosts of engines, and a connector: for tests.

The connector is the conformance suite's stand-in: it keeps what it was told and fails on command.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from fastilp.engines import Engine, EngineError, EngineSettings, NotNowError, Quantity
from fastilp.engines.conformance.calls import Calls
from fastilp.engines.conformance.connector import Seen, StandIn
from fastilp.engines.host import Host

ACCOUNT = "alice"


class ListEngine(Engine[EngineSettings]):
    """Its ledger is `paid`, of the class, so that it outlives the engine."""

    scale = 18
    units_max = 2**256 - 1
    paid: list[tuple[str, Quantity, str]] = []
    calls: Counter[str] = Counter()
    fail_send = 0
    """So many calls pay and then fail: what an engine must live with."""
    fail_create: list[EngineError] = []

    async def create_account(self, account_id: str) -> None:
        self.calls["create"] += 1
        if self.fail_create:
            raise self.fail_create.pop(0)

    async def delete_account(self, account_id: str) -> None:
        self.calls["delete"] += 1

    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        self.calls["send"] += 1
        with self.context.change() as change:
            if change.get(f"paid/{key}") is None:
                change.put(f"paid/{key}", {})
                self.paid.append((account_id, quantity, key))
        if self.calls["send"] <= type(self).fail_send:
            raise NotNowError("on command")

    async def receive_message(self, account_id: str, message: bytes) -> bytes:
        self.calls["message"] += 1
        if message == b"slow":
            await asyncio.sleep(0.2)
        if message == b"bad":
            raise EngineError("that is bad", status=400)
        if message == b"ask":
            return await self.context.message(account_id, b"to the peer")
        return message[::-1]


def fresh() -> type[ListEngine]:
    """A ledger of its own for each test."""

    class Fresh(ListEngine):
        paid: list[tuple[str, Quantity, str]] = []
        calls: Counter[str] = Counter()
        fail_create: list[EngineError] = []

    return Fresh


@asynccontextmanager
async def running(
    kind: type[Engine[Any]], settings: EngineSettings
) -> AsyncIterator[tuple[Host, Calls]]:
    host = Host(kind, settings)
    try:
        await host.start()
        async with aiohttp.ClientSession() as session:
            yield host, Calls(f"http://{host.address}", session)
    finally:
        await host.stop()


@asynccontextmanager
async def connector() -> AsyncIterator[StandIn]:
    """Knows ACCOUNT."""
    stand_in = StandIn("127.0.0.1:0")
    stand_in.accounts[ACCOUNT] = Seen()
    await stand_in.start()
    try:
        yield stand_in
    finally:
        await stand_in.stop()


def settings(tmp_path: Path, **more: Any) -> EngineSettings:
    return EngineSettings(
        settlement_api_bind_address="127.0.0.1:0",
        data_dir=str(tmp_path / "engine"),
        retry_first_ms=5,
        retry_longest_ms=50,
        **more,
    )


async def until(condition: Callable[[], object]) -> None:
    """The test's own time limit ends it otherwise."""
    while not condition():
        await asyncio.sleep(0.01)
