"""The Ethereum engine on a real chain (anvil): what is paid and credited, to the wei, when blocks
come late, go away, or were missed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastilp.engines import NotNowError, Quantity
from fastilp.engines.conformance.suite import Options, run
from fastilp.engines.ethereum import EthereumEngine
from fastilp.engines.store import CREDITS
from fastilp.errors import ConfigError
from tests.engines.anvil import ADDRESSES, CHAIN_ID, Anvil, anvil
from tests.engines.ethereum_world import (
    NOWHERE,
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
ETHER = 10**18


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Anvil]:
    """Mines at once what is sent."""
    with anvil(tmp_path) as found:
        yield found


@pytest.fixture
def still_chain(tmp_path: Path) -> Iterator[Anvil]:
    """Mines when it is told to."""
    with anvil(tmp_path, "--no-mining") as found:
        yield found


def paid(chain: Anvil) -> list[int]:
    """All that the payer's key has sent, mined."""
    return [int(each["value"], 16) for each in chain.payments(ADDRESSES[0])]


def noted(both: Pair) -> int:
    """Credits that the payee's engine has written down."""
    with both.payee._store.read() as view:
        return view.count(CREDITS)


async def test_b7_numbers(tmp_path: Path, chain: Anvil) -> None:
    """Leftovers of 101 at 20, one transaction, and that amount at the other connector."""
    async with pair(tmp_path, chain.url) as both:
        await both.settle(9, 19)
        await both.settle(11, 20)
        await both.settle(100, 9)
        await until(lambda: both.credits() and both.has_paid(1))
        credited = both.stand_in.accounts[PAYEE].credits
        assert list(credited.values()) == [Quantity(100_000_000_001, 18)]
        assert paid(chain) == [100_000_000_001]
        (transaction,) = chain.payments(ADDRESSES[0])
        # The whole hash is the key.
        assert list(credited) == [transaction["hash"]] and len(transaction["hash"]) == 66
        assert transaction["chainId"] == hex(CHAIN_ID) and transaction["type"] == "0x2"
        assert both.stand_in.remarks == []


async def test_legacy_transactions_with_a_chain_above_255(tmp_path: Path, chain: Anvil) -> None:
    async with pair(tmp_path, chain.url, transaction_type="legacy") as both:
        await both.settle(7)
        await until(both.credits)
        (transaction,) = chain.payments(ADDRESSES[0])
        assert transaction["type"] == "0x0"
        assert int(transaction["v"], 16) in (2 * CHAIN_ID + 35, 2 * CHAIN_ID + 36)


async def test_erc_20(tmp_path: Path, chain: Anvil) -> None:
    """B7: 100 at scale 9 are 100000000000 units of a token with 18 decimals. A transaction with two
    transfers is credited twice, under two keys."""
    token = chain.deploy()
    async with pair(tmp_path, chain.url, token_address=token) as both:
        await both.settle(100, 9)
        await until(both.credits)
        assert both.credits() == [100_000_000_000] and paid(chain)[-1] == 0
        data = _twice(chain, ADDRESSES[1], 5)
        transaction = chain.send(ADDRESSES[0], token, data=data)
        await until(lambda: len(both.credits()) == 3)
        credited = both.stand_in.accounts[PAYEE].credits
        assert credited[transaction] == credited[f"{transaction}-2"] == Quantity(5, 18)
        balance = chain.call(
            "eth_call", {"to": token, "data": "0x70a08231" + ADDRESSES[1][2:].zfill(64)}, "latest"
        )
        assert int(balance, 16) == sum(both.credits())


async def test_the_conformance_suite(tmp_path: Path, chain: Anvil) -> None:
    address = f"127.0.0.1:{free_port()}"
    both: dict[str, Any] = {"ethereum_url": chain.url}
    one = chosen(tmp_path / "one", f"http://{address}", 0, **both)
    other = chosen(tmp_path / "other", f"http://{address}", 1, **both)
    async with hosted(one) as (_, first), hosted(other) as (_, second):
        options = Options(first.url, second.url, address, Quantity(10, 18), 30.0, quiet_s=0.3)
        report = await run(options, lambda _: None)
    assert [each for each in report.results if each.fault] == [] and report.remarks == []
    # Each nonce once: none of the payments at the same time was in another one's way.
    nonces = [int(each["nonce"], 16) for each in chain.payments(ADDRESSES[0])]
    assert nonces == list(range(len(nonces))) and len(nonces) > 8


