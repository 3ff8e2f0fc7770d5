"""Engines on npm's ilp-settlement-core, with their books in Debian's Redis, settle between two
nodes, both ways; the nodes are killed and stopped in between, and nothing is credited twice.
"""

import contextlib
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.helpers import free_port, free_ports, until
from tests.interop import npm
from tests.interop.node import Node, account, running
from tests.interop.processes import SCRIPTS, Process, stopping

pytestmark = pytest.mark.interop

PACKAGES = ["ilp-settlement-core@0.1.1", "bignumber.js@9.1.2"]
ASSET = ("BTC", 9)
# One unit of the account is a tenth of what the ledger can pay: leftovers arise all the time.
THRESHOLD = 1_000
ROUNDS = 8
CONDITION = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"


def engine(task: dict[str, object]) -> Process:
    modules = npm.ensure(PACKAGES)
    command = [npm.node(version16=True), str(SCRIPTS / "settlement_core_engine.js")]
    return Process([*command, json.dumps(task)], {"NODE_PATH": str(modules)})


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server on the path (`apt-get install redis-server`)")
    port = free_port()
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    process = Process([program, *where, "--save", "", "--appendonly", "no"])
    with stopping(process):
        process.wait_for("eady to accept")
        yield port


class Pair:
    """Nodes a and b, peers of each other, with an engine each."""

    def __init__(self, directory: Path, redis_port: int) -> None:
        self.ledger = directory / "ledger"
        self.ledger.write_text("")
        calls_a, calls_b, port_a, port_b = free_ports(4)
        limits = {"settle_threshold": THRESHOLD, "settle_to": 0, "routing_relation": "Peer"}
        self.a = Node(
            directory / "a",
            "test.a",
            [
                account("payer", ASSET),
                account(
                    "node_b",
                    ASSET,
                    ilp_address="test.b",
                    settlement_engine_url=f"http://127.0.0.1:{port_a}",
                    **limits,
                ),
            ],
            listen={"settlement": f"127.0.0.1:{calls_a}"},
        )
        self.b = Node(
            directory / "b",
            "test.b",
            [
                account("loop", ASSET, endpoint="loopback"),
                account(
                    "node_a",
                    ASSET,
                    ilp_address="test.a",
                    settlement_engine_url=f"http://127.0.0.1:{port_b}",
                    ilp_over_btp_url=f"btp+ws://127.0.0.1:{self.a.port}/accounts/node_b/ilp/btp",
                    ilp_over_btp_outgoing_token="node_b_in",
                    **limits,
                ),
            ],
            listen={"settlement": f"127.0.0.1:{calls_b}"},
        )
        common = {"ledger": str(self.ledger), "redis": redis_port}
        self.calls_a = calls_a
        connectors = [f"http://127.0.0.1:{port}" for port in (calls_a, calls_b)]
        self.engines = [
            engine(common | {"name": name, "peer": to, "port": port, "connector": url, "db": db})
            for db, (name, to, port, url) in enumerate(
                zip("ab", "ba", (port_a, port_b), connectors, strict=True)
            )
        ]

    def pay(self, amount: int) -> bool:
        """A packet from the payer to b's loop; whether it was fulfilled."""
        moment = time.gmtime(time.time() + 20)
        expires_at = time.strftime("%Y%m%d%H%M%S000", moment).encode()
        destination = b"test.b.loop"
        content = amount.to_bytes(8, "big") + expires_at + bytes.fromhex(CONDITION)
        content += bytes([len(destination)]) + destination + b"\0"
        request = urllib.request.Request(
            self.a.ilp_url("payer"), data=bytes([12, len(content)]) + content
        )
        request.add_header("Authorization", "Bearer payer_in")
        request.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=60) as response:
            return bool(response.read()[0] == 13)

    def paid(self, to: str) -> int:
        """What the ledger says, in units of the account."""
        lines = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        found = sum((Decimal(line["amount"]) for line in lines if line["to"] == to), Decimal(0))
        return int(found.scaleb(ASSET[1]))

    def is_quiet(self) -> bool:
        """Every settlement has reached the ledger, but for what the engines keep: less than its
        smallest unit; and everything on it is credited."""
        sent_a, sent_b = self._sent(self.a), self._sent(self.b)
        if sent_a is None or sent_b is None:
            return False
        left_a, left_b = sent_a - self.paid("b"), sent_b - self.paid("a")
        between = self.a.balance("node_b") + self.b.balance("node_a")
        return 0 <= left_a < 10 and 0 <= left_b < 10 and between == -left_a - left_b

    @staticmethod
    def _sent(node: Node) -> int | None:
        """None while one waits."""
        found = node.get("/settlements?limit=1000")
        if any(each["state"] != "sent" for each in found):
            return None
        return sum(int(each["amount"]) for each in found)

    def about(self) -> str:
        return f"{self.a.balances()} {self.b.balances()}\n{self.ledger.read_text()}" + "".join(
            line for process in self.engines for line in process.output
        )


def test_both_ways_with_nodes_that_are_killed(tmp_path: Path) -> None:
    with redis(tmp_path) as redis_port:
        pair = Pair(tmp_path, redis_port)
        with stopping(*pair.engines), running(pair.a, pair.b):
            for process in pair.engines:
                process.wait_for("ready")
            until(lambda: pair.pay(1), pair.about)
            fulfilled = 1
            for number in range(ROUNDS):
                until(lambda: pair.pay(557), pair.about)
                fulfilled += 557
                pair.b.call("POST", "/accounts/node_a/settle", {"amount": str(100 + number)})
                if number % 4 == 1:
                    pair.b.kill()
                    pair.b.start()
                if number % 4 == 3:
                    assert pair.a.stop() == 0
                    pair.a.start()
            until(pair.is_quiet, pair.about)
            assert pair.a.balance("payer") == -fulfilled
            assert pair.b.balance("loop") == fulfilled
            assert pair.paid("b") > 0 and pair.paid("a") > 0


def test_messages(tmp_path: Path) -> None:
    with redis(tmp_path) as redis_port:
        pair = Pair(tmp_path, redis_port)
        with stopping(*pair.engines), running(pair.a, pair.b):
            until(lambda: pair.pay(1), pair.about)
            identifier = pair.a.get("/accounts/node_b")["id"]
            answers: list[object] = []

            def is_answered() -> bool:
                url = f"http://127.0.0.1:{pair.calls_a}/accounts/{identifier}/messages"
                request = urllib.request.Request(url, data=b'{"type":"paymentDetails"}')
                request.add_header("Content-Type", "application/octet-stream")
                try:
                    with urllib.request.urlopen(request, timeout=60) as response:
                        answers.append(json.load(response))
                except urllib.error.HTTPError as error:
                    error.close()
                return bool(answers)

            until(is_answered, pair.about)
            assert answers == [{"heard": {"type": "paymentDetails"}, "by": "b"}]
