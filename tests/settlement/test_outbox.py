"""The outbox against engines that fail in every way: paid once, and never given back unasked."""

import asyncio
from pathlib import Path

import pytest

from fastilp.control.outbox import NoSettlementError
from fastilp.errors import ConflictError, UsageError
from fastilp.storage.outbox import PAID, PENDING, REFUNDED, REFUSED, SENT
from tests.settlement.rfc38_engine import DROP, HANG, PAY_AND_DROP, Rfc38Engine
from tests.settlement.world import World, soon

LIMITS = {"settle_threshold": 10, "settle_to": 0}


@pytest.mark.parametrize(
    "answers",
    [
        [500],
        [503, 502, 500, 429, 408],
        [302],
        [DROP, DROP],
        [PAY_AND_DROP],
        [PAY_AND_DROP, 500, DROP, PAY_AND_DROP],
        [HANG],
        [200],
    ],
)
def test_set_04_one_key_for_all_tries(tmp_path: Path, answers: list[int]) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.extend(answers)
        async with World(tmp_path, engine_timeout_seconds=0.3) as world:
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            world.owe(account, 12)
            await world.idle()
            assert len({call.key for call in engine.settlement_calls()}) == 1
            assert len({call.body for call in engine.settlement_calls()}) == 1
            assert engine.total_paid() == (12 if 200 not in answers else 0)
            assert world.clearing(account) == 0
        await engine.stop()

    asyncio.run(run())


