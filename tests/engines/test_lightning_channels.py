"""The Lightning engine on real channels: two Electrum wallets, on a Bitcoin chain of our own. What
is settled is what the channel has moved, when payments hang and programs are killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from fastilp.engines import Quantity
from fastilp.engines.conformance.calls import Calls
from fastilp.engines.conformance.connector import StandIn
from fastilp.engines.conformance.suite import Options, run
from fastilp.engines.lightning.node import State
from fastilp.errors import FastILPError
from fastilp.testnet.regtest import PASSWORD, Regtest, Wallet, check, regtest
from tests.engines.lightning_world import (
    PAYEE,
    PAYER,
    Pair,
    chosen,
    connectors,
    engine,
    hosted,
    join,
    pair,
)
from tests.engines.world import until
from tests.helpers import free_port

pytestmark = [pytest.mark.asyncio, pytest.mark.interop]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Regtest]:
    try:
        check()
    except FastILPError as error:
        pytest.skip(str(error))
    with regtest(tmp_path_factory.mktemp("lightning")) as found:
        yield found


def settings_of(wallet: Wallet) -> dict[str, Any]:
    return {
        "node": "electrum",
        "electrum_url": wallet.rpc.url,
        "electrum_password": SecretStr(PASSWORD),
    }


def balances(ledger: Regtest) -> tuple[int, ...]:
    return tuple(wallet.balance_sat() for wallet in ledger.wallets)


async def has_moved(ledger: Regtest, before: tuple[int, ...], sat: int) -> None:
    """The channel has agreed on it a moment after the preimage is known."""
    wanted = before[0] - sat, before[1] + sat
    await until(lambda: balances(ledger) == wanted)
    await asyncio.sleep(0.1)
    assert balances(ledger) == wanted


@asynccontextmanager
async def channel_pair(directory: Path, ledger: Regtest, **both: Any) -> AsyncIterator[Pair]:
    """The first wallet's engine pays. At the end the channel has moved what was credited."""
    one, other = ledger.wallets
    before = balances(ledger)
    async with pair(directory, settings_of(one), settings_of(other), **both) as found:
        yield found
        back = sum(each.amount for each in found.stand_in.accounts[PAYER].credits.values())
        moved = sum(found.credits()) - back
        await has_moved(ledger, before, moved)
        assert found.stand_in.remarks == []


async def test_settlements_both_ways(tmp_path: Path, ledger: Regtest) -> None:
    async with channel_pair(tmp_path, ledger) as both:
        await asyncio.gather(*(both.settle(1_000 + number) for number in range(3)))
        body = {"amount": "77", "scale": 8}
        assert (await both.payee_calls.settle(PAYEE, body)).status == 201
        await until(lambda: both.has_paid(3) and len(both.credits()) == 3)
        await until(lambda: both.stand_in.accounts[PAYER].credits)
        assert sorted(both.credits()) == [1_000, 1_001, 1_002]
        hashes = list(both.stand_in.accounts[PAYEE].credits)
        for payment_hash in hashes:
            payment = await engine(both.payer).node.payment(payment_hash)
            assert payment.state is State.PAID and payment.proves(payment_hash)
        assert engine(both.payer).outgoing.fees_msat() == 0


async def test_the_conformance_suite(tmp_path: Path, ledger: Regtest) -> None:
    address = f"127.0.0.1:{free_port()}"
    one, other = (
        chosen(tmp_path / wallet.name, f"http://{address}", **settings_of(wallet))
        for wallet in ledger.wallets
    )
    async with hosted(one) as (_, first), hosted(other) as (_, second):
        options = Options(first.url, second.url, address, Quantity(10, 8), 30.0, quiet_s=0.1)
        report = await run(options, lambda _: None)
    assert [each for each in report.results if each.fault] == [] and report.remarks == []


async def test_more_than_the_channel_holds(tmp_path: Path, ledger: Regtest) -> None:
    """It waits, and what is behind it goes on. It gets a new invoice when the first has expired;
    when the money is there, it is paid once."""
    _, other = ledger.wallets
    more = other.balance_sat() // 2
    too_much = ledger.wallets[0].balance_sat() + more // 2
    async with channel_pair(tmp_path, ledger, invoice_expiry=2, retry_longest_ms=200) as both:
        engine(both.payer).outgoing.expired_after_s = 0
        await both.settle(too_much, key="large")
        await both.settle(3, key="small")
        await until(both.credits)
        await until(lambda: "large" in " ".join(both.payer.problems()))
        first = both.record("sent/large")["hash"]
        await until(lambda: (both.record("sent/large") or {}).get("hash", first) != first)
        assert both.credits() == [3]
        body = {"amount": str(more), "scale": 8}
        assert (await both.payee_calls.settle(PAYEE, body)).status == 201
        await until(lambda: both.has_paid(2) and len(both.credits()) == 2)
        assert both.credits() == [3, too_much]
        body = {"amount": str(too_much - more), "scale": 8}
        assert (await both.payee_calls.settle(PAYEE, body)).status == 201
        await until(lambda: len(both.stand_in.accounts[PAYER].credits) == 2)


