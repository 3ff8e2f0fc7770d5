"""Engines that move, forget and lock us out, and clocks that jump: nothing is paid twice, and
nothing is forgotten."""

import asyncio
import contextlib
import socket
import uuid
from pathlib import Path

import pytest

from fastilp.control.engine_client import CALLS_MAX, EngineClient, NotSentError
from fastilp.control.quantities import Quantity
from fastilp.errors import ConflictError
from fastilp.storage.outbox import CREATED, GONE, PENDING, REFUSED, SENT, UNWANTED
from tests.settlement.rfc38_engine import HANG, PAY_AND_DROP, Rfc38Engine
from tests.settlement.world import World, soon

LIMITS = {"settle_threshold": 10, "settle_to": 0}


def states(world: World, account_id: bytes) -> dict[str, str]:
    """What engines know of an account, by their URLs."""
    records = world.settlement.engine_accounts._records(account_id)
    return {record.engine_url: record.state for record in records}


def test_an_engine_with_a_new_url_keeps_its_accounts(tmp_path: Path) -> None:
    """The deletion at the old URL comes behind the creation at the new one."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        moved = engine.url.replace("127.0.0.1", "localhost")
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            told = world.settlement.engine_accounts
            await soon(lambda: not len(told))
            engine.delete_answers.extend([503] * 10_000)
            told.set(account.id, "bob", moved)
            await soon(lambda: states(world, account.id)[moved] == CREATED)
            engine.delete_answers.clear()
            await soon(lambda: not len(told))
            assert "DELETE" in [call.method for call in engine.calls]
            assert engine.accounts == {str(uuid.UUID(bytes=account.id))}
            assert states(world, account.id) == {engine.url: GONE, moved: CREATED}
        await engine.stop()

    asyncio.run(run())


def test_an_engine_that_may_have_forgotten_that_it_paid(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.append(PAY_AND_DROP)
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            outbox._first_interval_ms = 100
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            world.owe(account, 12)
            await soon(lambda: engine.paid)
            # It has lost its disk; its ledger has not.
            engine.paid.clear()
            engine.accounts.clear()
            await soon(lambda: outbox.open()[0].state == REFUSED)
            assert not engine.paid and world.clearing(account) == 0
            # For the settlements after it, the account is there again.
            assert engine.accounts == {str(uuid.UUID(bytes=account.id))}
            [intent] = outbox.open()
            assert intent.may_be_paid and "look at the ledger" in str(intent.error)
            assert world.alerts.active() == 1
        await engine.stop()

    asyncio.run(run())


def test_what_may_be_paid_goes_to_another_url_by_force_alone(tmp_path: Path) -> None:
    async def run() -> None:
        engine, other = Rfc38Engine(knows_all=True), Rfc38Engine(knows_all=True)
        await engine.start()
        await other.start()
        engine.answers.extend([PAY_AND_DROP, 400, 400])
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            entry = world.create("bob", settlement_engine_url=engine.url)
            name = world.settlement.settle(entry, 10)[0].settlement_id
            await soon(lambda: outbox.find(name).state == REFUSED)
            with pytest.raises(ConflictError, match="pay once more"):
                outbox.retry(name, other.url)
            assert outbox.find(name).state == REFUSED and not other.calls
            # Its own URL is no other.
            outbox.retry(name, engine.url)
            await soon(lambda: outbox.find(name).state == REFUSED)
            # As if the engine had moved with all that it knows.
            other.paid.update(engine.paid)
            outbox.retry(name, other.url, force=True)
            await world.idle()
            assert outbox.find(name).state == SENT and other.paid == engine.paid
        await engine.stop()
        await other.stop()

    asyncio.run(run())


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_wrong_token_is_no_refusal(tmp_path: Path, status: int) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.extend([status] * 10_000)
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            world.owe(account, 12)
            await soon(lambda: outbox.open()[0].tries >= 4)
            assert outbox.open()[0].state == PENDING
            assert world.alerts.active() == 1
            engine.answers.clear()
            await world.idle()
            assert engine.total_paid() == 12 and world.alerts.active() == 0
            [intent] = outbox.page(None, "", 10)
            assert (intent.state, intent.may_be_paid) == (SENT, False)
        await engine.stop()

    asyncio.run(run())


def test_alerts_come_again_with_the_next_run(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine(knows_all=True)
        await engine.start()
        engine.answers.append(400)
        async with World(tmp_path) as world:
            refused = world.create("bob", settlement_engine_url=engine.url)
            away = world.create("carol", settlement_engine_url="http://127.0.0.1:1")
            world.settlement.settle(refused, 10)
            name = world.settlement.settle(away, 10)[0].settlement_id
            outbox = world.settlement.outbox
            await soon(lambda: world.alerts.active() == 2)
            # The next run is not to find it out by trying.
            outbox._first_interval_ms = 3_600_000
            tries = outbox.find(name).tries
            await soon(lambda: outbox.find(name).tries > tries)
        async with World(tmp_path) as world:
            alerts = world.alerts.list(active_only=True)
            assert {alert["account"] for alert in alerts} == {"bob", "carol"}
            assert world.settlement.outbox.tries == 0
        await engine.stop()

    asyncio.run(run())


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.extend([503] * 10_000)
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            outbox._now_ms = lambda: World.now_ms() + 10 * 24 * 3_600_000
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            world.owe(account, 12)
            await soon(lambda: outbox.open()[0].tries >= 1)
        engine.answers.clear()
        async with World(tmp_path) as world:
            await world.idle()
            assert engine.total_paid() == 12
        await engine.stop()

    asyncio.run(run())


def test_an_account_that_goes_while_it_is_created_again(tmp_path: Path) -> None:
    """The engine has forgotten an account that is closed before its last settlement is paid: what
    is created for that alone is deleted behind it."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url, **LIMITS)
            told = world.settlement.engine_accounts
            await soon(lambda: not len(told))
            engine.create_answers.extend([503] * 10_000)
            engine.accounts.clear()
            world.owe(entry.account, 12)
            await soon(lambda: world.settlement.outbox.open()[0].tries >= 2)
            await world.accounts.close("bob")
            engine.create_answers.clear()
            await world.idle()
            await soon(lambda: not len(told))
            assert engine.total_paid() == 12 and not engine.accounts
            assert states(world, entry.account.id) == {engine.url: GONE}
        await engine.stop()

    asyncio.run(run())


