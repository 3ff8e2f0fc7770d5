"""Nodes and their Ethereum engines, killed at each step of a settlement: at the end both books and
the chain agree to the wei, nothing was paid twice, and nothing was lost.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines.anvil import ADDRESSES
from tests.engines.ethereum_process import EngineProcess
from tests.helpers import until
from tests.interop.node import Node
from tests.settlement.ethereum_nodes import EthereumPair, ethereum_pair
from tests.settlement.gate import BEFORE, BEHIND, Gate

pytestmark = pytest.mark.interop

THRESHOLD = 500
DEBITED, SENT, ACKNOWLEDGED, ON_CHAIN, SEEN, CREDITED = STEPS = (
    "debit written",
    "sent",
    "acknowledged",
    "on chain",
    "seen",
    "credited",
)
# Where what the step is about is held: nothing later has happened when it is reached.
HOLDS = {DEBITED: BEFORE, SENT: BEHIND, SEEN: BEFORE, CREDITED: BEHIND}
Victim = Node | EngineProcess


class Matrix:
    def __init__(self, pair: EthereumPair, seed: int) -> None:
        self.pair = pair
        self.random = random.Random(seed)
        self.fulfilled = 0
        self._steps: list[str] = []

    def round(self) -> None:
        if not self._steps:
            self._steps = self.random.sample(STEPS, len(STEPS))
        step = self._steps.pop()
        gate = {
            DEBITED: self.pair.payer_gate,
            SENT: self.pair.payer_gate,
            SEEN: self.pair.payee_gate,
            CREDITED: self.pair.payee_gate,
        }.get(step)
        wait = self._until_later(step) if gate is None else gate.wait
        if gate is not None:
            gate.hold(HOLDS[step])
        amount = self.random.randrange(THRESHOLD, 3 * THRESHOLD)
        until(lambda: self.pair.send(amount), self.pair.about)
        self.fulfilled += amount
        wait()
        victims = self._victims(step)
        print(step, amount, [type(each).__name__ for each in victims])
        self._crash(victims, gate)

    def _until_later(self, step: str) -> Callable[[], None]:
        look = {ACKNOWLEDGED: self._acknowledged, ON_CHAIN: self._on_chain}[step]
        before = look()
        return lambda: until(lambda: look() > before, self.pair.about)

    def _acknowledged(self) -> int:
        return sum(each["state"] == "sent" for each in self.pair.settlements())

    def _on_chain(self) -> int:
        count: Any = self.pair.chain.call("eth_getTransactionCount", ADDRESSES[0], "latest")
        return int(count, 16)

    def _victims(self, step: str) -> list[Victim]:
        """A node, its engine or both, on the side that is at work."""
        payer: list[Victim] = [self.pair.a, self.pair.engine_a]
        payee: list[Victim] = [self.pair.b, self.pair.engine_b]
        sides = {SEEN: [payee], CREDITED: [payee], ON_CHAIN: [payer, payee]}.get(step, [payer])
        side = self.random.choice(sides)
        return self.random.choice([side[:1], side[1:], side])

    def _crash(self, victims: list[Victim], gate: Gate | None) -> None:
        for victim in victims:
            if isinstance(victim, Node):
                victim.kill()
            else:
                victim.end()
        if gate is not None:
            # What was under way may still arrive, or be lost.
            gate.release(hands_on=self.random.random() < 0.5)
        for victim in victims:
            victim.launch()
        for victim in victims:
            if isinstance(victim, Node):
                victim.wait_ready()
            else:
                until(victim.is_ready)

    def check(self) -> None:
        pair = self.pair
        until(pair.is_quiet, pair.about)
        paid = pair.transactions()
        assert sorted(paid) == sorted(int(each["amount"]) for each in pair.settlements())
        assert pair.a.balances() == {
            "alice": -self.fulfilled,
            "bob": self.fulfilled - sum(paid),
        }
        assert pair.b.balances() == {
            "alice": sum(paid) - self.fulfilled,
            "bob": 0,
            "loop": self.fulfilled,
        }
        assert pair.chain.balance(ADDRESSES[1]) == pair.before + sum(paid)


def test_crash_matrix(tmp_path: Path, soak: bool) -> None:
    seed = random.randrange(2**32) if soak else 1
    print("seed", seed)
    limits = {"settle_threshold": THRESHOLD, "settle_to": 0}
    with ethereum_pair(tmp_path, limits) as pair:
        matrix = Matrix(pair, seed)
        for _ in range(200 if soak else 5):
            matrix.round()
        matrix.check()