async def test_a_payment_that_hangs_while_all_is_restarted(tmp_path: Path, ledger: Regtest) -> None:
    """The payee's node keeps the preimage back; meanwhile the payer's engine and its node are
    killed, and the invoice expires. The node has forgotten that it was paying: nothing is paid
    again, as its channel still has the money on its way."""
    one, other = ledger.wallets
    before = balances(ledger)
    async with connectors() as stand_in:
        payer = chosen(tmp_path / "one", stand_in.url, **settings_of(one))
        payee = chosen(tmp_path / "other", stand_in.url, invoice_expiry=2, **settings_of(other))
        async with hosted(payee) as (_, payee_calls):
            other.call("enable_htlc_settle", b=False)
            async with hosted(payer) as (host, calls):
                join(stand_in, calls, payee_calls)
                await payee_calls.create(PAYEE)
                await calls.create(PAYER)
                await calls.settle(PAYER, {"amount": "500", "scale": 8}, "k")
                await until(lambda: one.channel()["local_unsettled_sent"] == 500)
                with host.engine.context.read() as records:
                    payment_hash = records.get("sent/k")["hash"]
            await asyncio.to_thread(ledger.restart_wallet, one)
            async with hosted(payer) as (host, _):
                engine(host).outgoing.expired_after_s = 0
                await asyncio.sleep(2)
                assert (await engine(host).node.payment(payment_hash)).state is State.PENDING
                with host.engine.context.read() as records:
                    assert records.get("sent/k")["hash"] == payment_hash
                other.call("enable_htlc_settle", b=True)
                await until(lambda: stand_in.accounts[PAYEE].credits)
                await until(lambda: host._payments.outbox.done_count == 1)
        assert stand_in.accounts[PAYEE].credits == {payment_hash: Quantity(500, 8)}
        await has_moved(ledger, before, 500)


class Process:
    """An engine on a port that it keeps."""

    def __init__(self, directory: Path, port: int, stand_in: StandIn, wallet: Wallet) -> None:
        directory.mkdir()
        self._log, self._ready = directory / "log", directory / "ready.json"
        self._command = [
            sys.executable, "-m", "fastilp", "engine", "lightning", *wallet.engine_flags,
            "--settlement-api-bind-address", f"127.0.0.1:{port}",
            "--connector-url", stand_in.url, "--data-dir", str(directory / "data"),
            "--poll-frequency", "20", "--retry-longest-ms", "200",
            "--ready-file", str(self._ready),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        environment = {**os.environ, "FASTILP_ENGINE_ELECTRUM_PASSWORD": PASSWORD}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stderr=log)
        await until(self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return self._ready.exists()

    def end(self, number: int = signal.SIGKILL) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)


async def test_kills(tmp_path: Path, ledger: Regtest, soak: bool) -> None:
    """Of the payer's engine, while it pays: after so many milliseconds, longer each time."""
    one, other = ledger.wallets
    before, port = balances(ledger), free_port()
    async with connectors() as stand_in, aiohttp.ClientSession() as session:
        process = Process(tmp_path / "one", port, stand_in, one)
        payer = Calls(f"http://127.0.0.1:{port}", session)
        settings = chosen(tmp_path / "other", stand_in.url, **settings_of(other))
        async with hosted(settings) as (_, payee):
            join(stand_in, payer, payee)
            try:
                await process.start()
                assert (await payee.create(PAYEE)).status == 201
                assert (await payer.create(PAYER)).status == 201
                rounds = 40 if soak else 2
                for number in range(rounds):
                    body = {"amount": str(10 + number), "scale": 8}
                    assert (await payer.settle(PAYER, body, f"{number}")).status == 201
                    await asyncio.sleep((number + 1) * (0.2 / rounds))
                    process.end()
                    await process.start()
                credits = stand_in.accounts[PAYEE].credits
                await until(lambda: len(credits) == rounds)
                total = sum(each.amount for each in credits.values())
                assert total == sum(10 + number for number in range(rounds))
                await has_moved(ledger, before, total)
                assert stand_in.remarks == []
                assert process.end(signal.SIGTERM) == 0
            finally:
                process.end()