async def test_confirmations_are_waited_for(tmp_path: Path, still_chain: Anvil) -> None:
    chain = still_chain
    async with pair(tmp_path, chain.url, confirmations=3) as both:
        await both.settle(500)
        await until(lambda: chain.call("txpool_status")["pending"] == "0x1")
        chain.mine(3)
        await engine(both.payee).incoming.look()
        assert noted(both) == 0 and engine(both.payee).incoming.next_block() == 1
        chain.mine(1)
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(chain)


async def test_a_reorganisation_that_is_not_too_deep_changes_nothing(
    tmp_path: Path, still_chain: Anvil
) -> None:
    """Depth 2 at 3 confirmations: the payment is gone with its block, comes back in another one,
    and is credited once, when that is deep enough."""
    chain = still_chain
    async with pair(tmp_path, chain.url, confirmations=3) as both:
        chain.mine(5)
        await both.settle(500)
        await until(lambda: chain.call("txpool_status")["pending"] == "0x1")
        chain.mine(2)
        assert paid(chain) == [500]
        await engine(both.payee).incoming.look()
        assert noted(both) == 0
        old = chain.call("eth_getBlockByNumber", hex(chain.head()), False)["hash"]
        chain.call("anvil_reorg", 2, [])
        assert chain.call("eth_getBlockByNumber", hex(chain.head()), False)["hash"] != old
        assert paid(chain) == []
        for _ in range(20):
            chain.mine()
            await asyncio.sleep(0.05)
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(chain)
        assert engine(both.payee).incoming.reorganised == 0
        assert both.payee.problems() == []


async def test_a_reorganisation_that_is_too_deep_is_told(tmp_path: Path, chain: Anvil) -> None:
    """Nothing can be taken back; the payment that is in both chains is not credited again."""
    async with pair(tmp_path, chain.url) as both:
        await both.settle(500)
        await until(both.credits)
        chain.mine(5)
        await until(lambda: engine(both.payee).incoming.next_block() == chain.head() + 1)
        chain.call("anvil_reorg", 3, [])
        chain.mine(2)
        await until(lambda: engine(both.payee).incoming.reorganised == 1)
        await until(lambda: engine(both.payee).incoming.next_block() == chain.head() + 1)
        assert both.credits() == [500] == paid(chain)
        assert "deeper than `confirmations`" in " ".join(both.payee.problems())


async def test_a_thousand_blocks_are_caught_up_with(tmp_path: Path, chain: Anvil) -> None:
    """The payee's engine is down; two payments are 600 blocks apart."""
    async with connectors() as stand_in:
        one = chosen(tmp_path / "one", stand_in.url, 0, ethereum_url=chain.url)
        other = chosen(tmp_path / "other", stand_in.url, 1, ethereum_url=chain.url)
        async with hosted(one) as (payer, calls):
            async with hosted(other) as (_, other_calls):
                join(stand_in, calls, other_calls)
                await other_calls.create(PAYEE)
                await calls.create(PAYER)
            for count in (1, 2):
                await calls.settle(PAYER, {"amount": str(count), "scale": 18})
                await until(lambda count=count: payer._payments.outbox.done_count == count)
                chain.mine(600)
        async with hosted(other):
            await until(lambda: len(stand_in.accounts[PAYEE].credits) == 2)
        credited = stand_in.accounts[PAYEE].credits.values()
        assert [quantity.amount for quantity in credited] == [1, 2] == paid(chain)


async def test_unknown_senders_are_parked(tmp_path: Path, chain: Anvil) -> None:
    """They stop nothing, and are credited when their account turns up."""
    async with connectors() as stand_in:
        one = chosen(tmp_path / "one", stand_in.url, 0, ethereum_url=chain.url)
        other = chosen(tmp_path / "other", stand_in.url, 1, ethereum_url=chain.url)
        async with hosted(one) as (_, calls), hosted(other) as (payee, other_calls):
            chain.send(ADDRESSES[0], ADDRESSES[1], 70)
            chain.send(ADDRESSES[2], ADDRESSES[1], 80)
            chain.send(ADDRESSES[0], ADDRESSES[2], 90)
            await until(lambda: engine(payee)._parked() == 2)
            assert payee.problems() == []
            join(stand_in, calls, other_calls)
            await other_calls.create(PAYEE)
            await calls.create(PAYER)
            await until(lambda: stand_in.accounts[PAYEE].credits)
            credited = stand_in.accounts[PAYEE].credits.values()
            assert [quantity.amount for quantity in credited] == [70]
            assert engine(payee)._parked() == 1


