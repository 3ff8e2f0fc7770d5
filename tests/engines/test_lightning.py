"""The Lightning engine on stand-ins for lnd: what is paid and credited, to the satoshi, when nodes
fail, payments hang, invoices expire and peers cheat."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastilp.engines import Quantity
from fastilp.engines.conformance.suite import Options, run
from fastilp.engines.lightning import LightningSettings, messages
from fastilp.engines.lightning.engine import node_of
from fastilp.errors import ConfigError, DecodeError
from tests.engines.lightning_world import (
    PAYEE,
    PAYER,
    Pair,
    chosen,
    connectors,
    engine,
    hosted,
    join,
    lnd_settings,
    lnds,
    pair,
)
from tests.engines.lnd_stand_in import LndStandIn
from tests.engines.world import until
from tests.helpers import free_port

BTC = 10**11


@asynccontextmanager
async def lnd_pair(
    directory: Path, payer: LndStandIn, payee: LndStandIn, **both: Any
) -> AsyncIterator[Pair]:
    """At the end nothing was made or lost but the routing fees."""
    one, other = lnd_settings(directory, payer), lnd_settings(directory, payee)
    fees_msat = payer.fee_msat
    async with pair(directory, one, other, **both) as found:
        yield found
        moved = payee.balance_msat - 10**9
        assert moved == sum(found.credits()) * 1_000
        assert payer.balance_msat == 10**9 - moved - payer.sent * fees_msat
        assert found.stand_in.remarks == []


@pytest.mark.asyncio
async def test_a_settlement(tmp_path: Path) -> None:
    """The hash is the key of the credit, the preimage is kept as the proof, the routing fee is the
    payer's."""
    async with lnds() as (payer, payee):
        payer.fee_msat = 1_234
        async with lnd_pair(tmp_path, payer, payee) as both:
            await both.settle(500, key="k")
            await until(lambda: both.credits() and both.has_paid(1))
            assert both.credits() == [500]
            (payment_hash,) = both.stand_in.accounts[PAYEE].credits
            paid = both.record("paid/k")
            assert paid["hash"] == payment_hash
            made = payer.payments[bytes.fromhex(payment_hash)].made
            assert paid["preimage"] == made.preimage.hex() and paid["fee_msat"] == 1_234
            assert engine(both.payer).outgoing.fees_msat() == 1_234
            metrics = (await both.payer_calls.call("GET", "/metrics")).body.decode()
            assert "fastilp_engine_lightning_fees_msat 1234.0" in metrics


@pytest.mark.asyncio
async def test_leftovers(tmp_path: Path) -> None:
    """Millisatoshis add up to satoshis."""
    async with lnds() as nodes, lnd_pair(tmp_path, *nodes) as both:
        for _ in range(4):
            await both.settle(2_400, 11)
        await until(lambda: len(both.credits()) == 4 and both.has_paid(4))
        assert sorted(both.credits()) == [2, 2, 2, 3]


@pytest.mark.asyncio
async def test_the_conformance_suite(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with lnds() as (payer, payee):
        one = chosen(tmp_path / "one", f"http://{address}", **lnd_settings(tmp_path, payer))
        other = chosen(tmp_path / "other", f"http://{address}", **lnd_settings(tmp_path, payee))
        async with hosted(one) as (_, first), hosted(other) as (_, second):
            options = Options(first.url, second.url, address, Quantity(10, 8), 20.0, quiet_s=0.2)
            report = await run(options, lambda _: None)
        assert [each for each in report.results if each.fault] == [] and report.remarks == []


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["hang up before", "hang up after", "fail"])
async def test_a_try_that_fails_is_paid_once(tmp_path: Path, fault: str) -> None:
    """Whether the node has paid, it is asked; the invoice stays the same."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        payer.faults = [fault] * 3
        await both.settle(500)
        await until(lambda: both.credits() and both.has_paid(1))
        payer.faults.clear()
        assert both.credits() == [500] and payer.sent == 1 and len(payer.payments) == 1


@pytest.mark.asyncio
async def test_a_payment_that_hangs_is_waited_for(tmp_path: Path) -> None:
    """Neither a restart nor the end of its invoice makes a second one of it."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee, invoice_expiry=1) as both:
        engine(both.payer).outgoing.expired_after_s = 0
        payer.faults = ["hold"]
        await both.settle(500, key="k")
        await until(lambda: payer.payments)
        await asyncio.sleep(1.5)
        assert both.record("sent/k") is not None and payer.tries == 1
        assert both.payer.problems() == []
        engine(both.payer).outgoing.hangs_after_s = 0
        assert "payment k: on its way" in " ".join(both.payer.problems())
        payer.release()
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500] and payer.sent == 1 and both.payer.problems() == []


