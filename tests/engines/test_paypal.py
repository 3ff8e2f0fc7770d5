"""The PayPal engine and a stand-in for PayPal: what is paid and credited, to the cent, when answers
are lost, payouts fail, lists come late, and events are forged."""

import asyncio
import datetime
from pathlib import Path

import aiohttp
import pytest

from fastilp.engines import Quantity
from fastilp.engines.conformance.suite import Options, run
from fastilp.engines.store import Store
from fastilp.errors import ConfigError
from tests.engines.paypal_stand_in import FEE, FUNDS, WEBHOOK_ID
from tests.engines.paypal_world import (
    EMAILS,
    Pair,
    chosen,
    connectors,
    engine,
    hosted,
    pair,
    stand_in,
)
from tests.engines.world import until
from tests.engines.xrp_world import PAYEE, PAYER
from tests.helpers import free_port

pytestmark = pytest.mark.asyncio
HOUR_MS = 3_600_000


async def test_b7_numbers(tmp_path: Path) -> None:
    """At scale 2: nothing for 9e-3 and 11e-4, then one payout of 101 cents, 1e-4 left over."""
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        await both.settle(9, 3)
        await both.settle(11, 4)
        await both.settle(100, 2)
        await until(lambda: both.credits() and both.has_paid(1))
        assert list(both.connectors.accounts[PAYEE].credits.values()) == [Quantity(101, 2)]
        (batch,) = found.batches.values()
        assert batch.item["amount"] == {"value": "1.01", "currency": "USD"}
        assert batch.item["note"] == both.note() and batch.item["receiver"] == EMAILS[1]
        with both.payer._store.read() as view:
            assert view.get(b"leftovers", PAYER) == {"amount": "1", "scale": 4}
        balances = [each.balance for each in found.merchants.values()]
        assert balances == [FUNDS - 101 - FEE, FUNDS + 101]
        assert both.connectors.remarks == [] and found.calls["token"] == 2


async def test_the_conformance_suite(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with stand_in() as found:
        one = chosen(tmp_path / "one", f"http://{address}", found.url, 0)
        other = chosen(tmp_path / "other", f"http://{address}", found.url, 1)
        async with hosted(one) as (_, first), hosted(other) as (_, second):
            options = Options(first.url, second.url, address, Quantity(10, 2), 30.0, quiet_s=0.3)
            report = await run(options, lambda _: None)
        assert [each for each in report.results if each.fault] == [] and report.remarks == []
        names = [batch.name for batch in found.batches.values()]
        assert len(set(names)) == len(names) > 8


@pytest.mark.parametrize(
    "failures",
    [
        ["fail"],
        ["limit", "hang up"],
        ["lose"],
        ["break", "lose", "fail"],
        ["withdraw"],
        ["lose", "withdraw"],
    ],
)
async def test_failures_pay_once(tmp_path: Path, failures: list[str]) -> None:
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        found.failures.extend(failures)
        await both.settle(500)
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == found.paid(EMAILS[1])
        assert len(found.batches) == 1 and not found.failures


@pytest.mark.parametrize("outcome", ["FAILED", "RETURNED", "CANCELED", "DENIED"])
async def test_a_payout_that_fails_has_a_successor(tmp_path: Path, outcome: str) -> None:
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        found.outcome = outcome
        await both.settle(500)
        await until(lambda: len(found.batches) > 2)
        assert both.credits() == []
        found.outcome = "SUCCESS"
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == found.paid(EMAILS[1])
        names = [batch.name for batch in found.batches.values()]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("outcome", ["UNCLAIMED", "ONHOLD"])
async def test_a_payout_that_hangs_is_waited_for(tmp_path: Path, outcome: str) -> None:
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        found.outcome = outcome
        await both.settle(500)
        await until(lambda: outcome in " ".join(both.payer.problems()))
        shown = found.calls["show"]
        await until(lambda: found.calls["show"] > shown + 2)
        assert len(found.batches) == 1 and both.credits() == []
        found.outcome = "SUCCESS"
        found.process()
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] == found.paid(EMAILS[1])
        assert both.payer.problems() == []


