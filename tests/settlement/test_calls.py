"""What engines call, without sockets: credits once, exactly, and to the right account; messages."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp.control import engine_client, settlement_messages
from fastilp.control.idempotency import PARTS, Idempotency
from fastilp.control.settlement_calls import EngineReply
from fastilp.storage.outbox import LEFTOVERS
from tests.settlement.rfc38_engine import HANG, Rfc38Engine
from tests.settlement.world import World, soon

NO_ENGINE = "http://127.0.0.1:1"
CONDITION = bytes.fromhex("66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")
# SHA-256 of nothing, as RFC 38 has it.
RFC_CONDITION = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def identifier(world: World, username: str) -> str:
    return str(uuid.UUID(bytes=world.entry(username).account.id))


async def credit(
    world: World,
    username: str,
    amount: object,
    scale: object,
    key: str | None,
    *,
    path: str = "/accounts/{}/settlements",
    headers: Mapping[str, str] | None = None,
) -> EngineReply:
    body = json.dumps({"amount": amount, "scale": scale}).encode()
    given = dict(headers or {}) | ({} if key is None else {"idempotency-key": key})
    name = identifier(world, username) if world.accounts.find(username) else username
    return await world.calls.answer("POST", path.format(name), given, body)


def test_set_01_a_credit(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=NO_ENGINE).account
            reply = await credit(world, "bob", "905", 11, "first")
            assert (reply.status, json.loads(reply.body)) == (201, {"amount": "905", "scale": 11})
            assert reply.content_type == "application/json"
            assert world.balance(account) == 9
            assert world.settlement.credits.leftover(account) == (5, 11)
            old_path = "/accounts/{}/settlement"
            await credit(world, "bob", "95", 11, "second", path=old_path)
            assert world.balance(account) == 10
            assert world.settlement.credits.leftover(account).amount == 0
        async with World(tmp_path) as world:
            assert world.ledger.store is not None
            assert not list(LEFTOVERS.items(world.ledger.store))

    asyncio.run(run())


def test_more_than_64_bits(tmp_path: Path) -> None:
    """20 ETH are more units of scale 18 than 64 bits hold."""

    async def run() -> None:
        async with World(tmp_path) as world:
            rich = {"settlement_engine_url": NO_ENGINE, "asset_code": "ETH", "asset_scale": 18}
            account = world.create("bob", **rich).account
            world.ledger.transact([(account.id, "exchange", -5)])
            assert (await credit(world, "bob", "20", 0, "20 ETH")).status == 201
            assert world.balance(account) == 20 * 10**18 - 5
            assert world.counters(account)["prepaid_posted"] == 20 * 10**18 - 5
            for amount, status in ((2**100 - 1, 201), (2**100, 400)):
                assert (await credit(world, "bob", str(amount), 18, f"{amount}")).status == status
        async with World(tmp_path) as world:
            account = world.entry("bob").account
            assert world.balance(account) == 20 * 10**18 - 5 + 2**100 - 1

    asyncio.run(run())


def test_leftovers_survive_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        for number in range(20):
            async with World(tmp_path) as world:
                if not number:
                    world.create("bob", settlement_engine_url=NO_ENGINE)
                # A twentieth of a unit, at another scale each time.
                reply = await credit(world, "bob", str(5 * 10**number), 11 + number, f"{number}")
                assert reply.status == 201
                account = world.entry("bob").account
                assert world.balance(account) == (number + 1) // 20
                assert world.settlement.credits.count == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("clearing", "amount", "clearing_after", "prepaid"),
    [(0, 10, 0, 10), (7, 10, 7, 10), (-10, 10, 0, 0), (-10, 4, -6, 0), (-10, 25, 0, 15)],
)
def test_lua_05(
    tmp_path: Path, clearing: int, amount: int, clearing_after: int, prepaid: int
) -> None:
    """process_incoming_settlement: first what is owed, the rest is prepaid."""

    async def run() -> None:
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=NO_ENGINE).account
            if clearing:
                world.ledger.transact([(account.id, "exchange", clearing)])
            assert (await credit(world, "bob", str(amount), 9, "key")).status == 201
            assert world.clearing(account) == clearing_after
            assert world.counters(account)["prepaid_posted"] == prepaid
            assert world.balance(account) == clearing + amount

    asyncio.run(run())


def test_lua_06_a_refund_is_no_prepayment(tmp_path: Path) -> None:
    """refund_settlement: balance += amount."""

    async def run() -> None:
        async with World(tmp_path) as world:
            account = world.create("bob").account
            world.ledger.transact([(account.id, "exchange", 50)])
            world.ledger.transact([(account.id, "settlement", -50)])
            world.ledger.transact([(account.id, "refund", 50)])
            assert (world.clearing(account), world.balance(account)) == (50, 50)
            internal = world.ledger.counters(world.ledger.internal_id("ABC", 9, "settlement"))
            assert internal is not None
            assert internal["debits_posted"] == internal["credits_posted"] == 50

    asyncio.run(run())


def test_set_03_replays(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            world.create("bob", settlement_engine_url=NO_ENGINE)
            world.create("carol", settlement_engine_url=NO_ENGINE)
            first = await credit(world, "bob", "100", 9, "0xhash")
            for _ in range(3):
                assert await credit(world, "bob", "100", 9, "0xhash") == first
            for amount, scale in (("101", 9), ("100", 8)):
                other = await credit(world, "bob", amount, scale, "0xhash")
                assert (other.status, b"tied" in other.body) == (409, True)
            # Another engine may have the same key: it is another settlement.
            for _ in range(2):
                assert (await credit(world, "carol", "1", 9, "0xhash")).status == 201
            together = await asyncio.gather(
                *(credit(world, "carol", "7", 9, "together") for _ in range(50))
            )
            assert {reply.status for reply in together} == {201}
            assert world.balance(world.entry("carol").account) == 1 + 7
        async with World(tmp_path) as world:
            assert await credit(world, "bob", "100", 9, "0xhash") == first
            assert world.balance(world.entry("bob").account) == 100

    asyncio.run(run())


def test_a_settlement_is_known_for_longer_than_a_day(tmp_path: Path) -> None:
    """An engine that was away over a weekend sends what it had no answer to."""

    async def run() -> None:
        async with World(tmp_path) as world:
            world.create("bob", settlement_engine_url=NO_ENGINE)
            later = World.now_ms() + 30 * 24 * 3_600_000
            await credit(world, "bob", "100", 9, "key")
            world.calls._idempotency = Idempotency(world.ledger, b"secret", lambda: later)
            assert (await credit(world, "bob", "100", 9, "key")).status == 201
            assert world.balance(world.entry("bob").account) == 100

    asyncio.run(run())


def test_a_clock_that_is_set_forward_makes_nothing_new(tmp_path: Path) -> None:
    """Written in 1970, as far as the node knew, and sent again when it knew better."""

    async def run() -> None:
        async with World(tmp_path) as world:
            world.create("bob", settlement_engine_url=NO_ENGINE)
            clock_ms = [0]
            world.calls._idempotency = Idempotency(
                world.ledger, b"secret", lambda: clock_ms[0], lambda: 0
            )
            first = await credit(world, "bob", "100", 9, "key")
            clock_ms[0] = World.now_ms()
            assert sum(world.calls._idempotency.sweep() for _ in range(PARTS)) == 0
            assert await credit(world, "bob", "100", 9, "key") == first
            assert world.balance(world.entry("bob").account) == 100

    asyncio.run(run())


BAD = [
    ({"amount": 100, "scale": 9}, "key", 400),
    ({"amount": "-100", "scale": 9}, "key", 400),
    ({"amount": str(10**60), "scale": 9}, "key", 400),
    ({"amount": "1", "scale": 256}, "key", 400),
    ({"amount": "100", "scale": 9}, None, 400),
    ({"amount": "100", "scale": 9}, "", 400),
    ({"amount": "100", "scale": 9}, "x" * 256, 400),
]


@pytest.mark.parametrize(("quantity", "key", "status"), BAD)
def test_bad_credits(
    tmp_path: Path, quantity: dict[str, object], key: str | None, status: int
) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            world.create("bob", settlement_engine_url=NO_ENGINE)
            reply = await credit(world, "bob", quantity["amount"], quantity["scale"], key)
            assert (reply.status, reply.content_type) == (status, "application/problem+json")
            assert world.balance(world.entry("bob").account) == 0
            # The same key is good for what is right.
            reply = await credit(world, "bob", str(10**60), 255, "key")
            assert (reply.status, world.balance(world.entry("bob").account)) == (201, 0)
            assert (await credit(world, "bob", "0", 0, "nothing")).status == 201

    asyncio.run(run())


def test_err_03_whose_account(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            world.create("bob", settlement_engine_url=NO_ENGINE)
            world.create("poor")
            for name, status in (
                ("bob-is-no-uuid", 400),
                ("../bob", 400),
                ("0193b5a0-7c1e-7000-8000-000000000001", 404),
                ("poor", 404),
                (str(uuid.UUID(bytes=world.ledger.internal_id("ABC", 9, "exchange"))), 404),
            ):
                for what in ("settlements", "messages"):
                    path = f"/accounts/{{}}/{what}"
                    reply = await credit(world, name, "1", 9, "key", path=path)
                    wanted = 404 if "/" in name else status
                    assert reply.status == wanted, (name, what)
            found = json.loads((await credit(world, "nobody", "1", 9, "key")).body)
            assert found["type"].endswith("/settings/invalid-account-id")
            get = await world.calls.answer(
                "GET", f"/accounts/{identifier(world, 'bob')}/settlements", {}, b""
            )
            assert (get.status, get.headers["Allow"]) == (405, "POST")
            assert (await world.calls.answer("POST", "/accounts", {}, b"")).status == 404

    asyncio.run(run())


def test_a_late_credit_lands_on_the_tombstone(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=NO_ENGINE).account
            name = identifier(world, "bob")
            await world.accounts.close("bob")
            world.create("bob", settlement_engine_url=NO_ENGINE)
            reply = await credit(world, name, "12", 9, "late")
            assert reply.status == 201
            assert world.ledger.counters(account.id) is not None
            assert world.clearing(account) == 0
            counters = world.counters(account)
            assert counters["credits_posted"] == counters["prepaid_posted"] == 12
            assert world.balance(world.entry("bob").account) == 0
            message = await credit(world, name, "", 0, None, path="/accounts/{}/messages")
            assert message.status == 404

    asyncio.run(run())


def test_tokens(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path, incoming_token="sesame") as world:
            world.create("bob", settlement_engine_url=NO_ENGINE)
            for wrong in ("", "Bearer", "Bearer sesam", "Bearer sesame2", "Basic sesame", "\udcff"):
                reply = await credit(world, "bob", "5", 9, "key", headers={"authorization": wrong})
                assert (reply.status, reply.headers) == (401, {"Www-Authenticate": "Bearer"})
            reply = await credit(
                world, "bob", "5", 9, "key", headers={"authorization": "bearer sesame"}
            )
            assert (reply.status, world.balance(world.entry("bob").account)) == (201, 5)

    asyncio.run(run())


# --- Messages -------------------------------------------------------------------------------------


async def _ask(world: World, username: str, prepare: Prepare) -> Fulfill | Reject:
    """A packet from the account's holder, and its answer."""
    link = world.links[username]
    link.receive([(1, bytes(prepare))])
    answers: list[bytes] = []

    def answered() -> bool:
        world.turn()
        answers.extend(packet for _, packet in link.take())
        return bool(answers)

    await soon(answered)
    answer = decode(answers[0])
    assert not isinstance(answer, Prepare)
    return answer