def test_an_account_that_was_gone_is_deleted_again(tmp_path: Path) -> None:
    """A settlement that was refused is tried again when the account has been deleted there."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.append(400)
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url, **LIMITS)
            outbox, told = world.settlement.outbox, world.settlement.engine_accounts
            world.owe(entry.account, 12)
            await soon(lambda: outbox.open()[0].state == REFUSED)
            await world.accounts.close("bob")
            await soon(lambda: states(world, entry.account.id) == {engine.url: GONE})
            outbox.retry(outbox.open()[0].settlement_id)
            await world.idle()
            await soon(lambda: not len(told))
            assert engine.total_paid() == 12 and not engine.accounts
            assert states(world, entry.account.id) == {engine.url: GONE}
        await engine.stop()

    asyncio.run(run())


def test_whoever_waits_for_a_turn_has_not_asked(tmp_path: Path) -> None:
    """An engine that hangs keeps some calls; the next one is not in doubt, in the next run too."""

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.extend([HANG] * CALLS_MAX)
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            entries = [
                world.create(f"account{number}", settlement_engine_url=engine.url)
                for number in range(CALLS_MAX + 1)
            ]
            await soon(lambda: not len(world.settlement.engine_accounts))
            for entry in entries:
                world.settlement.settle(entry, 10)
            await soon(lambda: outbox.tries == CALLS_MAX + 1)
            await soon(lambda: len(engine.settlement_calls()) == CALLS_MAX)
            assert [intent.may_be_paid for intent in outbox.open()].count(False) == 1
        assert len(engine.settlement_calls()) == CALLS_MAX
        async with World(tmp_path) as world:
            await world.idle()
            assert engine.total_paid() == 10 * (CALLS_MAX + 1)
            found = list(world.settlement.outbox.page(None, "", 100))
            assert [intent.may_be_paid for intent in found].count(False) == 1
        await engine.stop()

    asyncio.run(run())


def test_a_connection_that_never_comes_about(tmp_path: Path) -> None:
    """Nothing has left: it is not paid for sure."""

    async def run() -> None:
        client = EngineClient(timeout_seconds=0.3)
        with contextlib.ExitStack() as stack:
            # Whoever comes when the queue is full is not answered at all.
            server = stack.enter_context(socket.socket())
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            for _ in range(8):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(server.getsockname())
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            with pytest.raises(NotSentError):
                await client.settle(url, bytes(16), Quantity(1, 0), "key")
        with pytest.raises(NotSentError):
            await client.settle("http://[no-host", bytes(16), Quantity(1, 0), "key")
        await client.close()

    asyncio.run(run())


def test_an_asset_that_loses_its_engine(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engines = {"ABC": engine.url}
        async with World(tmp_path, engines=engines) as world:
            bob = world.create("bob").account
            world.create("carol", settlement_engine_url=engine.url)
            told = world.settlement.engine_accounts
            await soon(lambda: len(engine.accounts) == 2 and not len(told))
            world.load(None)
            await soon(lambda: states(world, bob.id) == {engine.url: GONE})
            # Carol has it of her own.
            assert len(engine.accounts) == 1
            world.load(engines)
            await soon(lambda: len(engine.accounts) == 2 and not len(told))
        # The settings are others in the next run.
        async with World(tmp_path) as world:
            await soon(lambda: states(world, bob.id) == {engine.url: GONE})
            assert engine.accounts == {str(uuid.UUID(bytes=world.entry("carol").account.id))}
        await engine.stop()

    asyncio.run(run())


def test_a_node_that_ends_as_it_closes_an_account(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=engine.url).account
            await soon(lambda: engine.accounts and not len(world.settlement.engine_accounts))
            # All that happens behind the transaction is lost.
            world.accounts.on_closed.remove(world.settlement.account_closed)
            await world.accounts.close("bob")
            assert states(world, account.id) == {engine.url: UNWANTED}
        async with World(tmp_path) as world:
            await soon(lambda: not engine.accounts)
            await soon(lambda: states(world, account.id) == {engine.url: GONE})
        await engine.stop()

    asyncio.run(run())
