"""`fastilp engine paypal` as a process that is killed at any moment while answers of PayPal are
lost: at the end PayPal has moved, and the connector was told, exactly what was asked for."""

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
from tests.engines.paypal_stand_in import FEE, FUNDS
from tests.engines.paypal_world import EMAILS, chosen, hosted, stand_in
from tests.engines.world import until
from tests.engines.xrp_world import PAYEE, PAYER, connectors, join
from tests.helpers import free_port

pytestmark = pytest.mark.asyncio


class Process:
    """The payer's engine, on a port that it keeps."""

    def __init__(self, directory: Path, port: int, connector: str, paypal: str) -> None:
        directory.mkdir()
        self._directory = directory
        self._ready = directory / "ready.json"
        self._command = [
            sys.executable, "-m", "fastilp", "engine", "paypal",
            "--settlement-api-bind-address", f"127.0.0.1:{port}",
            "--connector-url", connector, "--paypal-url", paypal, "--paypal-email", EMAILS[0],
            "--data-dir", str(directory / "data"),
            "--poll-frequency", "20", "--retry-longest-ms", "100",
            "--ready-file", str(self._ready),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "FASTILP_ENGINE_PAYPAL_CLIENT_ID": EMAILS[0],
            "FASTILP_ENGINE_PAYPAL_SECRET": EMAILS[0][::-1],
        }
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
            reply = await calls.settle(PAYER, {"amount": str(amount), "scale": 2}, key)
        except CheckError:
            await asyncio.sleep(0.05)
            continue
        assert reply.status == 201
        return


async def test_kills(tmp_path: Path, soak: bool) -> None:
    seed = random.randrange(2**32) if soak else 1
    print("seed", seed)
    generator = random.Random(seed)
    port = free_port()
    async with (
        stand_in() as found,
        connectors() as joined,
        aiohttp.ClientSession() as session,
        hosted(chosen(tmp_path / "payee", joined.url, found.url, 1)) as (_, payee),
    ):
        process = Process(tmp_path / "payer", port, joined.url, found.url)
        payer = Calls(f"http://127.0.0.1:{port}", session)
        join(joined, payer, payee)
        amounts: list[int] = []
        try:
            await process.start()
            assert (await payee.create(PAYEE)).status == 201
            assert (await payer.create(PAYER)).status == 201
            for number in range(200 if soak else 2):
                found.failures.extend(generator.choices(("lose", "break", "fail", "hang up"), k=3))
                fresh = [generator.randrange(1, 1_000) for _ in range(4)]
                calls = [
                    asyncio.create_task(settle(payer, amount, f"{number}-{index}"))
                    for index, amount in enumerate(fresh)
                ]
                await asyncio.sleep(generator.random() * 0.2)
                process.end()
                await process.start()
                await asyncio.gather(*calls)
                amounts += fresh
            credited = joined.accounts[PAYEE].credits
            await until(lambda: len(credited) >= len(amounts))
            assert sorted(each.amount for each in credited.values()) == sorted(amounts)
            assert sorted(found.paid(EMAILS[1])) == sorted(amounts)
            total, fees = sum(amounts), FEE * len(amounts)
            balances = [each.balance for each in found.merchants.values()]
            assert balances == [FUNDS - total - fees, FUNDS + total]
            assert joined.remarks == []
            assert process.end(signal.SIGTERM) == 0
        finally:
            process.end()