@pytest.mark.asyncio
async def test_an_engine_that_ends_while_a_payment_hangs(tmp_path: Path) -> None:
    """The next one asks the node, and does not pay again."""
    async with lnds() as (payer, payee), connectors() as stand_in:
        one = chosen(tmp_path / "one", stand_in.url, **lnd_settings(tmp_path, payer))
        other = chosen(tmp_path / "other", stand_in.url, **lnd_settings(tmp_path, payee))
        async with hosted(other) as (_, other_calls):
            async with hosted(one) as (_, calls):
                join(stand_in, calls, other_calls)
                await other_calls.create(PAYEE)
                await calls.create(PAYER)
                payer.faults = ["hold"]
                await calls.settle(PAYER, {"amount": "500", "scale": 8}, "k")
                await until(lambda: payer.payments)
            payer.calls.clear()
            async with hosted(one) as (again, _):
                await until(lambda: any("/v2/router/track" in each for each in payer.calls))
                payer.release()
                await until(lambda: again._payments.outbox.done_count == 1)
                await until(lambda: stand_in.accounts[PAYEE].credits)
        assert list(stand_in.accounts[PAYEE].credits.values()) == [Quantity(500, 8)]
        assert payer.sent == payer.tries == 1


@pytest.mark.asyncio
async def test_an_invoice_that_expires_is_replaced(tmp_path: Path) -> None:
    """Only when it has, and nothing of it is on its way; by one with another hash."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee, invoice_expiry=1) as both:
        engine(both.payer).outgoing.expired_after_s = 0
        payer.faults = ["fail"] * 10_000
        await both.settle(500, key="k")
        await until(lambda: len(payer.payments) == 2)
        payer.faults = []
        await until(lambda: both.credits() and both.has_paid(1))
        first, *others = payer.payments.values()
        assert first.status == "FAILED" and others[-1].status == "SUCCEEDED"
        assert both.credits() == [500] and payer.sent == 1


@pytest.mark.asyncio
async def test_a_payment_that_comes_after_the_end_of_its_invoice(tmp_path: Path) -> None:
    """It began in time: the payee still looks for it."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee, invoice_expiry=1) as both:
        payer.faults = ["hold"]
        await both.settle(500)
        await until(lambda: payer.payments)
        await asyncio.sleep(1.2)
        assert engine(both.payee).incoming.counts() == (1, 0)
        payer.release()
        await until(lambda: both.credits() and both.has_paid(1))
        assert engine(both.payee).incoming.counts() == (0, 0)


@pytest.mark.asyncio
async def test_an_account_that_is_gone_is_not_credited(tmp_path: Path) -> None:
    """What was paid to it waits until it comes back."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        payer.faults = ["hold"]
        await both.settle(500)
        await until(lambda: payer.payments)
        assert (await both.payee_calls.delete(PAYEE)).status == 204
        payer.release()
        await until(lambda: both.has_paid(1))
        await until(lambda: engine(both.payee).incoming.counts() == (1, 1))
        assert both.credits() == []
        assert (await both.payee_calls.create(PAYEE)).status == 201
        await until(both.credits)


@pytest.mark.asyncio
async def test_a_node_that_is_down_is_waited_for(tmp_path: Path) -> None:
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        payer.is_down = payee.is_down = True
        await both.settle(500)
        await until(lambda: "does not answer" in " ".join(both.payer.problems()))
        await until(lambda: "does not answer" in " ".join(both.payee.problems()))
        payer.is_down = payee.is_down = False
        await until(lambda: both.credits() and both.has_paid(1))
        assert both.credits() == [500]


@pytest.mark.asyncio
async def test_fees_above_the_limit_are_not_paid(tmp_path: Path) -> None:
    """1 % or 5 sat, whatever is more."""
    assert LightningSettings().fee_msat_max(500_000) == 5_000
    assert LightningSettings().fee_msat_max(BTC) == BTC // 100
    async with lnds() as (payer, payee):
        payer.fee_msat = 5_001
        async with lnd_pair(tmp_path, payer, payee) as both:
            await both.settle(500)
            await until(lambda: "NO_ROUTE" in " ".join(both.payer.problems()))
            assert payer.sent == 0
            payer.fee_msat = 0


@pytest.mark.asyncio
async def test_sums_agree_at_the_end(tmp_path: Path) -> None:
    """Settlements at the same time, every third try of which goes wrong."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        payer.faults = ["", "hang up after", "fail", "", "hang up before", ""] * 5
        await asyncio.gather(*(both.settle(number) for number in range(1, 31)))
        await until(lambda: both.has_paid(30) and len(both.credits()) == 30)
        assert sorted(both.credits()) == list(range(1, 31)) and payer.sent == 30


