"""The XRP engine and a stand-in for the ledger: what is paid and credited, to the drop, when
submissions are lost, ledgers are missed, and payments are not what they seem."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fastilp.engines import NotNowError, Quantity, failures
from fastilp.engines.conformance.suite import Options, run
from fastilp.engines.xrp.stand_in import GENESIS_SECRET, StandIn
from fastilp.errors import ConfigError
from tests.engines.world import until
from tests.engines.xrp_world import (
    ADDRESSES,
    FUNDS,
    NOWHERE,
    PAYEE,
    PAYER,
    SECRETS,
    Pair,
    chosen,
    connectors,
    engine,
    hosted,
    join,
    paid,
    pair,
    payments,
    stand_in,
)
from tests.helpers import free_port

pytestmark = pytest.mark.asyncio
QUICK = 50


def tag_at(both: Pair) -> int:
    """The payee's tag of its account."""
    with both.payee._store.read() as view:
        return int(view.get(b"engine", f"account/{PAYEE}")["tag"])


def pay_by_hand(found: StandIn, key: int, **fields: Any) -> str:
    """Another program pays the payee."""
    given = {"Destination": ADDRESSES[1], "Amount": "70", **fields}
    result, transaction = found.ledger.submit(found.ledger.signed(SECRETS[key], given))
    assert result == "tesSUCCESS"
    return str(transaction["hash"])


async def test_b7_numbers(tmp_path: Path) -> None:
    """At scale 6: nothing for 9e-7 and 11e-8, then one payment of 101 drops, 1e-8 left over."""
    async with stand_in(QUICK) as found, pair(tmp_path, found.url) as both:
        await both.settle(9, 7)
        await both.settle(11, 8)
        await both.settle(100, 6)
        await until(lambda: both.credits() and both.has_paid(1))
        credited = both.connectors.accounts[PAYEE].credits
        assert list(credited.values()) == [Quantity(101, 6)]
        (transaction,) = payments(found.ledger)
        assert list(credited) == [transaction["hash"]] and len(transaction["hash"]) == 64
        assert transaction["Amount"] == "101" and transaction["DestinationTag"] == tag_at(both)
        first = transaction["LastLedgerSequence"] - 20
        assert first < transaction["ledger_index"] <= first + 20
        with both.payer._store.read() as view:
            assert view.get(b"leftovers", PAYER) == {"amount": "1", "scale": 8}
        assert both.connectors.remarks == []


