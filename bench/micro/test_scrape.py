"""A scrape of the metrics of a node with 10,000 accounts of every kind that is counted apart; each
kind has paid each: bytes and time of one `Metrics.text()`, as it runs in the node's loop."""

from pytest_benchmark.fixture import BenchmarkFixture

from fastilp._core.ledger import Ledger
from fastilp._core.packet import Prepare
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.control.alerts import Alerts
from fastilp.control.metrics import Classes, Metrics
from fastilp.types import AccountDetails

ACCOUNTS = 10_000
KINDS = 23
NOW_MS = 1_800_000_000_000
CONDITION = bytes(32)


def prepare(destination: str) -> bytes:
    packet = Prepare(
        amount=1,
        expires_at=NOW_MS + 30_000,
        execution_condition=CONDITION,
        destination=destination,
    )
    return bytes(packet)


def test_scrape(benchmark: BenchmarkFixture) -> None:
    switch = Switch(Ledger.memory(), "g.hub")
    accounts = Accounts(switch)
    classes = Classes(switch)
    switch.observe(True)
    for number in range(ACCOUNTS):
        details = AccountDetails(
            username=f"account{number}",
            ilp_address=f"g.hub.account{number}",
            asset_code=f"A{number % KINDS}",
            asset_scale=9,
        )
        classes.assign(accounts.add(details), details)
    for sender in range(KINDS):
        link = switch.open_link(switch.account(f"account{sender}"))
        link.receive([(i, prepare(f"g.hub.account{i}")) for i in range(100, 100 + KINDS)])
    for number in range(100, 100 + KINDS):
        switch.open_link(switch.account(f"account{number}"))
    switch.set_rates({f"A{number}": 1 for number in range(KINDS)})
    switch.process(NOW_MS)
    assert switch.statuses()["forwarded"] == KINDS * KINDS
    metrics = Metrics(switch, accounts, Alerts(), classes)
    text = benchmark(metrics.text)
    print(f"\nscrape of {ACCOUNTS} accounts: {len(text)} bytes")
