"""The framework around an engine, over HTTP: rows ENG-01 to ENG-08 of the settlement protocol, and
what a crash or a failing ledger must not change."""

import asyncio
import re
from pathlib import Path

import orjson
import pytest

from fastilp.engines import EngineError, NotNowError, Quantity, answers, paid, payments
from fastilp.engines.accounts import ANSWER_AFTER_S
from fastilp.engines.host import Host
from fastilp.engines.store import LEFTOVERS, PAID, PAYMENTS
from fastilp.errors import ConfigError, StorageError
from tests.engines.world import ACCOUNT, connector, fresh, running, settings, until

pytestmark = pytest.mark.asyncio
ONE = {"amount": "100", "scale": 9}


async def test_eng_02_to_05_calls_and_answers(tmp_path: Path) -> None:
    kind = fresh()
    async with running(kind, settings(tmp_path)) as (_, calls):
        created = await calls.create(ACCOUNT)
        assert (created.status, orjson.loads(created.body)) == (201, {"id": ACCOUNT})
        settled = await calls.settle(ACCOUNT, ONE)
        assert (settled.status, orjson.loads(settled.body)) == (201, ONE)
        message = await calls.message(ACCOUNT, b"\x00abc")
        assert (message.status, message.body) == (201, b"cba\x00")
        await until(lambda: kind.paid)
        assert kind.paid[0][:2] == (ACCOUNT, Quantity(100 * 10**9, 18))
        deleted = await calls.delete(ACCOUNT)
        assert (deleted.status, deleted.body) == (204, b"")
        assert kind.calls["delete"] == 1