async def test_a_payment_that_is_not_mined_offers_more(tmp_path: Path, still_chain: Anvil) -> None:
    chain = still_chain
    async with pair(tmp_path, chain.url, bump_after_ms=100) as both:
        await both.settle(500)
        await until(lambda: chain.call("txpool_status")["pending"] == "0x1")
        first = _waiting(chain)
        await until(lambda: _waiting(chain)["hash"] != first["hash"])
        second = _waiting(chain)
        assert second["nonce"] == first["nonce"]
        assert int(second["maxFeePerGas"], 16) >= int(first["maxFeePerGas"], 16) * 11 // 10
        chain.mine(3)
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(chain)


async def test_a_nonce_that_another_program_used(tmp_path: Path, still_chain: Anvil) -> None:
    """It replaces our transaction: ours can never be mined, so the payment gets a new one, once
    that is deep enough."""
    chain = still_chain
    async with pair(tmp_path, chain.url, confirmations=1) as both:
        await both.settle(500)
        await until(lambda: chain.call("txpool_status")["pending"] == "0x1")
        ours = _waiting(chain)
        fee = hex(int(ours["maxFeePerGas"], 16) * 10)
        chain.send(
            ADDRESSES[0], ADDRESSES[2], 9, nonce=ours["nonce"],
            maxFeePerGas=fee, maxPriorityFeePerGas=fee,
        )  # fmt: skip
        while not (both.credits() and both.has_paid(1)):
            chain.mine()
            await asyncio.sleep(0.02)
        assert both.credits() == [500] and paid(chain) == [9, 500]


class Falters(EthereumEngine):
    """Its process might as well end after a transaction was signed, and after it was sent."""

    falters: list[str] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        send = self.outgoing._send

        async def faltering(record: dict[str, Any]) -> None:
            if self.falters and self.falters[0] == "before":
                self.falters.pop(0)
                raise NotNowError("ended before it was sent")
            await send(record)
            if self.falters:
                self.falters.pop(0)
                raise NotNowError("ended after it was sent")

        self.outgoing._send = faltering  # type: ignore[method-assign]


async def test_an_end_at_any_step_pays_once(tmp_path: Path, chain: Anvil) -> None:
    Falters.falters = ["before", "before", "after", "after"]
    async with pair(tmp_path, chain.url, payer_kind=Falters) as both:
        await both.settle(500)
        await until(lambda: both.credits() and both.has_paid(1))
        assert Falters.falters == []
        assert both.credits() == [500] == paid(chain)


async def test_what_is_signed_and_not_sent_keeps_its_nonce(tmp_path: Path, chain: Anvil) -> None:
    """Both fail before they are sent: the second one must not have taken the first one's place."""
    Falters.falters = ["before", "before"]
    async with pair(tmp_path, chain.url, payer_kind=Falters) as both:
        await asyncio.gather(both.settle(500), both.settle(600))
        await until(lambda: len(both.credits()) == 2 and both.has_paid(2))
        assert sorted(both.credits()) == [500, 600] == sorted(paid(chain))
        # The look at the chain may have met one of the two failures.
        assert both.payer._payments.outbox.retried_count in (1, 2)


async def test_what_cannot_be_paid_now_waits(tmp_path: Path, chain: Anvil) -> None:
    """More than the engine has: it takes no nonce, and nothing behind it is held up."""
    async with pair(tmp_path, chain.url) as both:
        await both.settle(20_000 * ETHER, key="large")
        await both.settle(3, key="small")
        await until(both.credits)
        await until(lambda: both.payer.problems())
        assert "are needed" in " ".join(both.payer.problems())
        assert both.credits() == [3] == paid(chain)
        chain.call("anvil_setBalance", ADDRESSES[0], hex(30_000 * ETHER))
        await until(lambda: len(both.credits()) == 2)
        assert both.credits() == [3, 20_000 * ETHER] == paid(chain)


async def test_a_node_that_is_down_is_waited_for(tmp_path: Path, chain: Anvil) -> None:
    async with pair(tmp_path, chain.url, payer={"ethereum_url": NOWHERE}) as both:
        await both.settle(500)
        await until(lambda: "does not answer" in " ".join(both.payer.problems()))
        engine(both.payer)._rpc._url = chain.url
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(chain)