async def test_what_cannot_be_told_any_more_is_not_asked_for_again(tmp_path: Path) -> None:
    """PayPal has paid, its answer was lost, and the engine comes back after PayPal has forgotten
    the id: it would pay again."""
    async with stand_in() as found, connectors() as joined:
        one = chosen(tmp_path / "one", joined.url, found.url, 0)
        async with hosted(one) as (host, calls):
            with host._store.write() as change:
                details = {"email": EMAILS[1], "note": "ILP-" + "0" * 32}
                change.put(b"engine", f"peer/{PAYER}", details)
            await calls.create(PAYER)
            found.failures.append("lose")
            found.failures.extend(["hang up"] * 10_000)
            await calls.settle(PAYER, {"amount": "500", "scale": 2}, "the-key")
            await until(lambda: found.calls["payout"] > 1)
        found.process()
        found.failures.clear()
        found.later = datetime.timedelta(days=31)
        asked = found.calls["payout"]
        _age(tmp_path / "one", "the-key")
        async with hosted(one) as (host, _):
            await until(lambda: "cannot be told any more" in " ".join(host.problems()))
        assert found.paid(EMAILS[1]) == [500] and found.calls["payout"] == asked


def _age(directory: Path, key: str) -> None:
    """A month passes."""
    store = Store(directory)
    with store.write() as change:
        record = change.get(b"engine", f"sent/{key}")
        record["created_ms"] -= 31 * 24 * HOUR_MS
        change.put(b"engine", f"sent/{key}", record)
    store.close()


async def test_what_cannot_be_paid_now_waits(tmp_path: Path) -> None:
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        await both.settle(FUNDS, key="large")
        await both.settle(3, key="small")
        await until(both.credits)
        await until(lambda: both.payer.problems())
        assert "INSUFFICIENT_FUNDS" in " ".join(both.payer.problems())
        assert both.credits() == [3] == found.paid(EMAILS[1])
        sender, receiver = found.merchants.values()
        sender.balance, receiver.balance = sender.balance + 1_000, receiver.balance - 1_000
        await until(lambda: len(both.credits()) == 2)
        assert both.credits() == [3, FUNDS] == found.paid(EMAILS[1])


async def test_a_late_list_and_its_pages(tmp_path: Path) -> None:
    """What PayPal lists later than it happened is credited, over pages, and once."""
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        found.lag, found.page = datetime.timedelta(hours=3), 2
        await asyncio.gather(*(both.settle(amount) for amount in range(1, 8)))
        await until(lambda: both.has_paid(7))
        seen = found.calls["list"]
        await until(lambda: found.calls["list"] > seen + 4)
        assert both.credits() == []
        found.lag = datetime.timedelta(0)
        await until(lambda: len(both.credits()) == 7)
        seen = found.calls["list"]
        await until(lambda: found.calls["list"] > seen + 8)
        assert sorted(both.credits()) == list(range(1, 8)) == sorted(found.paid(EMAILS[1]))


async def test_a_payment_that_pends_is_credited_weeks_later(tmp_path: Path) -> None:
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=70)
        key = found.receive(EMAILS[1], 70, both.note(), transaction_status="P")
        await until(lambda: engine(both.payee)._pending() == 1)
        (entry,) = found.of(EMAILS[1]).transactions  # type: ignore[union-attr]
        # It began long ago: what is looked at reaches back to it, in parts of 30 days.
        entry["transaction_initiation_date"] = moment.isoformat()
        with both.payee._store.write() as change:
            begun_ms = int(moment.timestamp() * 1_000)
            change.put(b"engine", f"pending/{key}", {"begun_ms": begun_ms})
        entry["transaction_status"] = "S"
        await until(both.credits)
        assert both.connectors.accounts[PAYEE].credits == {key: Quantity(70, 2)}
        assert engine(both.payee)._pending() == 0


async def test_other_business_is_none_of_ours(tmp_path: Path) -> None:
    """Payments without our note, of another currency, of other kinds, refused, and taken back."""
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        note = both.note()
        other = "ILP-" + "0" * 32
        euro = {"currency_code": "EUR", "value": "0.10"}
        found.receive(EMAILS[1], 10, "thank you")
        found.receive(EMAILS[1], 10, f"{note} {other}")
        found.receive(EMAILS[1], 10, note.upper())
        found.receive(EMAILS[1], 10, note, transaction_amount=euro)
        found.receive(EMAILS[1], 10, note, transaction_event_code="T0006")
        found.receive(EMAILS[1], 10, note, transaction_event_code="T1107")
        found.receive(EMAILS[1], 10, note, transaction_status="D")
        found.receive(EMAILS[1], 10, note, transaction_status="V")
        found.receive(EMAILS[1], -10, note)
        found.receive(EMAILS[1], 10, other)
        subject = found.receive(EMAILS[1], 20, "", transaction_subject=f"for {note}.")
        await until(both.credits)
        assert both.connectors.accounts[PAYEE].credits == {subject: Quantity(20, 2)}
        with both.payee._store.read() as view:
            assert view.items(b"engine", "parked") == []
        assert both.payee.problems() == []


