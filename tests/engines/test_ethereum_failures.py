"""What a peer's address can cost the Ethereum engine, on a real chain (anvil): it may be a contract
that reverts or burns gas, and that may come to light when the payment is mined only."""

from pathlib import Path

import pytest

from fastilp.engines import failures
from tests.engines.anvil import ADDRESSES, Anvil, anvil
from tests.engines.ethereum_world import PAYER, Pair, pair
from tests.engines.world import until

pytestmark = [pytest.mark.asyncio, pytest.mark.interop]
PLAIN, REVERTS = "0x", "0x60006000fd"
# Counts from 10,000 down to 0, for some 260,000 gas.
BURNS = "0x620027105b600190038060045700"


def becomes(chain: Anvil, code: str) -> None:
    """The payee's address."""
    chain.call("anvil_setCode", ADDRESSES[1], code)


def told(both: Pair) -> str:
    return " ".join(both.payer.problems())


def statuses(chain: Anvil) -> list[str]:
    """Of all that the payer's key has sent, mined."""
    sent = chain.payments(ADDRESSES[0])
    return [chain.call("eth_getTransactionReceipt", each["hash"])["status"] for each in sent]


async def test_what_would_fail_or_burn_gas_is_not_sent(tmp_path: Path) -> None:
    """It gets no nonce, so nothing behind it is held up; it is paid when it can be."""
    with anvil(tmp_path) as chain:
        async with pair(tmp_path, chain.url) as both:
            becomes(chain, REVERTS)
            before = chain.balance(ADDRESSES[0])
            await both.settle(500)
            await until(lambda: "would fail" in told(both))
            becomes(chain, BURNS)
            await until(lambda: "`max_gas` is 100000" in told(both))
            assert chain.balance(ADDRESSES[0]) == before
            assert chain.payments(ADDRESSES[0]) == []
            becomes(chain, PLAIN)
            await until(lambda: both.credits() and both.has_paid(1))
            assert both.credits() == [500] and statuses(chain) == ["0x1"]


async def test_max_gas_is_a_setting(tmp_path: Path) -> None:
    """More than that a payment never offers, whatever the contract becomes until it is mined."""
    with anvil(tmp_path) as chain:
        async with pair(tmp_path, chain.url, max_gas=400_000) as both:
            becomes(chain, BURNS)
            await both.settle(500)
            await until(lambda: both.has_paid(1))
            (transaction,) = chain.payments(ADDRESSES[0])
            assert 260_000 < int(transaction["gas"], 16) <= 400_000
            assert statuses(chain) == ["0x1"] and int(transaction["value"], 16) == 500


async def test_payments_that_fail_on_the_chain_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address becomes a contract after a payment was signed: it is mined with status 0, for its
    gas. After the first of them one is made at a time, after the third none for an hour."""
    with anvil(tmp_path, "--no-mining") as chain:
        async with pair(tmp_path, chain.url, bump_after_ms=600_000) as both:
            await both.settle(500)
            for count in range(failures.FREE):
                await until(lambda: chain.call("txpool_status")["pending"] == "0x1")
                if count == 1:
                    await both.settle(600)
                    await until(lambda: "this one waits for another one" in told(both))
                becomes(chain, REVERTS)
                chain.mine()
                becomes(chain, PLAIN)
            await until(lambda: "3 payments in a row failed on the ledger" in told(both))
            assert statuses(chain) == ["0x0"] * 3 and both.credits() == []
            assert chain.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}
            monkeypatch.setattr(failures, "WAIT_FIRST_MS", 0)
            for count in (1, 2):
                await until(lambda: chain.call("txpool_status")["pending"] != "0x0")
                chain.mine()
                await until(lambda count=count: both.has_paid(count))
            await until(lambda: len(both.credits()) == 2)
            assert sorted(both.credits()) == [500, 600] and statuses(chain)[3:] == ["0x1"] * 2
            with both.payer.engine.context.read() as records:
                assert records.get(f"failures/{PAYER}") is None


async def test_deleting_the_account_forgets_its_failures(tmp_path: Path) -> None:
    """What a person does who knows that the peer has mended it."""
    with anvil(tmp_path) as chain:
        async with pair(tmp_path, chain.url) as both:
            with both.payer.engine.context.change() as change:
                for _ in range(failures.FREE):
                    failures.add(change, PAYER, "it failed")
            assert (await both.payer_calls.delete(PAYER)).status == 204
            await until(lambda: both.payer.account_count() == 0)
            assert (await both.payer_calls.create(PAYER)).status == 201
            await both.settle(500)
            await until(lambda: both.credits() and both.has_paid(1))
            assert both.credits() == [500] and statuses(chain) == ["0x1"]


async def test_what_the_node_forgets_is_paid_once(tmp_path: Path) -> None:
    """Its pool drops the transaction, twice, the second time one that offers more: the same nonce
    is sent again, and nothing counts as paid before it is mined."""

    def pool() -> list[str]:
        content = chain.call("txpool_content")["pending"]
        return [each["hash"] for sent in content.values() for each in sent.values()]

    with anvil(tmp_path, "--no-mining") as chain:
        async with pair(tmp_path, chain.url, bump_after_ms=200) as both:
            before = chain.balance(ADDRESSES[1])
            await both.settle(500)
            await until(pool)
            (first,) = pool()
            chain.call("anvil_dropTransaction", first)
            await until(pool)
            await until(lambda: pool() not in ([], [first]))
            (second,) = pool()
            chain.call("anvil_dropTransaction", second)
            assert not both.has_paid(1) and both.credits() == []
            await until(pool)
            chain.mine()
            await until(lambda: both.credits() and both.has_paid(1))
            chain.mine(3)
            assert len(chain.payments(ADDRESSES[0])) == 1 and statuses(chain) == ["0x1"]
            assert chain.balance(ADDRESSES[1]) - before == sum(both.credits()) == 500
            assert chain.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}


async def test_a_fee_that_must_not_rise_is_told(tmp_path: Path) -> None:
    with anvil(tmp_path, "--no-mining") as chain:
        fees = {"bump_after_ms": 50, "max_fee_per_gas": 3_000_000_000}
        async with pair(tmp_path, chain.url, **fees) as both:
            await both.settle(500, key="stuck")
            await until(lambda: "payment stuck: is not mined, and `max_fee_per_gas`" in told(both))
            chain.mine()
            await until(lambda: both.has_paid(1) and told(both) == "")