def test_an_engine_that_starts_later(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        await engine.stop()
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            world.owe(account, 10)
            outbox = world.settlement.outbox
            await soon(lambda: outbox.open()[0].tries >= 4)
            # It says what it waits for.
            [alert] = world.alerts.list(active_only=True)
            assert (alert["kind"], alert["account"]) == ("settlement_failing", "bob")
            assert outbox.open()[0].state == PENDING and world.clearing(account) == 0
            await engine.start()
            await world.idle()
            assert engine.total_paid() == 10 and world.alerts.active() == 0
        await engine.stop()

    asyncio.run(run())


def test_the_next_run_goes_on_with_the_same_key(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.extend([PAY_AND_DROP, HANG])
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            world.owe(account, 10)
            await soon(lambda: len(engine.settlement_calls()) == 2)
        async with World(tmp_path) as world:
            await world.idle()
            assert world.clearing(world.entry("bob").account) == 0
            [found] = world.settlement.outbox.page(None, "", 10)
            assert (found.state, found.amount) == (SENT, 10)
        assert len({call.key for call in engine.settlement_calls()}) == 1
        assert len(engine.settlement_calls()) >= 3 and engine.total_paid() == 10
        async with World(tmp_path) as world:
            assert not world.settlement.outbox.open()
        await engine.stop()

    asyncio.run(run())


def test_a_refusal_is_for_humans(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.extend([400, 422])
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            world.owe(account, 10)
            await soon(lambda: outbox.open()[0].state == REFUSED)
            # Not given back, not tried again, and no other begins.
            assert world.clearing(account) == 0
            world.owe(account, 30)
            [intent] = outbox.open()
            assert intent.error is not None and intent.error.startswith("HTTP 400")
            assert world.alerts.active() == 1
            outbox.retry(intent.settlement_id)
            await soon(lambda: outbox.open()[0].tries == 2)
            await soon(lambda: outbox.open()[0].state == REFUSED)
        # It waits through a restart, too.
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            account = world.entry("bob").account
            assert [each.state for each in outbox.open()] == [REFUSED]
            assert len(engine.settlement_calls()) == 2
            outbox.resolve(intent.settlement_id, REFUNDED)
            # What was given back is owed again, so the next one has all of it.
            await world.idle()
            assert engine.total_paid() == 40 and world.clearing(account) == 0
            assert world.counters(account)["prepaid_posted"] == 0
            assert outbox.find(intent.settlement_id).state == REFUNDED
            with pytest.raises(ConflictError, match="already"):
                outbox.resolve(intent.settlement_id, PAID)
        await engine.stop()

    asyncio.run(run())


def test_what_may_have_been_paid_is_not_refunded(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.extend([503] * 50)
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            entry = world.create("bob", settlement_engine_url=engine.url)
            first, _ = world.settlement.settle(entry, 10)
            second, _ = world.settlement.settle(entry, 20)
            # The second one waits for the first.
            await soon(lambda: outbox.find(first.settlement_id).tries >= 6)
            assert outbox.find(second.settlement_id).tries == 0
            await soon(lambda: _refused(world, first.settlement_id))
            assert world.clearing(entry.account) == -30
            outbox.resolve(second.settlement_id, REFUNDED)
            assert world.clearing(entry.account) == -10
            await soon(lambda: _resolved(world, first.settlement_id))
            assert world.clearing(entry.account) == -10
            found = outbox.find(first.settlement_id)
            assert (found.state, found.external_id) == (PAID, "0xabc")
            assert not outbox.open()
        await engine.stop()

    asyncio.run(run())


@pytest.mark.parametrize("answers", [[503, 400], [PAY_AND_DROP, 409], [HANG, 404, 404]])
def test_a_refusal_after_a_try_without_answer(tmp_path: Path, answers: list[int]) -> None:
    """The earlier try may have been paid, whatever the engine says of the later one."""

    async def run() -> None:
        engine = Rfc38Engine(knows_all=True)
        await engine.start()
        engine.answers.extend(answers)
        async with World(tmp_path, engine_timeout_seconds=0.3) as world:
            outbox = world.settlement.outbox
            entry = world.create("bob", settlement_engine_url=engine.url)
            intent, _ = world.settlement.settle(entry, 10)
            await soon(lambda: outbox.find(intent.settlement_id).state == REFUSED)
            assert outbox.find(intent.settlement_id).may_be_paid
            with pytest.raises(ConflictError, match="may have paid"):
                outbox.resolve(intent.settlement_id, REFUNDED)
            assert world.clearing(entry.account) == -10
        async with World(tmp_path) as world:
            with pytest.raises(ConflictError, match="may have paid"):
                world.settlement.outbox.resolve(intent.settlement_id, REFUNDED)
            world.settlement.outbox.resolve(intent.settlement_id, REFUNDED, force=True)
            assert world.clearing(world.entry("bob").account) == 0
        await engine.stop()

    asyncio.run(run())


def test_a_run_that_ends_during_the_first_try(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine(knows_all=True)
        await engine.start()
        engine.answers.extend([HANG, 400])
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url)
            intent, _ = world.settlement.settle(entry, 10)
            await soon(engine.settlement_calls)
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            await soon(lambda: outbox.find(intent.settlement_id).state == REFUSED)
            with pytest.raises(ConflictError, match="may have paid"):
                outbox.resolve(intent.settlement_id, REFUNDED)
        await engine.stop()

    asyncio.run(run())


def test_a_key_that_the_engine_may_have_forgotten(tmp_path: Path) -> None:
    """An engine need not know a key for more than a day: then it would pay once more."""

    async def run() -> None:
        engine = Rfc38Engine(knows_all=True)
        await engine.start()
        engine.answers.extend([PAY_AND_DROP, HANG])
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url)
            intent, _ = world.settlement.settle(entry, 10)
            await soon(lambda: len(engine.settlement_calls()) == 2)
        later = World.now_ms() + 25 * 3_600_000
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            outbox._now_ms = lambda: later
            await soon(lambda: outbox.find(intent.settlement_id).state == REFUSED)
            assert len(engine.settlement_calls()) == 2 and world.alerts.active() == 1
            with pytest.raises(ConflictError, match="may have paid"):
                outbox.resolve(intent.settlement_id, REFUNDED)
            # A human knows that this engine forgets nothing.
            outbox.retry(intent.settlement_id)
            await world.idle()
            assert engine.total_paid() == 10
        await engine.stop()

    asyncio.run(run())


def test_answers_of_a_proxy_do_not_make_the_engine_remember(tmp_path: Path) -> None:
    """What answers 502 for a day may stand before an engine that is away, and forgets the key."""

    async def run() -> None:
        engine = Rfc38Engine(knows_all=True)
        await engine.start()
        engine.answers.extend([PAY_AND_DROP, *[502] * 10_000])
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            entry = world.create("bob", settlement_engine_url=engine.url)
            intent, _ = world.settlement.settle(entry, 10)
            await soon(lambda: len(engine.settlement_calls()) > 2)
            outbox._now_ms = lambda: World.now_ms() + 13 * 3_600_000
            count = len(engine.settlement_calls())
            await soon(lambda: len(engine.settlement_calls()) > count + 2)
            assert engine.total_paid() == 10
            engine.paid.clear()
            outbox._now_ms = lambda: World.now_ms() + 26 * 3_600_000
            await soon(lambda: outbox.find(intent.settlement_id).state == REFUSED)
            assert not engine.paid and outbox.find(intent.settlement_id).may_be_paid
        await engine.stop()

    asyncio.run(run())


def test_what_never_reached_its_engine_is_tried_for_longer(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine(knows_all=True)
        await engine.start()
        await engine.stop()
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            entry = world.create("bob", settlement_engine_url=engine.url)
            intent, _ = world.settlement.settle(entry, 10)
            await soon(lambda: outbox.find(intent.settlement_id).tries >= 2)
            outbox._now_ms = lambda: World.now_ms() + 25 * 3_600_000
            await soon(lambda: _again(world, intent.settlement_id))
            await soon(lambda: outbox.find(intent.settlement_id).tries >= 4)
            assert not outbox.find(intent.settlement_id).may_be_paid
            await engine.start()
            await soon(lambda: _again(world, intent.settlement_id))
            await world.idle()
            assert engine.total_paid() == 10
        await engine.stop()

    asyncio.run(run())


def _again(world: World, settlement_id: str) -> bool:
    """Not while the engine is asked."""
    try:
        world.settlement.outbox.retry(settlement_id)
    except ConflictError as error:
        return "already" in str(error)
    return True


def test_an_engine_that_answers_twice(tmp_path: Path) -> None:
    """Its second answer is not one to the next call."""

    async def run() -> None:
        keys: list[bytes] = []
        connections: list[asyncio.StreamWriter] = []
        answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                await reader.readexactly(int(fields[b"Content-Length"]))
                if b"/settlements " in head:
                    keys.append(fields[b"Idempotency-Key"])
                writer.write(answer)
                await asyncio.sleep(0.02)
                writer.write(answer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=url)
            for amount in (10, 20):
                world.settlement.settle(entry, amount)
                await world.idle()
                await asyncio.sleep(0.05)
            sent = {each.settlement_id for each in world.settlement.outbox.page(None, "", 10)}
            assert {key.decode() for key in keys} == sent and len(sent) == 2
        server.close()
        for writer in connections:
            writer.close()

    asyncio.run(run())


def _refused(world: World, settlement_id: str) -> bool:
    """By force alone; and not while the engine is asked."""
    try:
        world.settlement.outbox.resolve(settlement_id, REFUNDED)
    except ConflictError as error:
        return "may have paid" in str(error)
    raise AssertionError("refunded")


def _resolved(world: World, settlement_id: str) -> bool:
    try:
        world.settlement.outbox.resolve(settlement_id, PAID, "0xabc")
    except ConflictError:
        return False
    return True


def test_an_engine_that_has_forgotten_the_account_is_told_again(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            account = world.create("bob", settlement_engine_url=engine.url, **LIMITS).account
            await soon(lambda: engine.accounts)
            await soon(lambda: not len(world.settlement.engine_accounts))
            engine.accounts.clear()
            world.owe(account, 10)
            await world.idle()
            assert engine.total_paid() == 10
        await engine.stop()

    asyncio.run(run())


def test_an_account_is_created_and_deleted_on_its_engine(tmp_path: Path) -> None:
    async def run() -> None:
        engine, other = Rfc38Engine(), Rfc38Engine()
        await engine.start()
        await other.start()
        engine.create_answers.extend([500, 503])
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url, **LIMITS)
            await soon(lambda: engine.accounts)
            # Another engine from now on.
            given = entry.details
            new = type(given)(
                **{name: getattr(given, name) for name in given.__dataclass_fields__}
                | {"settlement_engine_url": other.url}
            )
            world.accounts.update("bob", new)
            world.settlement.account_opened(entry.account, new)
            await soon(lambda: other.accounts and not engine.accounts)
            other.answers.append(503)
            world.owe(entry.account, 10)
            await world.accounts.close("bob")
            # First it is paid.
            await world.idle()
            await soon(lambda: not other.accounts)
            assert other.total_paid() == 10
            paths = [(call.method, call.path.count("/")) for call in other.calls]
            # It is told of the account once more, in case it is the first one at another address.
            order = [("POST", 1), ("POST", 3), ("POST", 3), ("DELETE", 2)]
            assert list(dict.fromkeys(paths)) == list(dict.fromkeys(order))
            assert paths.count(("POST", 3)) == 2 and paths[-1] == order[-1]
        async with World(tmp_path) as world:
            assert not len(world.settlement.engine_accounts)
        await engine.stop()
        await other.stop()

    asyncio.run(run())


def test_a_settlement_stays_with_its_engine(tmp_path: Path) -> None:
    """A key means nothing to another engine, which would pay once more."""

    async def run() -> None:
        engine, other = Rfc38Engine(), Rfc38Engine()
        await engine.start()
        await other.start()
        engine.answers.extend([PAY_AND_DROP, 503, 503])
        async with World(tmp_path) as world:
            entry = world.create("bob", settlement_engine_url=engine.url, **LIMITS)
            world.owe(entry.account, 10)
            await soon(engine.settlement_calls)
            given = entry.details
            new = type(given)(
                **{name: getattr(given, name) for name in given.__dataclass_fields__}
                | {"settlement_engine_url": other.url}
            )
            world.accounts.update("bob", new)
            world.settlement.account_opened(entry.account, new)
            await world.idle()
            assert (engine.total_paid(), other.total_paid()) == (10, 0)
        await engine.stop()
        await other.stop()

    asyncio.run(run())


def test_lists(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            entries = [
                world.create(name, settlement_engine_url=engine.url) for name in ("bob", "carol")
            ]
            for number in range(1, 11):
                world.settlement.settle(entries[number % 2], number)
            await world.idle()
            amounts = [each.amount for each in outbox.page(None, "", 100)]
            assert amounts == list(range(10, 0, -1))
            page = list(outbox.page(entries[0].account.id, "", 2))
            assert [each.amount for each in page] == [10, 8]
            page = list(outbox.page(entries[0].account.id, page[-1].settlement_id, 2))
            assert [each.amount for each in page] == [6, 4]
            with pytest.raises(NoSettlementError):
                outbox.find("nonsense")
            with pytest.raises(NoSettlementError):
                outbox.find("0193b5a0-7c1e-7000-8000-000000000001")
            with pytest.raises(UsageError):
                list(outbox.page(None, "nonsense", 2))
            assert outbox.sweep() == 0
        await engine.stop()

    asyncio.run(run())


def test_what_is_too_old_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A page full of those that stay does not hide the next one.
    monkeypatch.setattr("fastilp.control.outbox._SWEPT_MAX", 1)

    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        engine.answers.append(400)
        async with World(tmp_path) as world:
            outbox = world.settlement.outbox
            refused = world.create("bob", settlement_engine_url=engine.url)
            world.settlement.settle(refused, 1)
            await soon(lambda: outbox.open()[0].state == REFUSED)
            world.settlement.settle(refused, 2)
            await soon(lambda: engine.total_paid() == 2)
            await soon(lambda: len(outbox.open()) == 1)
            outbox._kept_ms = -1_000
            assert [outbox.sweep() for _ in range(3)] == [0, 1, 0]
            # One that waits for a human stays.
            assert [each.amount for each in outbox.page(None, "", 10)] == [1]
        await engine.stop()

    asyncio.run(run())
