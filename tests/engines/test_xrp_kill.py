"""`fastilp engine xrp` as processes that are killed at any moment: at the end the ledger has moved,
and the connector was told, exactly what was asked for."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from fastilp.engines.conformance.calls import Calls, CheckError
from fastilp.engines.conformance.connector import StandIn as Connectors
from tests.engines.world import until
from tests.engines.xrp_world import (
    ADDRESSES,
    FUNDS,
    PAYEE,
    PAYER,
    SECRETS,
    connectors,
    join,
    paid,
    payments,
    stand_in,
)
from tests.helpers import free_ports

pytestmark = pytest.mark.asyncio


class Process:
    """An engine on a port that it keeps."""

    def __init__(self, directory: Path, port: int, connector: str, ledger: str, key: int) -> None:
        directory.mkdir()
        self._directory, self._key = directory, key
        self._ready = directory / "ready.json"
        self._command = [
            sys.executable, "-m", "fastilp", "engine", "xrp",
            "--settlement-api-bind-address", f"127.0.0.1:{port}",
            "--connector-url", connector, "--xrp-url", ledger,
            "--data-dir", str(directory / "data"), "--expiry-ledgers", "8",
            "--poll-frequency", "20", "--retry-longest-ms", "200",
            "--ready-file", str(self._ready),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        environment = {**os.environ, "FASTILP_ENGINE_XRP_SECRET": SECRETS[self._key]}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stderr=log)
        await until(self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "log").read_text()
        return self._ready.exists()

    def end(self, number: int = signal.SIGKILL) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)


async def settle(calls: Calls, amount: int, key: str) -> None:
    """As a connector does: again and again, until it is acknowledged."""
    while True:
        try:
            reply = await calls.settle(PAYER, {"amount": str(amount), "scale": 6}, key)
        except CheckError:
            await asyncio.sleep(0.05)
            continue
        assert reply.status == 201
        return


async def test_kills(tmp_path: Path, soak: bool) -> None:
    """Submissions are lost meanwhile as well, and their answers."""
    seed = random.randrange(2**32) if soak else 1
    print("seed", seed)
    generator = random.Random(seed)
    ports = free_ports(2)
    async with (
        stand_in(close_every_ms=200) as found,
        connectors() as joined,
        aiohttp.ClientSession() as session,
    ):
        processes = [
            Process(tmp_path / str(key), port, joined.url, found.url, key)
            for key, port in enumerate(ports)
        ]
        payer, payee = (Calls(f"http://127.0.0.1:{port}", session) for port in ports)
        join(joined, payer, payee)
        try:
            for process in processes:
                await process.start()
            assert (await payee.create(PAYEE)).status == 201
            assert (await payer.create(PAYER)).status == 201
            total = 0
            for number in range(200 if soak else 2):
                words = generator.choices(("lose", "drop", "hang up"), k=3)
                found.failures.extend(words)
                total += await _round(number, generator, processes, payer)
            await until(lambda: _credited(joined) >= total)
            assert _credited(joined) == total == sum(paid(found.ledger))
            fees = sum(int(each["Fee"]) for each in payments(found.ledger))
            balances = [found.ledger.validated.accounts[each].balance for each in ADDRESSES[:2]]
            assert balances == [FUNDS - total - fees, FUNDS + total]
            assert joined.remarks == []
            assert [process.end(signal.SIGTERM) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.end()


async def _round(
    number: int, generator: random.Random, processes: list[Process], payer: Calls
) -> int:
    """Settlements, one of the engines killed meanwhile, and started again. Their sum."""
    amounts = [generator.randrange(1, 1_000) for _ in range(3)]
    calls = [
        asyncio.create_task(settle(payer, amount, f"{number}-{index}"))
        for index, amount in enumerate(amounts)
    ]
    await asyncio.sleep(generator.random() * 0.5)
    killed = generator.sample(processes, generator.choice((1, 1, 2)))
    for process in killed:
        process.end()
    await asyncio.gather(*(process.start() for process in killed))
    await asyncio.gather(*calls)
    return sum(amounts)


def _credited(joined: Connectors) -> int:
    return sum(each.amount for each in joined.accounts[PAYEE].credits.values())
