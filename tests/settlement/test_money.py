"""Money under any interleaving: fulfilled packets, settlements, refusals, refunds, credits and
replays, with engines that fail and runs that end anywhere. What the engine has paid and what the
books say agree at the end, to the unit.
"""

import asyncio
import json
import random
import uuid
from fractions import Fraction
from pathlib import Path

import pytest

from fastilp.control.outbox import Outbox
from fastilp.errors import ConflictError
from fastilp.storage.outbox import PAID, REFUNDED, REFUSED
from tests.settlement.rfc38_engine import DROP, PAY_AND_DROP, Rfc38Engine
from tests.settlement.world import World, soon

RUNS = 5
STEPS = 60
ANSWERS = (201, 201, 500, 503, DROP, PAY_AND_DROP, 400)
ACCOUNTS = {"bob": 9, "carol": 0, "dora": 18}


class Story:
    """What has happened so far, as an honest bookkeeper would have it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.earned = dict.fromkeys(ACCOUNTS, 0)
        self.credited = dict.fromkeys(ACCOUNTS, Fraction(0))
        self.written_as_paid = dict.fromkeys(ACCOUNTS, 0)
        self.sent: list[tuple[str, str, bytes]] = []

    async def step(self, world: World, engine: Rfc38Engine) -> None:
        name = self.random.choice(list(ACCOUNTS))
        await self.random.choice((self._earn, self._earn, self._credit, self._replay, self._human))(
            world, engine, name
        )
        if self.random.random() < 0.5:
            engine.answers.append(self.random.choice(ANSWERS))
        await asyncio.sleep(self.random.choice((0, 0, 0.003)))

    async def _earn(self, world: World, engine: Rfc38Engine, name: str) -> None:
        amount = self.random.randrange(1, 200)
        self.earned[name] += amount
        world.owe(world.entry(name).account, amount)

    async def _credit(self, world: World, engine: Rfc38Engine, name: str) -> None:
        amount, scale = self.random.randrange(10**4), self.random.randrange(22)
        body = json.dumps({"amount": str(amount), "scale": scale}).encode()
        self.credited[name] += Fraction(amount, 10**scale)
        key = f"credit {len(self.sent)}"
        self.sent.append((name, key, body))
        await asyncio.gather(*(self._send(world, name, key, body) for _ in range(3)))

    async def _replay(self, world: World, engine: Rfc38Engine, name: str) -> None:
        if self.sent:
            await self._send(world, *self.random.choice(self.sent))

    async def _send(self, world: World, name: str, key: str, body: bytes) -> None:
        identifier = uuid.UUID(bytes=world.entry(name).account.id)
        path = f"/accounts/{identifier}/settlements"
        reply = await world.calls.answer("POST", path, {"idempotency-key": key}, body)
        assert reply.status == 201 and json.loads(reply.body) == json.loads(body)

    async def _human(self, world: World, engine: Rfc38Engine, name: str) -> None:
        for intent in world.settlement.outbox.open():
            if intent.state == REFUSED:
                self._decide(world.settlement.outbox, intent.settlement_id, engine)

    def _decide(self, outbox: Outbox, settlement_id: str, engine: Rfc38Engine) -> None:
        """What the ledger shows decides; this engine refuses only what it has not paid before."""
        intent = outbox.find(settlement_id)
        if settlement_id in engine.paid:
            outbox.resolve(settlement_id, PAID)
            return
        choice = self.random.choice(("retry", REFUNDED, PAID))
        if choice == "retry":
            outbox.retry(settlement_id)
            return
        outbox.resolve(settlement_id, choice, force=True)
        if choice == PAID:
            # By hand, on the ledger.
            self.written_as_paid[intent.username] += intent.amount


def check(world: World, story: Story, engine: Rfc38Engine) -> None:
    for name, scale in ACCOUNTS.items():
        account = world.entry(name).account
        leftover = world.settlement.credits.leftover(account)
        paid = engine.total_paid(str(uuid.UUID(bytes=account.id))) + story.written_as_paid[name]
        units = world.balance(account) - story.earned[name] + paid
        kept = Fraction(leftover.amount, 10**leftover.scale)
        assert Fraction(units, 10**scale) + kept == story.credited[name]
        assert kept < Fraction(1, 10**scale)
    world.check()


@pytest.mark.parametrize("seed", range(6))
def test_money_is_conserved(tmp_path: Path, seed: int) -> None:
    async def run() -> None:
        engine = Rfc38Engine()
        await engine.start()
        story = Story(seed)
        for number in range(RUNS):
            async with World(tmp_path) as world:
                if not number:
                    limits = {"settle_threshold": 100, "settle_to": 10}
                    for name, scale in ACCOUNTS.items():
                        world.create(
                            name,
                            asset_code=name.upper(),
                            asset_scale=scale,
                            settlement_engine_url=engine.url,
                            **limits,
                        )
                for _ in range(STEPS):
                    await story.step(world, engine)
                # The run ends in the middle of whatever is under way.
        engine.answers.clear()
        async with World(tmp_path) as world:
            await settled(world, story, engine)
            check(world, story, engine)
        await engine.stop()

    asyncio.run(run())


async def settled(world: World, story: Story, engine: Rfc38Engine) -> None:
    """Nothing waits any more, neither for the engine nor for a human."""
    outbox = world.settlement.outbox

    def all_is_over() -> bool:
        for intent in outbox.open():
            if intent.state == REFUSED:
                try:
                    story._decide(outbox, intent.settlement_id, engine)
                except ConflictError:
                    return False
        return not outbox.open()

    await soon(all_is_over)