class Liar:
    """A payee's engine that answers as the test says."""

    def __init__(self, both: Pair) -> None:
        self.answers: list[bytes] = []
        self.asked = 0
        target = engine(both.payee)
        honest = target.receive_message

        async def lying(account_id: str, message: bytes) -> bytes:
            self.asked += 1
            return self.answers.pop(0) if self.answers else await honest(account_id, message)

        target.receive_message = lying  # type: ignore[method-assign]


@pytest.mark.asyncio
async def test_invoices_that_are_wrong_are_not_paid(tmp_path: Path) -> None:
    """Too much, too little, expired, no invoice, no JSON: then a right one, which is."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        payee_node = engine(both.payee).node
        dear = await payee_node.create_invoice(500_001, "", 600)
        cheap = await payee_node.create_invoice(499_000, "", 600)
        old = await payee_node.create_invoice(500_000, "", 0)
        liar = Liar(both)
        liar.answers = [
            *(messages.answer(text) for text in (dear, cheap, old)),
            b'{"invoice":"lnbcrt500n1pnobodyknowsthisone"}',
            b'{"invoice":5}',
            b'{"invoice":"' + b"l" * 9_000 + b'"}',
            b"[]",
            b"",
            b"\xff\x00",
        ]
        wrong = len(liar.answers)
        await both.settle(500)
        await until(lambda: both.credits() and both.has_paid(1))
        assert liar.asked == wrong + 1
        assert both.credits() == [500] and payer.sent == payer.tries == 1


@pytest.mark.asyncio
async def test_an_invoice_counts_once(tmp_path: Path) -> None:
    """A peer that gives the same one for two settlements is asked again; so is one that gives one
    that our node has paid already."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        await both.settle(500, key="first")
        await until(lambda: both.credits() and both.has_paid(1))
        paid = next(iter(payer.payments.values())).made.text
        liar = Liar(both)
        liar.answers = [messages.answer(paid)] * 2
        await both.settle(500, key="second")
        await until(lambda: both.has_paid(2) and len(both.credits()) == 2)
        payer.faults = ["hold"]
        await both.settle(500, key="third")
        await until(lambda: len(payer.payments) == 3)
        held = list(payer.payments.values())[-1].made.text
        liar.answers = [messages.answer(held)] * 2
        await both.settle(500, key="fourth")
        await until(lambda: both.has_paid(3) and not liar.answers)
        payer.release()
        await until(lambda: both.has_paid(4) and len(both.credits()) == 4)
        assert both.credits() == [500] * 4 and payer.sent == 4


