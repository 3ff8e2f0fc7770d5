"""`fastilp engine ethereum` as processes that are killed at any moment: at the end the chain has
moved, and the connector was told, exactly what was asked for."""

import asyncio
import random
import signal
from pathlib import Path

import aiohttp
import pytest

from fastilp.engines.conformance.calls import Calls, CheckError
from fastilp.engines.conformance.connector import StandIn
from tests.engines.anvil import ADDRESSES, anvil
from tests.engines.ethereum_process import EngineProcess
from tests.engines.ethereum_world import PAYEE, PAYER, connectors, join
from tests.engines.world import until
from tests.helpers import free_ports

pytestmark = [pytest.mark.asyncio, pytest.mark.interop]


async def start(process: EngineProcess) -> None:
    process.launch()
    await until(process.is_ready)


async def settle(calls: Calls, amount: int, key: str) -> None:
    """As a connector does: again and again, until it is acknowledged."""
    while True:
        try:
            reply = await calls.settle(PAYER, {"amount": str(amount), "scale": 18}, key)
        except CheckError:
            await asyncio.sleep(0.05)
            continue
        assert reply.status == 201
        return


async def test_kills(tmp_path: Path, soak: bool) -> None:
    seed = random.randrange(2**32) if soak else 1
    print("seed", seed)
    generator = random.Random(seed)
    ports = free_ports(2)
    with anvil(tmp_path, "--block-time", "1") as chain:
        async with connectors() as stand_in, aiohttp.ClientSession() as session:
            processes = [
                EngineProcess(tmp_path / str(key), port, stand_in.url, chain.url, key, 1)
                for key, port in enumerate(ports)
            ]
            payer, payee = (Calls(f"http://127.0.0.1:{port}", session) for port in ports)
            join(stand_in, payer, payee)
            try:
                for process in processes:
                    await start(process)
                assert (await payee.create(PAYEE)).status == 201
                assert (await payer.create(PAYER)).status == 201
                total = await _rounds(200 if soak else 5, generator, processes, payer)
                await until(lambda: _credited(stand_in) >= total)
                transactions = chain.payments(ADDRESSES[0])
                assert sum(int(each["value"], 16) for each in transactions) == total
                assert _credited(stand_in) == total
                assert stand_in.remarks == []
                assert [process.end(signal.SIGTERM) for process in processes] == [0, 0]
            finally:
                for process in processes:
                    process.end()


async def _rounds(
    count: int,
    generator: random.Random,
    processes: list[EngineProcess],
    payer: Calls,
) -> int:
    """Each: settlements, one of the engines killed meanwhile, and started again. Their sum."""
    total = 0
    for number in range(count):
        amounts = [generator.randrange(1, 1_000) for _ in range(4)]
        total += sum(amounts)
        calls = [
            asyncio.create_task(settle(payer, amount, f"{number}-{index}"))
            for index, amount in enumerate(amounts)
        ]
        await asyncio.sleep(generator.random() * 0.5)
        killed = generator.sample(processes, generator.choice((1, 1, 2)))
        for process in killed:
            process.end()
        for process in killed:
            await start(process)
        await asyncio.gather(*calls)
    return total


def _credited(stand_in: StandIn) -> int:
    return sum(each.amount for each in stand_in.accounts[PAYEE].credits.values())