async def test_the_wrong_chain_is_refused(tmp_path: Path, chain: Anvil) -> None:
    settings = chosen(tmp_path / "one", NOWHERE, 0, ethereum_url=chain.url, chain_id=1)
    with pytest.raises(ConfigError, match=f"on the chain {CHAIN_ID}"):
        async with hosted(settings):
            pass


async def test_another_chain_all_of_a_sudden_ends_no_payment(tmp_path: Path, chain: Anvil) -> None:
    """The node was never away, and the nonce was used there: the payment is not made anew."""
    (tmp_path / "chain").mkdir()
    with anvil(tmp_path / "chain", "--timestamp", "1600000000") as other:
        other.send(ADDRESSES[0], ADDRESSES[2], 1)
        async with pair(tmp_path, chain.url) as both:
            chain.call("evm_setAutomine", False)
            await both.settle(500)
            await until(lambda: engine(both.payer).outgoing._pending())
            before = engine(both.payer).outgoing._pending()
            engine(both.payer)._rpc._url = other.url
            await until(lambda: "payment" in " ".join(both.payer.problems()))
            assert engine(both.payer).outgoing._pending() == before
            engine(both.payer)._rpc._url = chain.url
            chain.call("evm_setAutomine", True)
            chain.mine()
            await until(lambda: both.credits() and both.has_paid(1))
            assert both.credits() == [500] == paid(chain)


async def test_another_chain_with_the_same_id_is_refused(tmp_path: Path, chain: Anvil) -> None:
    """At the next start, and when the node is another one after it was away."""
    (tmp_path / "chain").mkdir()
    settings = chosen(tmp_path / "one", NOWHERE, 0, ethereum_url=chain.url)
    with anvil(tmp_path / "chain", "--timestamp", "1600000000") as other:
        async with hosted(settings) as (host, _):
            rpc = engine(host)._rpc
            rpc._url = NOWHERE
            await until(lambda: "does not answer" in " ".join(host.problems()))
            rpc._url = other.url
            await until(lambda: "is of another ledger" in " ".join(host.problems()))
            rpc._url = chain.url
            await until(lambda: host.problems() == [])
        elsewhere = settings.model_copy(update={"ethereum_url": other.url})
        with pytest.raises(ConfigError, match="is of another ledger.* give it the right node"):
            async with hosted(elsewhere):
                pass
    async with hosted(settings) as (host, _):
        assert host.problems() == []


async def test_sums_agree_at_the_end(tmp_path: Path, chain: Anvil) -> None:
    """Payments in both directions at the same time: the chain moved what was credited."""
    async with pair(tmp_path, chain.url) as both:
        before = [chain.balance(address) for address in ADDRESSES[:2]]
        await asyncio.gather(*(_settle_both(both, number) for number in range(1, 21)))
        payee, payer = both.stand_in.accounts[PAYEE], both.stand_in.accounts[PAYER]
        await until(lambda: len(payee.credits) == len(payer.credits) == 20)
        await until(lambda: both.has_paid(20) and both.payee._payments.outbox.done_count == 20)
        total = sum(range(1, 21))
        assert sum(each.amount for each in payee.credits.values()) == total
        assert sum(each.amount for each in payer.credits.values()) == 2 * total
        fees = [_fees(chain, address) for address in ADDRESSES[:2]]
        after = [chain.balance(address) for address in ADDRESSES[:2]]
        assert after[0] == before[0] - total + 2 * total - fees[0]
        assert after[1] == before[1] + total - 2 * total - fees[1]


async def _settle_both(both: Pair, number: int) -> None:
    await both.settle(number)
    body = {"amount": str(2 * number), "scale": 18}
    assert (await both.payee_calls.settle(PAYEE, body)).status == 201


def _fees(chain: Anvil, address: str) -> int:
    receipts = (
        chain.call("eth_getTransactionReceipt", each["hash"]) for each in chain.payments(address)
    )
    return sum(int(one["gasUsed"], 16) * int(one["effectiveGasPrice"], 16) for one in receipts)


def _waiting(chain: Anvil) -> dict[str, Any]:
    """The payer's transaction that is not mined."""
    pool = chain.call("txpool_content")["pending"]
    (found,) = next(iter(pool.values())).values()
    return dict(found)


def _twice(chain: Anvil, to: str, units: int) -> str:
    selector = chain.call("web3_sha3", "0x" + b"twice(address,uint256)".hex())[:10]
    return str(selector) + to[2:].zfill(64) + f"{units:064x}"