def settle(data: bytes, condition: bytes = CONDITION, **more: object) -> Prepare:
    fields: dict[str, object] = {
        "amount": 0,
        "expires_at": World.now_ms() + 20_000,
        "execution_condition": condition,
        "destination": "peer.settle",
        "data": data,
        **more,
    }
    return Prepare(**fields)  # type: ignore[arg-type]


def test_svc_06_from_the_peer_to_our_engine(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            world.create("bob", settlement_engine_url=engine.url)
            world.create("poor")
            answer = await _ask(world, "bob", settle(b"ping"))
            assert answer == Fulfill(fulfillment=bytes(32), data=b"pong")
            for condition in (RFC_CONDITION, bytes(32)):
                assert await _ask(world, "bob", settle(b"ping", condition)) == answer
            call = engine.calls[-1]
            assert call.path == f"/accounts/{identifier(world, 'bob')}/messages"
            assert call.body == b"ping" and call.key
            for reply, code, data in (
                (400, "F00", b"engine's error"),
                (500, "T00", b"engine's error"),
                (b"x" * 32_768, "T00", b""),
                (b"x" * 70_000, "T00", b""),
            ):
                engine.reply = reply
                sent = settle(b"ping", expires_at=World.now_ms() + 1_500)
                refusal = await _ask(world, "bob", sent)
                assert isinstance(refusal, Reject)
                assert (refusal.code, refusal.data) == (code, data)
                assert refusal.triggered_by == "peer.settle"
            refusal = await _ask(world, "poor", settle(b"ping"))
            assert isinstance(refusal, Reject) and refusal.code == "F02"
            # What we call an account is ours.
            assert "poor" not in refusal.message
            refusal = await _ask(world, "bob", settle(b"ping", amount=1))
            assert isinstance(refusal, Reject) and refusal.code == "F03"
            await engine.stop()
            refusal = await _ask(world, "bob", settle(b"", expires_at=World.now_ms() + 1_500))
            assert isinstance(refusal, Reject) and refusal.code in ("T00", "R00")

    asyncio.run(run())


def test_messages_of_one_peer_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_messages, "_EXPIRY_MS", 2_000)

    async def run() -> None:
        engine, other = Rfc38Engine(), Rfc38Engine()
        await engine.start()
        await other.start()
        engine.reply = HANG
        async with World(tmp_path) as world:
            bob = world.create("bob", settlement_engine_url=engine.url).account
            carol = world.create("carol", settlement_engine_url=other.url).account
            ten_years = settle(b"ping", expires_at=World.now_ms() + 10 * 365 * 24 * 3_600_000)
            asked = [asyncio.ensure_future(world.messages.handle(bob, ten_years)) for _ in range(8)]
            await asyncio.sleep(0)
            refusal = await world.messages.handle(bob, ten_years)
            assert isinstance(refusal, Reject) and refusal.code == "T03"
            assert isinstance(await world.messages.handle(carol, ten_years), Fulfill)
            # Nobody waits for ten years.
            answers = await asyncio.gather(*asked)
            assert [isinstance(each, Reject) and each.code for each in answers] == ["T00"] * 8
            engine.reply = b"pong"
            assert isinstance(await world.messages.handle(bob, ten_years), Fulfill)
        await engine.stop()
        await other.stop()

    asyncio.run(run())


