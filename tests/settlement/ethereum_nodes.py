"""Two nodes with Ethereum engines, all as processes, and a chain of anvil's: what whole tests
share. `a` pays over the account `bob` at its node, which is `alice` at `b`'s.
"""

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.engines.anvil import ADDRESSES, Anvil, anvil
from tests.engines.ethereum_process import EngineProcess
from tests.helpers import free_ports, until
from tests.interop.node import Node, account, running
from tests.settlement.gate import Gate

ETH = ("ETH", 18)
_CONDITION = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
_PAID_SECONDS = 60.0
_ANSWERS = {13: True, 14: False}


class EthereumPair:
    """`more`: settings of `bob` at a, of `alice` at b."""

    def __init__(
        self, directory: Path, chain: Anvil, more_a: dict[str, Any], more_b: dict[str, Any]
    ) -> None:
        self.chain = chain
        self.before = chain.balance(ADDRESSES[1])
        """What b's engine had."""
        self._threshold: int = more_a["settle_threshold"]
        http_a, http_b, *ports = free_ports(8)
        calls = [f"http://127.0.0.1:{port}" for port in ports[:2]]
        # Between a and its engine, and between b's engine and b.
        self.payer_gate = Gate(ports[4], f"http://127.0.0.1:{ports[2]}")
        self.payee_gate = Gate(ports[5], calls[1])
        self.engine_a, self.engine_b = (
            EngineProcess(directory / f"engine_{key}", ports[2 + key], url, chain.url, key, 0)
            for key, url in enumerate((calls[0], self.payee_gate.url))
        )
        self.a = Node(
            directory / "a",
            "example.alice",
            [
                account("alice", ETH),
                self._peer("bob", http_b, "alice", self.payer_gate.url, more_a),
            ],
            port=http_a,
            listen={"settlement": f"127.0.0.1:{ports[0]}"},
        )
        self.b = Node(
            directory / "b",
            "example.bob",
            [
                account("bob", ETH),
                account("loop", ETH, endpoint="loopback"),
                self._peer("alice", http_a, "bob", self.engine_b.url, more_b),
            ],
            port=http_b,
            listen={"settlement": f"127.0.0.1:{ports[1]}"},
            # Who has the seed of another node takes its payments for its own.
            secret_seed="16" * 32,
        )

    @staticmethod
    def _peer(
        username: str, port: int, name_there: str, engine_url: str, more: dict[str, Any]
    ) -> dict[str, Any]:
        return account(
            username,
            ETH,
            ilp_address=f"example.{username}",
            routing_relation="Peer",
            ilp_over_http_url=f"http://127.0.0.1:{port}/accounts/{name_there}/ilp",
            ilp_over_http_outgoing_token=f"{name_there}_in",
            settlement_engine_url=engine_url,
            **more,
        )

    # --- Payments -------------------------------------------------------------------------------

    def pay(self, amount: int) -> dict[str, Any]:
        """A payment of alice to bob, by STREAM."""
        receiver = f"http://127.0.0.1:{self.b.port}/accounts/bob/spsp"
        order = {"receiver": receiver, "source_amount": amount}
        paid: dict[str, Any] = self.a.call(
            "POST", "/accounts/alice/payments", order, "alice_in", _PAID_SECONDS
        )
        return paid

    def send(self, amount: int) -> bool:
        """One packet of alice's to the loop at b; whether it was fulfilled."""
        moment = time.gmtime(time.time() + 20)
        expires_at = time.strftime("%Y%m%d%H%M%S000", moment).encode()
        destination = b"example.bob.loop"
        content = amount.to_bytes(8, "big") + expires_at + bytes.fromhex(_CONDITION)
        content += bytes([len(destination)]) + destination + b"\0"
        request = urllib.request.Request(
            self.a.ilp_url("alice"), data=bytes([12, len(content)]) + content
        )
        request.add_header("Authorization", "Bearer alice_in")
        request.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=60) as response:
            return _ANSWERS[response.read()[0]]

    # --- Books ----------------------------------------------------------------------------------

    def transactions(self) -> list[int]:
        """What a's engine has paid to b's, on the chain."""
        found = self.chain.payments(ADDRESSES[0])
        assert {each["to"] for each in found} <= {ADDRESSES[1]}
        return [int(each["value"], 16) for each in found]

    def settlements(self) -> list[dict[str, Any]]:
        """Of a's, the newest first."""
        found: list[dict[str, Any]] = self.a.get("/settlements?limit=1000")
        return found

    def is_quiet(self) -> bool:
        """Nothing is due, and every settlement of a has been taken, is on the chain, and was
        credited by b."""
        if any(each["state"] != "sent" for each in self.settlements()):
            return False
        owed = self.a.balance("bob")
        if owed >= self._threshold or owed != -self.b.balance("alice"):
            return False
        return sum(self.transactions()) == sum(int(each["amount"]) for each in self.settlements())

    def about(self) -> str:
        shown = [self.a.balances(), self.b.balances(), self.settlements(), self.transactions()]
        return f"{shown}\n{self.engine_a.log()}\n{self.engine_b.log()}"


@contextlib.contextmanager
def ethereum_pair(
    directory: Path, more_a: dict[str, Any], more_b: dict[str, Any] | None = None
) -> Iterator[EthereumPair]:
    """Started, the engines introduced to each other."""
    with anvil(directory) as chain:
        pair = EthereumPair(directory, chain, more_a, more_b or {})
        engines = (pair.engine_a, pair.engine_b)
        try:
            for engine in engines:
                engine.launch()
            with pair.payer_gate, pair.payee_gate, running(pair.a, pair.b):
                for engine in engines:
                    until(engine.is_ready)
                yield pair
        finally:
            for engine in engines:
                engine.end()