async def test_the_conformance_suite(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with stand_in(QUICK) as found:
        one = chosen(tmp_path / "one", f"http://{address}", found.url, 0)
        other = chosen(tmp_path / "other", f"http://{address}", found.url, 1)
        async with hosted(one) as (_, first), hosted(other) as (_, second):
            options = Options(first.url, second.url, address, Quantity(10, 6), 30.0, quiet_s=0.3)
            report = await run(options, lambda _: None)
        assert [each for each in report.results if each.fault] == [] and report.remarks == []
        sequences = [each["Sequence"] for each in payments(found.ledger)]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert len(sequences) > 8


async def test_what_a_partial_payment_delivers_is_credited(tmp_path: Path) -> None:
    """Its field `Amount` says a million XRP, and three drops arrive."""
    async with stand_in(QUICK) as found, pair(tmp_path, found.url) as both:
        name = found.ledger.add_partial(ADDRESSES[2], ADDRESSES[1], tag_at(both), 10**12, 3)
        await until(both.credits)
        assert both.connectors.accounts[PAYEE].credits == {name: Quantity(3, 6)}


async def test_only_tags_of_ours_are_parked(tmp_path: Path) -> None:
    """Those with no tag of ours are only counted. A tag stays its account's: what comes while
    that is closed is parked, and credited when it opens again, and to nobody else."""
    async with stand_in(QUICK) as found, pair(tmp_path, found.url) as both:
        tag = tag_at(both)
        pay_by_hand(found, 0, DestinationTag=(tag + 1) % 2**32)
        pay_by_hand(found, 0)
        await both.settle(5)
        await until(lambda: both.credits() == [5] and engine(both.payee).incoming.strays == 2)
        assert engine(both.payee)._parked() == 0
        assert both.payee.problems() == []
        assert (await both.payee_calls.delete(PAYEE)).status == 204
        late = pay_by_hand(found, 0, DestinationTag=tag, Amount="80")
        await until(lambda: engine(both.payee)._parked() == 1)
        assert both.credits() == [5]
        assert (await both.payee_calls.create(PAYEE)).status == 201
        await until(lambda: both.credits() == [5, 80])
        assert late in both.connectors.accounts[PAYEE].credits
        assert tag_at(both) == tag and engine(both.payee)._parked() == 0


async def test_missed_ledgers_are_caught_up_with(tmp_path: Path) -> None:
    """The payee's engine is down for 1,200 ledgers; what it missed comes in pages."""
    async with stand_in() as found, connectors() as joined:
        one = chosen(tmp_path / "one", joined.url, found.url, 0)
        other = chosen(tmp_path / "other", joined.url, found.url, 1)
        async with hosted(one) as (payer, calls):
            async with hosted(other) as (payee, other_calls):
                join(joined, calls, other_calls)
                await other_calls.create(PAYEE)
                await calls.create(PAYER)
                await until(lambda: engine(payee).incoming.next_ledger() > 0)
            for count in range(1, 8):
                await calls.settle(PAYER, {"amount": str(count), "scale": 6})
                waiting = (count - 1) % 3 + 1
                await until(lambda waiting=waiting: len(found.ledger._open) == waiting)
                if waiting == 3:
                    found.ledger.close()
            found.ledger.close()
            await until(lambda: payer._payments.outbox.done_count == 7)
        for _ in range(1_200):
            found.ledger.close()
        found.page = 2
        async with hosted(other) as (payee, _):
            await until(lambda: len(joined.accounts[PAYEE].credits) == 7)
            await until(lambda: engine(payee).incoming.next_ledger() == found.ledger.number + 1)
        credited = joined.accounts[PAYEE].credits.values()
        assert sorted(quantity.amount for quantity in credited) == list(range(1, 8))
        assert sorted(paid(found.ledger)) == list(range(1, 8))


async def test_ledgers_that_the_node_lacks_are_not_skipped(tmp_path: Path) -> None:
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        await until(lambda: engine(both.payee).incoming.next_ledger() > 0)
        await both.settle(500)
        await until(lambda: found.ledger._open)
        found.ledger.first = found.ledger.number + 3
        for _ in range(4):
            found.ledger.close()
        await until(lambda: "is next" in " ".join(both.payee.problems()))
        assert both.credits() == []
        found.ledger.first = 1
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(found.ledger)
        await until(lambda: both.payee.problems() == [])


@pytest.mark.parametrize("failures", [["lose"], ["hang up"], ["hang up", "lose", "lose"]])
async def test_lost_submissions_pay_once(tmp_path: Path, failures: list[str]) -> None:
    async with stand_in(QUICK) as found, pair(tmp_path, found.url) as both:
        found.failures.extend(failures)
        await both.settle(500)
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(found.ledger)


async def test_what_is_forgotten_is_submitted_again(tmp_path: Path) -> None:
    """Up to the last ledger that can contain it: the same transaction."""
    async with stand_in() as found, pair(tmp_path, found.url, expiry_ledgers=4) as both:
        await both.settle(500)
        for _ in range(3):
            await until(lambda: found.ledger._open)
            found.ledger.forget_open()
            found.ledger.close()
        (record,) = both.signed()
        await until(lambda: found.ledger._open)
        found.ledger.close()
        await until(lambda: both.credits() and both.has_paid(1))
        (transaction,) = payments(found.ledger)
        assert transaction["ledger_index"] == transaction["LastLedgerSequence"] == record["last"]
        assert (
            both.credits() == [500] == paid(found.ledger) and transaction["hash"] == record["hash"]
        )


async def test_what_expires_is_signed_anew(tmp_path: Path) -> None:
    """Nothing that is submitted is kept until the last ledger is past: then the payment gets
    another transaction, with the same sequence, and the one before can never be valid."""
    async with stand_in() as found, pair(tmp_path, found.url, expiry_ledgers=3) as both:
        found.failures.extend(["drop"] * 10_000)
        await both.settle(500)
        await until(both.signed)
        (old,) = both.signed()
        for _ in range(3):
            assert both.signed() == [old]
            found.ledger.close()
        await until(lambda: both.signed() not in ([], [old]))
        (new,) = both.signed()
        assert new["sequence"] == old["sequence"] and new["last"] == old["last"] + 3
        assert found.ledger.submit(old["blob"])[0] == "tefMAX_LEDGER"
        found.failures.clear()
        await until(lambda: found.ledger._open)
        found.ledger.close()
        await until(lambda: both.credits() and both.has_paid(1))
        assert found.ledger.submit(old["blob"])[0] in ("tefMAX_LEDGER", "tefPAST_SEQ")
        found.ledger.close()
        assert both.credits() == [500] == paid(found.ledger)


async def test_what_the_node_still_shows_is_signed_anew(tmp_path: Path) -> None:
    """The node knows the transaction, and no ledger has it, nor ever will."""
    async with stand_in() as found, pair(tmp_path, found.url, expiry_ledgers=3) as both:
        await both.settle(500)
        await until(lambda: found.ledger._open)
        (old,) = both.signed()
        for _ in range(3):
            found.ledger.forget_open()
            found.ledger.close()
        assert found.ledger.find(old["hash"]) is not None
        await until(lambda: both.signed() not in ([], [old]) and found.ledger._open)
        assert found.calls["account_tx"] > 0
        found.ledger.close()
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(found.ledger)


async def test_what_cannot_be_told_is_waited_for(tmp_path: Path) -> None:
    """The node lacks a ledger that may contain the payment: it is not made anew; it was made."""
    async with stand_in() as found, pair(tmp_path, found.url, expiry_ledgers=3) as both:
        await both.settle(500)
        await until(lambda: found.ledger._open)
        (record,) = both.signed()
        found.ledger.close()
        found.ledger.first = found.ledger.number + 1
        for _ in range(5):
            found.ledger.close()
        await until(lambda: both.payer._payments.outbox.failing)
        assert "does not have all ledgers" in " ".join(both.payer.problems())
        assert both.signed() == [record]
        found.ledger.first = 1
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(found.ledger)


async def test_an_expired_one_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    async with stand_in() as found, pair(tmp_path, found.url, expiry_ledgers=5) as both:
        found.failures.extend(["drop"] * 10_000)
        await both.settle(1)
        await until(both.signed)
        found.ledger.close()
        await asyncio.gather(both.settle(2), both.settle(3))
        await until(lambda: len(both.signed()) == 3)
        for _ in range(4):
            found.ledger.close()
        await until(lambda: max(each["last"] for each in both.signed()) > found.ledger.number + 3)
        found.failures.clear()
        while not (len(both.credits()) == 3 and both.has_paid(3)):
            await asyncio.sleep(0.05)
            found.ledger.close()
        assert sorted(both.credits()) == [1, 2, 3] == sorted(paid(found.ledger))


async def test_a_sequence_that_another_program_used(tmp_path: Path) -> None:
    async with stand_in() as found, pair(tmp_path, found.url, expiry_ledgers=3) as both:
        found.failures.extend(["drop"] * 10_000)
        await both.settle(500)
        await until(both.signed)
        pay_by_hand(found, 0, Destination=ADDRESSES[2], Amount="2000000")
        found.ledger.close()
        found.failures.clear()
        while not (both.credits() and both.has_paid(1)):
            found.ledger.close()
            await asyncio.sleep(0.05)
        assert both.credits() == [500] and paid(found.ledger) == [2_000_000, 500]


async def test_what_cannot_be_paid_now_waits(tmp_path: Path) -> None:
    """More than the account has: it takes no sequence, and nothing behind it is held up."""
    async with stand_in(QUICK) as found, pair(tmp_path, found.url) as both:
        await both.settle(FUNDS, key="large")
        await both.settle(3, key="small")
        await until(both.credits)
        await until(lambda: both.payer.problems())
        assert "above its reserve" in " ".join(both.payer.problems())
        assert both.credits() == [3] == paid(found.ledger)
        found.ledger.fund(ADDRESSES[0], FUNDS)
        await until(lambda: len(both.credits()) == 2)
        assert both.credits() == [3, FUNDS] == paid(found.ledger)


async def test_a_payee_that_is_no_account_yet(tmp_path: Path) -> None:
    """A payment that would fail on the ledger, for its fee, is not made; one that makes the
    account is."""
    async with stand_in(QUICK) as found:
        del found.ledger.validated.accounts[ADDRESSES[1]]
        found.ledger.validated.burned += FUNDS
        found.ledger.forget_open()
        async with pair(tmp_path, found.url) as both:
            await both.settle(999_999)
            await until(lambda: "no account yet" in " ".join(both.payer.problems()))
            await both.settle(1_000_000)
            await until(lambda: len(both.credits()) == 2)
            assert sorted(both.credits()) == [999_999, 1_000_000] == sorted(paid(found.ledger))
            assert len(payments(found.ledger)) == 2


async def test_a_payment_that_fails_on_the_ledger_is_made_anew(tmp_path: Path) -> None:
    """Another program takes the money between the check and the ledger."""
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        await both.settle(FUNDS // 2)
        await until(lambda: found.ledger._open)
        found.ledger.validated.accounts[ADDRESSES[0]].balance -= FUNDS * 3 // 4
        found.ledger.validated.burned += FUNDS * 3 // 4
        found.ledger.close()
        await until(lambda: both.payer._payments.outbox.retried_count > 0)
        assert both.signed() == [] and paid(found.ledger) == []
        found.ledger.fund(ADDRESSES[0], FUNDS)
        found.ledger.close()
        while not (both.credits() and both.has_paid(1)):
            found.ledger.close()
            await asyncio.sleep(0.05)
        assert both.credits() == [FUNDS // 2] == paid(found.ledger)


async def test_a_node_that_is_down_is_waited_for(tmp_path: Path) -> None:
    async with (
        stand_in(QUICK) as found,
        pair(tmp_path, found.url, payer={"xrp_url": NOWHERE}) as both,
    ):
        await both.settle(500)
        await until(lambda: "does not answer" in " ".join(both.payer.problems()))
        engine(both.payer).rpc._url = found.url
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(found.ledger)


async def test_a_network_above_1024_is_named(tmp_path: Path) -> None:
    async with stand_in(QUICK, network_id=21_338) as found:
        async with pair(tmp_path, found.url, network_id=21_338) as both:
            await both.settle(500)
            await until(both.credits)
            (transaction,) = payments(found.ledger)
            assert transaction["NetworkID"] == 21_338
        settings = chosen(tmp_path / "one", NOWHERE, found.url, 0, network_id=0)
        with pytest.raises(ConfigError, match="on the network 21338"):
            async with hosted(settings):
                pass


async def test_sums_agree_at_the_end(tmp_path: Path) -> None:
    """Payments in both directions at the same time: the ledger moved what was credited."""
    async with stand_in(QUICK) as found, pair(tmp_path, found.url) as both:
        await asyncio.gather(*(_settle_both(both, number) for number in range(1, 16)))
        payee, payer = both.connectors.accounts[PAYEE], both.connectors.accounts[PAYER]
        await until(lambda: len(payee.credits) == len(payer.credits) == 15)
        await until(lambda: both.has_paid(15) and both.payee._payments.outbox.done_count == 15)
        total = sum(range(1, 16))
        assert sum(each.amount for each in payee.credits.values()) == total
        assert sum(each.amount for each in payer.credits.values()) == 2 * total
        balances = [found.ledger.validated.accounts[each].balance for each in ADDRESSES[:2]]
        fees = 15 * 10
        assert balances == [FUNDS + total - fees, FUNDS - total - fees]


async def _settle_both(both: Pair, number: int) -> None:
    await both.settle(number)
    body = {"amount": str(2 * number), "scale": 6}
    assert (await both.payee_calls.settle(PAYEE, body)).status == 201


async def test_the_account_that_has_everything_is_no_peer(tmp_path: Path) -> None:
    """Tags tell payments apart, not senders: whoever pays with a tag pays for its account."""
    async with stand_in(QUICK) as found, pair(tmp_path, found.url) as both:
        fields = {"Destination": ADDRESSES[1], "Amount": "9", "DestinationTag": tag_at(both)}
        found.ledger.submit(found.ledger.signed(GENESIS_SECRET, fields))
        await until(lambda: both.credits() == [9])


async def test_expiry_is_judged_after_the_ledgers_were_asked_for(tmp_path: Path) -> None:
    """The node is asked for its newest ledger first, and then for the transaction: a payment that
    is validated between the two is found."""
    async with stand_in() as found, pair(tmp_path, found.url, expiry_ledgers=3) as both:
        await both.settle(500)
        await until(lambda: found.ledger._open)
        (record,) = both.signed()
        outgoing = engine(both.payer).outgoing
        ask = outgoing._rpc.ledger

        async def asked() -> Any:
            answer = await ask()
            for _ in range(5):
                found.ledger.close()
            return answer

        outgoing._rpc.ledger = asked  # type: ignore[method-assign]
        assert await outgoing._is_validated("key", record)
        with pytest.raises(NotNowError, match="does not have all"):
            found.ledger.first = found.ledger.number
            await outgoing._is_validated("key", record)
        found.ledger.first = 1
        outgoing._rpc.ledger = ask  # type: ignore[method-assign]
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(found.ledger)


async def test_payments_that_fail_on_the_ledger_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payee's account goes after a payment was submitted: each costs its fee. After the third
    none is made for an hour."""
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        await both.settle(500)
        for _ in range(failures.FREE):
            await until(lambda: found.ledger._open)
            gone = found.ledger.validated.accounts.pop(ADDRESSES[1])
            found.ledger.validated.burned += gone.balance
            found.ledger.close()
            found.ledger.fund(ADDRESSES[1], FUNDS)
            found.ledger.close()
        await until(lambda: "3 payments in a row failed" in " ".join(both.payer.problems()))
        assert both.signed() == [] and both.credits() == [] == paid(found.ledger)
        assert len(payments(found.ledger)) == failures.FREE
        monkeypatch.setattr(failures, "WAIT_FIRST_MS", 0)
        while not (both.credits() and both.has_paid(1)):
            found.ledger.close()
            await asyncio.sleep(0.05)
        assert both.credits() == [500] == paid(found.ledger)
        assert len(payments(found.ledger)) == failures.FREE + 1


async def test_another_network_all_of_a_sudden_ends_no_payment(tmp_path: Path) -> None:
    """The node was never away, and is past the last ledger: the payment is not made anew."""
    async with stand_in() as found, stand_in() as other, pair(tmp_path, found.url) as both:
        await both.settle(500)
        await until(lambda: found.ledger._open)
        (old,) = both.signed()
        while other.ledger.number <= old["last"]:
            other.ledger.close()
        engine(both.payer).rpc._url = other.url
        await until(lambda: "payment" in " ".join(both.payer.problems()))
        assert both.signed() == [old]
        engine(both.payer).rpc._url = found.url
        found.ledger.close()
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == paid(found.ledger)


async def test_a_network_that_began_anew_is_refused(tmp_path: Path) -> None:
    """Its number is the same, and the ledger of the first look is another one, or not there yet. A
    node that has lost that ledger is believed."""
    async with stand_in() as found, stand_in() as other:
        settings = chosen(tmp_path / "one", NOWHERE, found.url, 0)
        found.ledger.close()
        async with hosted(settings) as (host, _):
            assert host.problems() == []
        elsewhere = settings.model_copy(update={"xrp_url": other.url})
        async with hosted(elsewhere) as (host, _):
            await until(lambda: "is at 2, and 3 was seen" in " ".join(host.problems()))
            other.ledger.close()
            await until(lambda: "is of another ledger" in " ".join(host.problems()))
        with pytest.raises(ConfigError, match="is of another ledger.* give it the right node"):
            async with hosted(elsewhere):
                pass
        for _ in range(3):
            found.ledger.close()
        found.ledger.first = found.ledger.number
        async with hosted(settings) as (host, _):
            assert host.problems() == []