def test_an_engine_that_keeps_silent_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_client, "_SILENCE_SECONDS", 0.2)

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.reply = HANG
        async with World(tmp_path) as world:
            bob = world.create("bob", settlement_engine_url=engine.url).account
            asked = asyncio.ensure_future(world.messages.handle(bob, settle(b"ping")))
            await soon(lambda: _message_keys(engine))
            engine.reply = b"pong"
            assert await asked == Fulfill(fulfillment=bytes(32), data=b"pong")
            assert len(_message_keys(engine)) >= 2 and len(set(_message_keys(engine))) == 1
        await engine.stop()

    asyncio.run(run())


def _message_keys(engine: Rfc38Engine) -> list[str | None]:
    return [call.key for call in engine.calls if call.path.endswith("/messages")]


def test_set_02_from_our_engine_to_the_peer(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            world.create("bob", settlement_engine_url=NO_ENGINE)
            path = f"/accounts/{identifier(world, 'bob')}/messages"
            headers = {"idempotency-key": "message"}
            answers: list[Fulfill | Reject] = [
                Fulfill(fulfillment=bytes(32), data=b"\0pong"),
                Reject(code="F00", triggered_by="peer.settle", message="no", data=b"why"),
            ]
            for answer in answers:
                given = headers if isinstance(answer, Fulfill) else {}
                calling = asyncio.ensure_future(world.calls.answer("POST", path, given, b"\0ping"))
                sent = await world.next_packet("bob")
                prepare = decode(sent[1])
                assert isinstance(prepare, Prepare)
                assert (prepare.destination, prepare.amount) == ("peer.settle", 0)
                assert (prepare.data, prepare.execution_condition) == (b"\0ping", CONDITION)
                world.links["bob"].receive([(sent[0], bytes(answer))])
                world.turn()
                reply = await calling
                if isinstance(answer, Fulfill):
                    assert (reply.status, reply.body) == (201, b"\0pong")
                    # Sent again, the peer is not asked again.
                    again = await world.calls.answer("POST", path, headers, b"\0ping")
                    assert again == reply
                    other = await world.calls.answer("POST", path, headers, b"other")
                    assert other.status == 409
                else:
                    assert reply.status == 502 and json.loads(reply.body)["data"] == "why"
            too_long = await world.calls.answer("POST", path, {}, b"x" * 32_768)
            assert too_long.status == 413

    asyncio.run(run())


def test_a_message_to_a_peer_that_is_not_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=NO_ENGINE)
            world.switch.set_egress(entry.account, None)
            path = f"/accounts/{identifier(world, 'bob')}/messages"
            calling = asyncio.ensure_future(world.calls.answer("POST", path, {}, b"ping"))

            def done() -> bool:
                world.turn()
                return calling.done()

            await soon(done)
            assert calling.result().status == 502

    asyncio.run(run())