async def test_an_id_is_made_where_none_is_given(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (_, calls):
        created = await calls.call("POST", "/accounts", b"{}")
        assert re.fullmatch(r"[0-9a-f-]{36}", orjson.loads(created.body)["id"])


async def test_eng_06_errors_are_problems(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (_, calls):
        await calls.create(ACCOUNT)
        for method, path, body, status in [
            ("POST", "/accounts", b"{", 400),
            ("POST", "/accounts", b"[]", 400),
            ("POST", "/accounts", b'{"id":"a:b"}', 400),
            ("POST", "/accounts", b'{"id":7}', 400),
            ("PUT", "/accounts", b"{}", 405),
            ("GET", "/nothing", b"", 404),
            ("POST", f"/accounts/{ACCOUNT}/settlements", orjson.dumps(ONE), 400),
            ("POST", f"/accounts/{ACCOUNT}/messages", b"x" * 40_000, 413),
            ("POST", f"/accounts/{ACCOUNT}/messages", b"bad", 400),
            ("POST", "/accounts/nobody/messages", b"", 404),
            ("DELETE", "/accounts/nobody", b"", 404),
        ]:
            reply = await calls.call(method, path, body)
            problem = orjson.loads(reply.body)
            assert (reply.status, problem["status"]) == (status, status), path
            assert problem["title"] and problem["detail"]


async def test_eng_07_a_key_is_one_call(tmp_path: Path) -> None:
    kind = fresh()
    async with running(kind, settings(tmp_path)) as (_, calls):
        await calls.create(ACCOUNT)
        replies = await asyncio.gather(*(calls.settle(ACCOUNT, ONE, "key") for _ in range(20)))
        assert {(reply.status, reply.body) for reply in replies} == {(201, orjson.dumps(ONE))}
        other = await calls.settle(ACCOUNT, {"amount": "101", "scale": 9}, "key")
        assert other.status == 409
        headers = {"Idempotency-Key": "another"}
        path = f"/accounts/{ACCOUNT}/messages"
        answers = await asyncio.gather(
            *(calls.call("POST", path, b"slow", headers) for _ in range(5))
        )
        assert {answer.body for answer in answers} == {b"wols"}
        assert kind.calls["message"] == 1
        assert (await calls.call("POST", path, b"else", headers)).status == 409
        await until(lambda: kind.paid)
    async with running(kind, settings(tmp_path)) as (_, calls):
        assert (await calls.settle(ACCOUNT, ONE, "key")).status == 201
        # Of messages it is forgotten: asking twice changes nothing.
        assert (await calls.call("POST", path, b"slow", headers)).body == b"wols"
    assert (len(kind.paid), kind.calls["message"]) == (1, 2)


async def test_a_refused_call_may_be_tried_again_under_its_key(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (_, calls):
        assert (await calls.settle(ACCOUNT, ONE, "key")).status == 404
        await calls.create(ACCOUNT)
        assert (await calls.settle(ACCOUNT, ONE, "key")).status == 201


async def test_messages_fill_no_store(tmp_path: Path) -> None:
    """They are the peer's and cost it nothing: some answers are kept, in memory, for minutes."""
    kind = fresh()
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        path, before = f"/accounts/{ACCOUNT}/messages", host._store.used_bytes()
        for number in range(answers.RECENT_MAX + 20):
            await calls.call("POST", path, b"abc", {"Idempotency-Key": f"key-{number}"})
        assert host._store.used_bytes() == before
        assert len(host._answers._recent[ACCOUNT]) == answers.RECENT_MAX
        asked = kind.calls["message"]
        last = {"Idempotency-Key": f"key-{number}"}
        assert (await calls.call("POST", path, b"abc", last)).body == b"cba"
        assert kind.calls["message"] == asked
        await calls.call("POST", path, b"abc", {"Idempotency-Key": "key-0"})
        assert kind.calls["message"] == asked + 1
        for kept in host._answers._recent.values():
            kept.update({key: each._replace(until_s=0) for key, each in kept.items()})
        await host._answers.sweep()
        assert host._answers._recent == {}


async def test_large_answers_are_kept_as_far_as_there_is_room(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        path = f"/accounts/{ACCOUNT}/messages"
        for number in range(10):
            headers = {"Idempotency-Key": f"key-{number}"}
            await calls.call("POST", path, b"x" * 30_000, headers)
        kept = host._answers._recent[ACCOUNT]
        assert list(kept) == [f"key-{number}" for number in range(6, 10)]
        assert sum(len(each.reply.body) for each in kept.values()) <= answers.RECENT_BYTES_MAX


async def test_the_last_quarter_of_the_store_is_for_money(tmp_path: Path) -> None:
    kind = fresh()
    async with connector() as stand_in:
        chosen = settings(tmp_path, connector_url=stand_in.url, store_bytes_max=1 << 22)
        async with running(kind, chosen) as (host, calls):
            await calls.create(ACCOUNT)
            context, number = host.engine.context, 0
            context.check_room()
            while not host._store.problem():
                number += 1
                with context.change() as change:
                    for part in range(20):
                        change.put(f"fill/{number}/{part}", "x" * 1_000)
            with pytest.raises(StorageError, match="raise store_bytes_max"):
                context.check_room()
            assert (await calls.create("another")).status == 503
            assert (await calls.create(ACCOUNT)).status == 201
            health = orjson.loads((await calls.call("GET", "/health")).body)
            assert "raise store_bytes_max" in " ".join(health["problems"])
            for count in range(50):
                assert (await calls.settle(ACCOUNT, ONE)).status == 201
                assert context.credit(ACCOUNT, Quantity(5, 18), f"tx-{count}")
            await until(lambda: len(kind.paid) == 50)
            await until(lambda: len(stand_in.accounts[ACCOUNT].credits) == 50)


async def test_a_key_is_known_for_years(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some months as a digest: the connector's own record can be repeated for longer."""
    kind = fresh()
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE, "key")
        await until(lambda: host._payments.outbox.done_count == 1)
        await host._payments.sweep()
        with host._store.read() as view:
            assert (view.count(PAYMENTS), view.count(PAID)) == (1, 0)
        monkeypatch.setattr(payments, "KEPT_MS", -10_000)
        await host._payments.sweep()
        with host._store.read() as view:
            assert (view.count(PAYMENTS), view.count(PAID)) == (0, 1)
        again = await calls.settle(ACCOUNT, ONE, "key")
        assert (again.status, orjson.loads(again.body)) == (201, ONE)
        assert (await calls.settle(ACCOUNT, ONE | {"amount": "101"}, "key")).status == 409
        await calls.create("bob")
        assert (await calls.settle("bob", ONE, "key")).status == 409
        await calls.settle(ACCOUNT, ONE, "another")
        await until(lambda: host._payments.outbox.done_count >= 2)
        assert [key for _, _, key in kind.paid] == ["key", "another"]
        assert kind.calls["send"] == 2
        monkeypatch.setattr(payments, "DIGEST_KEPT_MS", -10_000)
        await host._payments.sweep()
        with host._store.read() as view:
            assert view.count(PAID) == 0


async def test_what_is_asked_for_is_not_swept(tmp_path: Path) -> None:
    """The engine has paid, and ended before the framework knew: it comes back after months, and is
    asked for the same payment."""
    kind = fresh()
    kind.fail_send = 10**6
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE, "asked")
        await until(lambda: kind.calls["send"])
        context = host.engine.context
        with context.change() as change:
            for key in ("asked", "done"):
                paid.note(change, key, hash=f"of {key}")
        assert paid.sweep(context) == []
        (gone,) = paid.sweep(context, -10_000)
        assert gone["hash"] == "of done"
        with context.read() as records:
            assert paid.is_paid(records, "asked") and not paid.is_paid(records, "done")


async def test_eng_08_leftovers(tmp_path: Path) -> None:
    """The numbers of Interledger.rs's test of its engine; a restart in the middle."""
    kind = fresh()
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        for amount, scale in [("9", 19), ("11", 20)]:
            await calls.settle(ACCOUNT, {"amount": amount, "scale": scale})
        with host._store.read() as view:
            assert view.get(LEFTOVERS, ACCOUNT) == {"amount": "101", "scale": 20}
        assert kind.paid == []
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.settle(ACCOUNT, {"amount": "100", "scale": 9})
        await until(lambda: kind.paid)
        with host._store.read() as view:
            assert view.get(LEFTOVERS, ACCOUNT) == {"amount": "1", "scale": 20}
    assert [quantity.amount for _, quantity, _ in kind.paid] == [100_000_000_001]


async def test_zero_and_too_much_are_refused(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (_, calls):
        await calls.create(ACCOUNT)
        assert (await calls.settle(ACCOUNT, {"amount": "0", "scale": 9})).status == 400
        assert (await calls.settle(ACCOUNT, {"amount": str(2**256), "scale": 18})).status == 400
        assert (await calls.settle(ACCOUNT, {"amount": "1" + "0" * 60, "scale": 18})).status == 201


async def test_a_payment_is_repeated_until_it_returns(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_send = 7
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE)
        await until(lambda: host.problems())
        await until(lambda: kind.calls["send"] == 8 and not host.problems())
    assert len(kind.paid) == 1


async def test_an_error_that_cannot_be_written_down_ends_no_payment(tmp_path: Path) -> None:
    """JSON has no lone surrogates, which is what bytes of others may become in a text."""
    kind = fresh()

    class Odd(kind):  # type: ignore[misc, valid-type]
        async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
            await super().send_money(account_id, quantity, key)
            if self.calls["send"] < 3:
                raise NotNowError("the ledger says \udcff")

    async with running(Odd, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE)
        await until(lambda: kind.calls["send"] == 3 and not dict(host.outboxes())["payment"]._tasks)
        assert len(kind.paid) == 1


async def test_what_was_taken_is_paid_by_the_next_process(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_send = 10**6
    async with running(kind, settings(tmp_path)) as (_, calls):
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE)
    kind.fail_send = 0
    async with running(kind, settings(tmp_path)) as (host, _):
        await until(lambda: host._payments.outbox.done_count)
    assert len(kind.paid) == 1


async def test_a_credit_reaches_the_connector_once(tmp_path: Path) -> None:
    async with connector() as stand_in:
        chosen = settings(tmp_path, connector_url=stand_in.url)
        async with running(fresh(), chosen) as (host, _):
            stand_in.failures.extend(["fail", "refuse", "hang up", "lose"])
            assert host.engine.context.credit(ACCOUNT, Quantity(5, 18), "tx")
            assert not host.engine.context.credit(ACCOUNT, Quantity(5, 18), "tx")
            await until(lambda: host._credits.outbox.done_count == 1)
            assert not host.engine.context.credit(ACCOUNT, Quantity(5, 18), "tx")
        assert stand_in.accounts[ACCOUNT].credits == {"tx": Quantity(5, 18)}
        assert stand_in.accounts[ACCOUNT].calls == 5
        assert stand_in.remarks == []


async def test_a_credit_survives_a_crash(tmp_path: Path) -> None:
    """The connector is down, the engine ends, both come back."""
    async with running(fresh(), settings(tmp_path, connector_url="http://127.0.0.1:1")) as (
        host,
        _,
    ):
        host.engine.context.credit(ACCOUNT, Quantity(5, 18), "tx")
    async with connector() as stand_in:
        chosen = settings(tmp_path, connector_url=stand_in.url)
        async with running(fresh(), chosen):
            await until(lambda: stand_in.accounts[ACCOUNT].credits)
        assert stand_in.accounts[ACCOUNT].credits == {"tx": Quantity(5, 18)}


async def test_a_change_that_fails_credits_nothing(tmp_path: Path) -> None:
    async with connector() as stand_in:
        chosen = settings(tmp_path, connector_url=stand_in.url)
        async with running(fresh(), chosen) as (host, _):
            context = host.engine.context
            with pytest.raises(ZeroDivisionError), context.change() as change:
                change.put("cursor", 7)
                change.credit(ACCOUNT, Quantity(5, 18), "tx")
                raise ZeroDivisionError
            assert context.credit(ACCOUNT, Quantity(6, 18), "other")
            await until(lambda: stand_in.accounts[ACCOUNT].credits)
            with context.read() as records:
                assert records.get("cursor") is None
        assert stand_in.accounts[ACCOUNT].credits == {"other": Quantity(6, 18)}


async def test_an_account_whose_peer_is_not_there_is_taken(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_create.extend([NotNowError("not yet"), NotNowError("not yet")])
    async with running(kind, settings(tmp_path)) as (_, calls):
        assert (await calls.create(ACCOUNT)).status == 201
        await until(lambda: kind.calls["create"] == 3)


async def test_a_refusal_of_the_peer_is_told(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_create.append(EngineError("a forged signature", status=500))
    async with running(kind, settings(tmp_path)) as (_, calls):
        reply = await calls.create(ACCOUNT)
        assert reply.status == 500 and b"a forged signature" in reply.body
        assert (await calls.create(ACCOUNT)).status == 201


async def test_one_wrong_answer_does_not_end_an_account(tmp_path: Path) -> None:
    """Nobody is told of it, so it goes on; an operator sees it."""
    kind = fresh()
    async with running(kind, settings(tmp_path)) as (_, calls):
        kind.fail_create.append(EngineError("the first", status=500))
        assert (await calls.create(ACCOUNT)).status == 500
    kind.fail_create.append(EngineError("a wrong answer", status=500))
    kind.fail_create.extend([NotNowError("not yet")] * 3)
    chosen = settings(tmp_path).model_copy(update={"retry_first_ms": 50})
    async with running(kind, chosen) as (host, calls):
        await until(lambda: host.problems())
        assert host.problems() == [f"account {ACCOUNT}: a wrong answer"]
        metrics = (await calls.call("GET", "/metrics")).body.decode()
        assert "fastilp_engine_accounts_unready 1.0" in metrics
        await until(lambda: kind.calls["create"] == 6)
        await until(lambda: not host._accounts.unready_count)
        assert host.problems() == []


async def test_an_account_that_is_refused_is_a_problem_until_it_is_set_up(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_create.append(EngineError("a forged signature", status=500))
    async with running(kind, settings(tmp_path)) as (host, calls):
        assert (await calls.create(ACCOUNT)).status == 500
        assert host.problems() == [f"account {ACCOUNT}: a forged signature"]
        assert (await calls.create(ACCOUNT)).status == 201
        assert host.problems() == []


async def test_a_message_of_the_greatest_length(tmp_path: Path) -> None:
    """RFC 27: the data of a packet, and no byte more."""
    async with running(fresh(), settings(tmp_path)) as (_, calls):
        await calls.create(ACCOUNT)
        for length, status in ((32_767, 201), (32_768, 413)):
            assert (await calls.message(ACCOUNT, b"x" * length)).status == status


async def test_a_slow_peer_holds_up_nobody(tmp_path: Path) -> None:
    class Slow(fresh()):  # type: ignore[misc]
        async def create_account(self, account_id: str) -> None:
            await asyncio.sleep(ANSWER_AFTER_S + 60)

    async with running(Slow, settings(tmp_path)) as (_, calls):
        assert (await calls.create(ACCOUNT)).status == 201
        assert (await calls.settle(ACCOUNT, ONE)).status == 201


async def test_an_account_that_is_owed_goes_last(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_send = 3
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE)
        assert (await calls.delete(ACCOUNT)).status == 204
        assert (await calls.settle(ACCOUNT, ONE)).status == 404
        await until(lambda: host.account_count() == 0)
    assert (len(kind.paid), kind.calls["delete"]) == (1, 1)


async def test_an_account_that_comes_back_while_it_goes_stays(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_send = 3
    async with running(kind, settings(tmp_path)) as (host, calls):
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE)
        assert (await calls.delete(ACCOUNT)).status == 204
        assert (await calls.create(ACCOUNT)).status == 201
        assert (await calls.settle(ACCOUNT, ONE)).status == 201
        await until(lambda: len(kind.paid) == 2 and not host._accounts.unready_count)
        assert (host.account_count(), kind.calls["create"], kind.calls["delete"]) == (1, 2, 0)


async def test_tokens(tmp_path: Path) -> None:
    chosen = settings(tmp_path, incoming_token="sesame")
    async with running(fresh(), chosen) as (_, calls):
        assert (await calls.create(ACCOUNT)).status == 401
        headers = {"Authorization": "Bearer sesame"}
        assert (await calls.call("POST", "/accounts", b"{}", headers)).status == 201
        assert (await calls.call("GET", "/health")).status == 200


async def test_health_and_metrics(tmp_path: Path) -> None:
    kind = fresh()
    kind.fail_send = 10**6
    async with running(kind, settings(tmp_path)) as (host, calls):
        assert (await calls.call("GET", "/health")).status == 200
        await calls.create(ACCOUNT)
        await calls.settle(ACCOUNT, ONE, "owed")
        await until(lambda: host.problems())
        health = await calls.call("GET", "/health")
        assert health.status == 503
        assert orjson.loads(health.body)["problems"] == ["payment owed: on command"]
        metrics = (await calls.call("GET", "/metrics")).body.decode()
        assert "fastilp_engine_accounts 1.0" in metrics
        assert "fastilp_engine_payments_waiting 1.0" in metrics


async def test_a_store_is_of_one_engine(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)):
        with pytest.raises(StorageError, match="another engine has it"):
            Host(fresh(), settings(tmp_path))


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async with running(fresh(), settings(tmp_path)) as (host, _):
        chosen = settings(tmp_path / "other").model_copy(
            update={"settlement_api_bind_address": host.address}
        )
        second = Host(fresh(), chosen)
        with pytest.raises(ConfigError, match="cannot listen on"):
            await second.start()
        await second.stop()