@pytest.mark.asyncio
async def test_a_repeated_question_has_the_same_answer(tmp_path: Path) -> None:
    """And an amount that was changed has none."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        wanted = messages.Wanted("ab" * 16, 500)
        ask = messages.question(wanted)
        first = await both.payee_calls.message(PAYEE, ask)
        again = await both.payee_calls.message(PAYEE, ask)
        assert first == again and first.status == 201
        other = await both.payee_calls.message(PAYEE, messages.question(wanted._replace(sat=501)))
        assert other.status == 409
        assert engine(both.payee).incoming.counts() == (1, 0)


@pytest.mark.asyncio
async def test_messages_that_mean_nothing(tmp_path: Path) -> None:
    good = {"type": "invoice", "id": "ab" * 16, "sat": "5"}
    bad: list[Any] = [
        [], 5, None, "x", {},
        *({**good, "type": value} for value in (None, 5, "pay", ["invoice"])),
        *({**good, "id": value} for value in (None, 5, "", "AB" * 16, "x" * 32, "a" * 65)),
        *(
            {**good, "sat": value}
            for value in (5, 5.0, None, "", "0", "-5", "5.0", "1e3", "٣", " 5", "9" * 17, 10**60)
        ),
        {**good, "sat": str(messages.SAT_MAX + 1)},
    ]  # fmt: skip
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        raws = [json.dumps(each).encode() for each in bad] + [b"", b"\xff", b"{", b"[" * 5_000]
        for raw in raws:
            reply = await both.payee_calls.message(PAYEE, raw)
            assert reply.status == 400, raw
        for raw in raws:
            with pytest.raises(DecodeError):
                messages.wanted(raw)
            with pytest.raises(DecodeError):
                messages.invoice(raw)
        assert not any("/v1/invoices" in each for each in payee.calls)


@pytest.mark.asyncio
async def test_a_peer_has_so_many_invoices(tmp_path: Path, monkeypatch: Any) -> None:
    """Each is something to look for: who wants more than it pays for gets none."""
    monkeypatch.setattr("fastilp.engines.lightning.incoming.OPEN_MAX", 3)
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        replies = []
        for number in range(5):
            ask = messages.question(messages.Wanted(f"{number:032x}", 5))
            replies.append((await both.payee_calls.message(PAYEE, ask)).status)
        assert replies == [201, 201, 201, 429, 429]


@pytest.mark.asyncio
async def test_a_peer_has_so_many_expired_invoices(tmp_path: Path, monkeypatch: Any) -> None:
    """They are looked up until they are forgotten, weeks later."""
    monkeypatch.setattr("fastilp.engines.lightning.incoming.KNOWN_MAX", 3)
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        replies = []
        # Expired, and not long enough to be forgotten.
        lately_s = int(time.time()) - 3_600
        for number in range(5):
            ask = messages.question(messages.Wanted(f"{number:032x}", 5))
            replies.append((await both.payee_calls.message(PAYEE, ask)).status)
            with engine(both.payee).context.change() as change:
                for name, record in change.items("invoice/"):
                    change.put(name, record | {"expires_s": lately_s})
        assert replies == [201, 201, 201, 429, 429]


class Broken:
    """A node whose answers are no answers."""

    BODIES = (b"", b"null", b"[]", b'{"result":5}', b"<html>", b'{"payment_hash":5}', b"{}\n{}")


@pytest.mark.asyncio
@pytest.mark.parametrize("body", Broken.BODIES)
async def test_a_node_that_answers_nonsense(tmp_path: Path, body: bytes) -> None:
    """Nothing is paid or credited, and it is said; when it answers again, all is made up for."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee) as both:
        for host in (both.payer, both.payee):
            _break(engine(host).node, body)
        await both.settle(500)
        await until(lambda: both.payer.problems())
        assert payer.sent == 0 and both.credits() == []
        for host in (both.payer, both.payee):
            _mend(engine(host).node)
        await until(lambda: both.credits() and both.has_paid(1))


def _break(node: Any, body: bytes) -> None:
    async def broken(*_: Any) -> tuple[int, bytes]:
        return 200, body

    node._http._exchange = broken


def _mend(node: Any) -> None:
    del node._http._exchange


@pytest.mark.asyncio
async def test_what_was_done_long_ago_is_forgotten(tmp_path: Path, monkeypatch: Any) -> None:
    """Not what is still open."""
    async with lnds() as (payer, payee), lnd_pair(tmp_path, payer, payee, invoice_expiry=1) as both:
        await both.settle(500, key="k")
        await until(lambda: both.credits() and both.has_paid(1))
        ask = messages.question(messages.Wanted("ab" * 16, 7))
        assert (await both.payee_calls.message(PAYEE, ask)).status == 201
        one, other = engine(both.payer).outgoing, engine(both.payee).incoming
        one.sweep()
        other.sweep()
        assert both.record("paid/k") is not None
        monkeypatch.setattr("fastilp.engines.lightning.outgoing.KEPT_MS", -10_000)
        monkeypatch.setattr("fastilp.engines.lightning.incoming.KEPT_S", -10_000)
        one.sweep()
        other.sweep()
        assert both.record("paid/k") is None
        with both.payee.engine.context.read() as records:
            assert [kept["sat"] for _, kept in records.items("asked/")] == [7]


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    missing = LightningSettings(lnd_macaroon_path=str(tmp_path / "none"), data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match="lnd_macaroon_path"):
        node_of(missing)
    (tmp_path / "cert").write_text("no certificate")
    wrong = LightningSettings(lnd_tls_cert_path=str(tmp_path / "cert"))
    with pytest.raises(ConfigError, match="lnd_tls_cert_path"):
        node_of(wrong)
    for bad in ({"node": "cln"}, {"lnd_url": "localhost"}, {"invoice_expiry": 0}):
        with pytest.raises(ValueError):
            LightningSettings(**bad)
    assert orjson.loads(messages.answer("x")) == {"invoice": "x"}
