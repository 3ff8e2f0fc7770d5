"""When a settlement begins, and of how much: rows of Interledger.rs, and what we do otherwise."""

import asyncio
import uuid
from hashlib import sha256
from pathlib import Path

import pytest

from fastilp._core.packet import Fulfill, Prepare
from fastilp.errors import ConflictError, UsageError
from fastilp.storage.outbox import EVERY, MANUAL, PREFUND, SENT, THRESHOLD
from tests.settlement.rfc38_engine import HANG, Rfc38Engine
from tests.settlement.world import World, soon
from tests.small_switch import ADDRESS

VECTORS = [
    (30, 40, 10, 15, 10, 35),
    (30, 50, 10, 15, 45, 0),
    (30, 40, 50, 15, 45, 0),
    (-150, -100, -500, 100, -500, 450),
    (-150, -100, -500, 49, -101, 0),
    (0, 0, -100, 0, -100, 100),
    (0, 70, 50, 0, 0, 0),
]


@pytest.mark.parametrize(("balance", "threshold", "to", "amount", "after", "settled"), VECTORS)
def test_lua_02(
    tmp_path: Path, balance: int, threshold: int, to: int, amount: int, after: int, settled: int
) -> None:
    """process_fulfill(balance, threshold, settle_to, amount)."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url)
            account = entry.account
            world.ledger.transact([(account.id, "exchange", balance)])
            new = world.entry("bob").details
            new = type(new)(
                **{name: getattr(new, name) for name in new.__dataclass_fields__}
                | {"settle_threshold": threshold, "settle_to": to}
            )
            world.accounts.update("bob", new)
            # Interledger.rs looks at creation and at Fulfills: before that nothing has happened.
            if (balance, amount) != (0, 0):
                assert world.clearing(account) == balance
            world.ledger.transact([(account.id, "exchange", amount)] if amount else [])
            world.settlement.account_opened(account, new)
            await world.idle()
            assert world.clearing(account) == after
            assert engine.total_paid() == settled
        await engine.stop()

    asyncio.run(run())


def test_bal_01_a_prepare_is_debited_before_it_goes_on(tmp_path: Path) -> None:
    """And its answer leaves with the books as they are then: nothing lags behind."""

    async def run() -> None:
        async with World(tmp_path) as world:
            alice, bob = world.create("alice").account, world.create("bob").account
            prepare = Prepare(
                amount=10,
                expires_at=World.now_ms() + 20_000,
                execution_condition=sha256(bytes(32)).digest(),
                destination=f"{ADDRESS}.bob",
                data=b"",
            )
            world.links["alice"].receive([(1, bytes(prepare))])
            sent = await world.next_packet("bob")
            assert (world.balance(alice), world.balance(bob)) == (-10, 0)
            world.links["bob"].receive([(sent[0], bytes(Fulfill(fulfillment=bytes(32), data=b"")))])
            await world.next_packet("alice")
            assert (world.balance(alice), world.balance(bob)) == (-10, 10)

    asyncio.run(run())


def test_one_settlement_covers_the_fulfills_of_a_batch(tmp_path: Path) -> None:
    """Each of three is enough for the threshold; the switch looks when it is through with all."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            world.create("alice")
            limits = {"settle_threshold": 10, "settle_to": 0}
            bob = world.create("bob", settlement_engine_url=engine.url, **limits).account
            prepare = Prepare(
                amount=10,
                expires_at=World.now_ms() + 20_000,
                execution_condition=sha256(bytes(32)).digest(),
                destination=f"{ADDRESS}.bob",
                data=b"",
            )
            world.links["alice"].receive([(number, bytes(prepare)) for number in range(3)])
            world.turn()
            sent = world.links["bob"].take()
            fulfill = bytes(Fulfill(fulfillment=bytes(32), data=b""))
            world.links["bob"].receive([(request_id, fulfill) for request_id, _ in sent])
            await world.next_packet("alice")
            due = [event[1:] for event in world.switch.take_events() if event[0] == "settle"]
            assert due == [(bob, 30)]
            # As the node does with that event.
            world.settlement.due(bob)
            await world.idle()
            assert [amount for _, amount, _ in engine.paid.values()] == [30]
            assert world.clearing(bob) == 0
        await engine.stop()

    asyncio.run(run())


def test_bal_02_what_the_engine_is_asked(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path, tokens={engine.url: "sesame"}) as world:
            entry = world.create(
                "bob", settle_threshold=40, settle_to=10, settlement_engine_url=engine.url + "/"
            )
            world.owe(entry.account, 39)
            assert not world.settlement.outbox.open()
            world.owe(entry.account, 6)
            # Debited before anybody is asked.
            assert world.clearing(entry.account) == 10 and not engine.paid
            [intent] = world.settlement.outbox.open()
            await world.idle()
            [call] = engine.settlement_calls()
            account_id = str(uuid.UUID(bytes=entry.account.id))
            assert call.path == f"/accounts/{account_id}/settlements"
            assert call.body == b'{"amount": "35", "scale": 9}'
            assert (call.key, call.authorization) == (intent.settlement_id, "Bearer sesame")
            assert engine.calls[0].path == "/accounts" and engine.accounts == {account_id}
            found = world.settlement.outbox.find(intent.settlement_id)
            assert (found.state, found.reason, found.tries) == (SENT, THRESHOLD, 1)
        await engine.stop()

    asyncio.run(run())