async def test_a_note_stays_its_account_s(tmp_path: Path) -> None:
    """What comes while it is closed is credited when it opens again; what was credited before is
    not parked meanwhile."""
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        note = both.note()
        await both.settle(5)
        await until(lambda: both.credits() == [5])
        assert (await both.payee_calls.delete(PAYEE)).status == 204
        found.receive(EMAILS[1], 80, note)
        await until(lambda: engine(both.payee)._parked() == 1)
        assert (await both.payee_calls.create(PAYEE)).status == 201
        await until(lambda: both.credits() == [5, 80])
        assert both.note() == note and engine(both.payee)._parked() == 0


async def test_webhooks_say_where_to_look(tmp_path: Path) -> None:
    """The engine looks once an hour; PayPal tells it at once. What is forged makes it do nothing,
    what is about nothing that is waited for is not even verified."""
    hooks = {"webhook_bind_address": "127.0.0.1:0", "webhook_id": WEBHOOK_ID}
    async with (
        stand_in() as found,
        pair(tmp_path, found.url, payer={"poll_frequency": HOUR_MS, **hooks}) as both,
    ):
        found.is_automatic = False
        webhooks = engine(both.payer).webhooks
        sender = found.of(EMAILS[0])
        assert sender is not None
        sender.webhook_url = f"http://{webhooks.address}/webhooks"
        await both.settle(500)
        await until(lambda: found.calls["show"] == 1)
        (batch,) = found.batches
        found.process()
        assert await found.tell(batch, signature="Zm9yZ2Vk") == 400
        assert (webhooks.verified_count, webhooks.refused_count) == (0, 1)
        assert not both.has_paid(1) and found.calls["show"] == 1
        assert await found.tell(batch) == 200
        await until(lambda: both.has_paid(1))
        assert found.calls["show"] == 2 and found.calls["verify"] == 2
        # Repeated, as PayPal does: there is nothing to look at any more.
        assert await found.tell(batch) == 200
        assert found.calls["verify"] == 2
        await until(lambda: both.credits() == [500])


async def test_webhooks_that_are_none(tmp_path: Path) -> None:
    hooks = {"webhook_bind_address": "127.0.0.1:0", "webhook_id": WEBHOOK_ID}
    async with stand_in() as found, pair(tmp_path, found.url, payer=hooks) as both:
        found.is_automatic = False
        await both.settle(500)
        await until(lambda: found.calls["show"])
        (batch,) = found.batches
        url = f"http://{engine(both.payer).webhooks.address}/webhooks"
        about = b'{"resource": {"payout_batch_id": "%s"}}' % batch.encode()
        async with aiohttp.ClientSession() as session:
            for raw, status in (
                (b"", 200),
                (b"[]", 200),
                (b'{"resource": 1}', 200),
                (b'{"resource": {"payout_batch_id": ["x"]}}', 200),
                (b"[" * 50_000, 200),
                (about, 400),
                (b"x" * 70_000, 413),
            ):
                async with session.post(url, data=raw) as response:
                    assert response.status == status, raw[:40]
            async with session.get(url) as response:
                assert response.status == 405
        assert found.calls["verify"] == 0
        found.process()
        await until(lambda: both.has_paid(1))


async def test_webhooks_need_their_id(tmp_path: Path) -> None:
    settings = chosen(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:1", 0)
    wrong = settings.model_copy(update={"webhook_bind_address": "127.0.0.1:0"})
    with pytest.raises(ConfigError, match="could not be verified"):
        async with hosted(wrong):
            pass


async def test_sums_agree_at_the_end(tmp_path: Path) -> None:
    """Payments in both directions at the same time."""
    async with stand_in() as found, pair(tmp_path, found.url) as both:
        await asyncio.gather(*(_settle_both(both, number) for number in range(1, 16)))
        payee, payer = both.connectors.accounts[PAYEE], both.connectors.accounts[PAYER]
        await until(lambda: len(payee.credits) == len(payer.credits) == 15)
        await until(lambda: both.has_paid(15) and both.payee._payments.outbox.done_count == 15)
        total = sum(range(1, 16))
        assert sum(each.amount for each in payee.credits.values()) == total
        assert sum(each.amount for each in payer.credits.values()) == 2 * total
        balances = [each.balance for each in found.merchants.values()]
        assert balances == [FUNDS + total - 15 * FEE, FUNDS - total - 15 * FEE]


async def _settle_both(both: Pair, number: int) -> None:
    await both.settle(number)
    body = {"amount": str(2 * number), "scale": 2}
    assert (await both.payee_calls.settle(PAYEE, body)).status == 201
