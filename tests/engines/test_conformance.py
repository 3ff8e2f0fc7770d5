"""The suite that tries engines: ours and the example pass it, and each rule that an engine breaks
is found."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastilp.engines import EngineSettings
from fastilp.engines.conformance.suite import Options, Report, Result, run
from fastilp.engines.quantity import Quantity
from fastilp.errors import ConfigError
from tests.engines.world import ListEngine, running, settings
from tests.helpers import free_ports, until

ROOT = Path(__file__).resolve().parents[2]
UNIT = Quantity(100, 2)


@contextmanager
def example(directory: Path, name: str, peer: str, port: int, connector: str) -> Iterator[str]:
    """One of two engines on the same ledger."""
    command = [
        sys.executable, str(ROOT / "examples" / "csv_engine.py"), f"127.0.0.1:{port}",
        f"http://{connector}", name, peer, "ledger.csv",
    ]  # fmt: skip
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(20) == 0


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def lines(report: Report) -> list[str]:
    return [f"{result.name}: {result.fault}" for result in report.results if result.fault]


@pytest.mark.asyncio
async def test_the_example_passes(tmp_path: Path) -> None:
    """Two processes, one file as their ledger, all checks."""
    connector, one, other = free_ports(3)
    address = f"127.0.0.1:{connector}"
    with (
        example(tmp_path, "alice", "bob", one, address) as alice,
        example(tmp_path, "bob", "alice", other, address) as bob,
    ):
        for port in (one, other):
            until(lambda port=port: is_served(port), lambda: (tmp_path / "alice.log").read_text())
        report = await run(Options(alice, bob, address, UNIT, 20.0, quiet_s=0.5), lambda _: None)
    assert (lines(report), report.remarks) == ([], [])
    rows = (tmp_path / "ledger.csv").read_text().splitlines()
    keys = [tuple(row.split(",")[:2]) for row in rows]
    assert len(keys) == len(set(keys)) > 0


class Twin(ListEngine):
    """Two of them, that hand each other money in memory; `fault` says what they do wrong."""

    scale = 2
    fault = ""
    twins: list["Twin"] = []

    def __init__(self, context: Any, chosen: EngineSettings) -> None:
        super().__init__(context, chosen)
        self.account = ""
        self.seen: set[str] = set()
        self.twins.append(self)

    async def create_account(self, account_id: str) -> None:
        if account_id.startswith("conformance"):
            self.account = account_id

    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        peer = self.twins[0] if self.twins[1] is self else self.twins[1]
        if self.fault == "keeps the money":
            return
        if self.fault == "rounds":
            quantity = Quantity(quantity.amount // 10 * 10 + 10, quantity.scale)
        peer.context.credit(peer.account, quantity, key)
        if self.fault == "pays twice":
            peer.context.credit(peer.account, quantity, f"{key}-again")

    async def receive_message(self, account_id: str, message: bytes) -> bytes:
        if self.fault == "fails":
            raise RuntimeError("a bug")
        return message


async def tried(tmp_path: Path, kind: type[Twin]) -> Report:
    (connector,) = free_ports(1)
    address = f"127.0.0.1:{connector}"
    one = settings(tmp_path / "one", connector_url=f"http://{address}")
    other = settings(tmp_path / "other", connector_url=f"http://{address}")
    async with running(kind, one) as (_, first), running(kind, other) as (_, second):
        options = Options(first.url, second.url, address, UNIT, 1.0, quiet_s=0.2)
        return await run(options, lambda _: None)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("", ()),
        ("pays twice", ("pays_once", "pays_duplicates_once", "pays_at_once")),
        ("keeps the money", ("pays_once", "repeats_credits")),
        ("rounds", ("pays_once",)),
        ("fails", ("survives_messages",)),
    ],
)
async def test_what_an_engine_does_wrong_is_found(
    tmp_path: Path, fault: str, found: tuple[str, ...]
) -> None:
    class Faulty(Twin):
        twins: list[Twin] = []

    Faulty.fault = fault
    report = await tried(tmp_path, Faulty)
    failed = [result.name for result in report.results if result.fault]
    assert set(found) <= set(failed), lines(report)
    assert bool(failed) == bool(fault), lines(report)
    silent = [remark for remark in report.remarks if "no engine has told" in remark]
    assert bool(silent) == (fault == "keeps the money")


@pytest.mark.asyncio
async def test_an_engine_that_is_not_there_is_one_sentence() -> None:
    connector, nobody = free_ports(2)
    for url, said in (
        (f"http://127.0.0.1:{nobody}", f"no engine answers at http://127.0.0.1:{nobody}: "),
        (f"127.0.0.1:{nobody}", "must be a URL like"),
    ):
        told: list[Result] = []
        with pytest.raises(ConfigError, match=said):
            await run(Options(url, None, f"127.0.0.1:{connector}", UNIT, 1.0), told.append)
        assert told == []