def test_bal_03_without_an_engine_nothing_is_debited(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            account = world.create("bob", settle_threshold=40, settle_to=10).account
            world.owe(account, 100)
            assert world.clearing(account) == 100 and not world.settlement.outbox.open()
            with pytest.raises(ConflictError, match="engine"):
                world.settlement.settle(world.entry("bob"))
            assert world.clearing(account) == 100
            # An engine for its asset, and what is due is due at once.
            world.tables.add_engines({"ABC": engine.url})
            await soon(lambda: engine.total_paid() == 90)
            await world.idle()
            assert world.clearing(account) == 10
        await engine.stop()

    asyncio.run(run())


def test_the_engine_of_an_account_comes_before_that_of_its_asset(tmp_path: Path) -> None:
    async def run() -> None:
        own, of_asset = Rfc38Engine(), Rfc38Engine()
        await own.start()
        await of_asset.start()
        async with World(tmp_path) as world:
            world.tables.add_engines({"ABC": of_asset.url})
            limits = {"settle_threshold": 1, "settle_to": 0}
            bob = world.create("bob", settlement_engine_url=own.url, **limits)
            carol = world.create("carol", **limits)
            world.create("dave", asset_code="XYZ", **limits)
            world.owe(bob.account, 5)
            world.owe(carol.account, 7)
            await world.idle()
            await soon(lambda: len(of_asset.accounts) == 1)
            assert (own.total_paid(), of_asset.total_paid()) == (5, 7)
            assert len(own.accounts) == 1
        await own.stop()
        await of_asset.stop()

    asyncio.run(run())


def test_bal_05_prefund(tmp_path: Path) -> None:
    """Threshold 0, settle_to -1000000: the peer is paid before it has done anything, once."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        for _ in range(2):
            async with World(tmp_path) as world:
                if world.accounts.find("bob") is None:
                    limits = {"settle_threshold": 0, "settle_to": -1_000_000}
                    world.create("bob", settlement_engine_url=engine.url, **limits)
                await world.idle()
                assert world.balance(world.entry("bob").account) == -1_000_000
                [found] = world.settlement.outbox.page(None, "", 10)
                assert found.reason == PREFUND
        assert engine.total_paid() == 1_000_000
        await engine.stop()

    asyncio.run(run())


def test_what_comes_due_meanwhile_goes_with_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.append(HANG)
        async with World(tmp_path, engine_timeout_seconds=0.2) as world:
            account = world.create(
                "bob", settle_threshold=10, settle_to=0, settlement_engine_url=engine.url
            ).account
            for _ in range(5):
                world.owe(account, 10)
            assert [intent.amount for intent in world.settlement.outbox.open()] == [10]
            assert world.clearing(account) == 40
            await soon(lambda: engine.total_paid() == 50)
            await world.idle()
            assert sorted(amount for _, amount, _ in engine.paid.values()) == [10, 40]
        await engine.stop()

    asyncio.run(run())


def test_bal_04_settle_every(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path, settle_every_seconds=0.4) as world:
            limits = {"settle_threshold": 500, "settle_to": 0}
            account = world.create("bob", settlement_engine_url=engine.url, **limits).account
            world.owe(account, 501)
            await world.idle()
            world.owe(account, 499)
            assert world.clearing(account) == 499
            await soon(lambda: engine.total_paid() == 1_000)
            await world.idle()
            found = [intent.reason for intent in world.settlement.outbox.page(None, "", 10)]
            assert found == [EVERY, THRESHOLD]
            assert world.clearing(account) == 0
        await engine.stop()

    asyncio.run(run())


def test_settlement_by_hand(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url)
            with pytest.raises(ConflictError, match="nothing"):
                world.settlement.settle(entry)
            world.owe(entry.account, 70)
            world.settlement.settle(entry)
            await world.idle()
            assert (engine.total_paid(), world.clearing(entry.account)) == (70, 0)
            intent, _ = world.settlement.settle(entry, 30)
            await world.idle()
            assert (engine.total_paid(), world.clearing(entry.account)) == (100, -30)
            assert intent.reason == MANUAL
            for wrong in (0, -1, 2**64):
                with pytest.raises(UsageError):
                    world.settlement.settle(entry, wrong)
        await engine.stop()

    asyncio.run(run())


def test_what_is_prepaid_is_not_settled(tmp_path: Path) -> None:
    """A peer's own prepayment is not paid back to it."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            account = world.create(
                "bob", settle_threshold=10, settle_to=0, settlement_engine_url=engine.url
            ).account
            world.ledger.transact([(account.id, "settlement", 1_000)])
            world.owe(account, 9)
            assert (world.clearing(account), world.balance(account)) == (9, 1_009)
            world.owe(account, 1)
            await world.idle()
            assert (engine.total_paid(), world.balance(account)) == (10, 1_000)
        await engine.stop()

    asyncio.run(run())
