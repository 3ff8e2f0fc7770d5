"""`POST /drain`: nothing new, what is in flight ends, the node stays until it is stopped."""

import signal
import threading
from pathlib import Path

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from tests.api.client import Api
from tests.cli.command import fastilp
from tests.node_process import ADMIN_TOKEN, NodeProcess
from tests.test_node import ACCOUNTS, prepare


def pay(node: NodeProcess, destination: str, seconds: float = 20.0) -> Prepare | Fulfill | Reject:
    return decode(node.send("alice", prepare(destination, 10, seconds)))


def test_drain(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", ACCOUNTS) as node:
        where = ("--node", f"http://{node.http}")
        api = Api(node)
        assert isinstance(pay(node, "example.node.loop"), Fulfill)
        assert api.call("POST", "/drain", token="alice-token").status == 401
        assert fastilp("health", *where).status == 0
        # One that nobody answers: it is in flight until it expires.
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(pay(node, "example.node.loop.ignore", 3.0))
        )
        waiting.start()
        while api.get("/status").json()["in_flight"] == 0:
            assert waiting.is_alive()
        answer = api.call("POST", "/drain")
        assert (answer.status, answer.json()) == (202, {"draining": True, "in_flight": 1})
        refused = pay(node, "example.node.loop")
        assert isinstance(refused, Reject) and refused.code == "T00"
        unready = fastilp("health", *where)
        assert unready.status == 1 and "it is draining, 1 packets" in unready.stderr
        # It stays to be asked; what was in flight has come to its end.
        done = fastilp("drain", *where, "--auth", ADMIN_TOKEN, "--wait", "60", "--table")
        assert (done.status, done.stdout) == (
            0, "nothing new is taken, 0 packets are in flight\n",
        )  # fmt: skip
        waiting.join()
        assert isinstance(answers[0], Reject) and answers[0].code == "R00"
        assert node.balances() == {"alice": -10, "loop": 10}
        api.close()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        drains = [each for each in node.events() if each["message"] == "draining"]
        assert [each["in_flight"] for each in drains] == [1]
