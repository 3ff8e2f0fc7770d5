"""Payments and the end of the node that sends them: killed or stopped, what was sent and delivered
is never forgotten, and nothing is paid twice."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.client import Answer, Api
from tests.helpers import until
from tests.node_process import NodeProcess

ALICE = "alice-password"
AMOUNT = 1_000_000
PACKET_MAX = 500
"""So that a payment has some thousand packets."""
IN_FLIGHT_MAX = 100 * PACKET_MAX


class Scene:
    """Alice on a node that ends, Bob on one that stays."""

    def __init__(self, path: Path) -> None:
        self.a = NodeProcess(path / "a", "", "example.node_a")
        self.b = NodeProcess(path / "b", "", "example.node_b")
        self.b.start()
        self.a.start()
        self.at_b = Api(self.b)
        self.at_b.create("bob")
        self.at_b.create(
            "node_a", ilp_over_http_incoming_token="node_a-password", max_packet_amount=PACKET_MAX
        )
        at_a = Api(self.a)
        at_a.create("alice", ilp_over_http_incoming_token=ALICE)
        at_a.create(
            "node_b",
            ilp_address="example.node_b",
            ilp_over_http_outgoing_token="node_a-password",
            ilp_over_http_url=f"http://{self.b.http}/accounts/node_a/ilp",
            # What a crash may cost at most.
            max_in_flight_amount=IN_FLIGHT_MAX,
        )
        at_a.close()

    def close(self) -> None:
        self.at_b.close()
        for node in (self.a, self.b):
            if node.process is not None:
                node.kill()

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        client = Api(self.a)
        try:
            return client.call(method, path, body, token=ALICE, **more)
        finally:
            client.close()

    def order(self, headers: dict[str, str], **amount: int) -> Answer:
        body = {"receiver": f"http://{self.b.http}/accounts/bob/spsp", **amount}
        return self.call("POST", "/accounts/alice/payments", body, headers=headers)

    def begin(self, **amount: int) -> str:
        """Its path, once a part of it is sent."""
        answer = self.order({"Prefer": "respond-async"}, **amount)
        assert answer.status == 202, answer
        path = answer.headers["location"]
        until(lambda: self.payment(path)["sent_amount"] >= 20 * PACKET_MAX)
        return path

    def lead_to(self, url: str) -> None:
        """Where packets for the other node are posted to."""
        client = Api(self.a)
        answer = client.call("PUT", "/accounts/node_b/settings", {"ilp_over_http_url": url})
        client.close()
        assert answer.status == 200, answer

    def payment(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", path).json()
        return found

    def bob(self) -> int:
        return self.b.balances()["bob"]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    found = Scene(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("delay", [0, 50 * PACKET_MAX, 400 * PACKET_MAX])
def test_killed(scene: Scene, delay: int) -> None:
    path = scene.begin(source_amount=AMOUNT)
    until(lambda: scene.payment(path)["sent_amount"] >= delay)
    before = scene.payment(path)
    assert before["state"] == "running"
    scene.a.kill()
    scene.a.start()
    after = scene.payment(path)
    assert after["state"] == "interrupted" and after["in_flight_amount"] == 0
    # What was seen to be sent is not forgotten, and what the books say is covered.
    assert after["sent_amount"] >= before["sent_amount"]
    debt = -scene.a.balances()["alice"]
    most = after["sent_amount"] + after["uncertain_amount"]
    assert after["sent_amount"] <= debt <= most < AMOUNT
    assert after["delivered_amount"] == after["sent_amount"] <= scene.bob() <= most
    scene.a.check_sums()
    # The rest of it.
    resumed = scene.call("POST", f"{path}/resume")
    assert resumed.status == 200, resumed
    ended = scene.payment(path)
    assert ended["state"] == "completed"
    assert ended["sent_amount"] + ended["uncertain_amount"] == AMOUNT
    assert ended["sent_amount"] <= -scene.a.balances()["alice"] <= AMOUNT
    assert ended["delivered_amount"] <= scene.bob() <= AMOUNT
    scene.a.check_sums()
    scene.b.check_sums()


def test_killed_before_any_money_was_sent(scene: Scene) -> None:
    """Packets that only ask for the rate can be fulfilled by nobody: nothing is uncertain."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scene.lead_to(f"http://127.0.0.1:{silent.getsockname()[1]}/ilp")
        answer = scene.order({"Prefer": "respond-async"}, source_amount=AMOUNT)
        path = answer.headers["location"]
        hop, _ = silent.accept()
        with hop:
            assert hop.recv(4), "a packet"
            found = scene.payment(path)
            assert (found["state"], found["in_flight_amount"]) == ("running", 0)
            scene.a.kill()
    scene.a.start()
    after = scene.payment(path)
    assert (after["state"], after["sent_amount"]) == ("interrupted", 0)
    assert after["uncertain_amount"] == 0 == scene.a.balances()["alice"]
    scene.lead_to(f"http://{scene.b.http}/accounts/node_a/ilp")
    assert scene.call("POST", f"{path}/resume").status == 200
    assert -scene.a.balances()["alice"] == scene.bob() == AMOUNT
    scene.a.check_sums()
    scene.b.check_sums()


def test_killed_before_a_fixed_amount_was_delivered(scene: Scene) -> None:
    path = scene.begin(delivery_amount=AMOUNT)
    scene.a.kill()
    scene.a.start()
    assert scene.call("POST", f"{path}/resume").status == 200
    ended = scene.payment(path)
    assert ended["delivered_amount"] <= scene.bob() <= AMOUNT
    assert scene.bob() >= AMOUNT - ended["uncertain_amount"]
    scene.a.check_sums()
    scene.b.check_sums()


def test_stopped(scene: Scene) -> None:
    """A stop waits for what is in flight, so nothing is uncertain."""
    path = scene.begin(source_amount=AMOUNT)
    scene.a.signal(signal.SIGTERM)
    assert scene.a.wait() == 0
    scene.a.check_books()
    scene.a.start()
    after = scene.payment(path)
    assert (after["state"], after["uncertain_amount"]) == ("interrupted", 0)
    assert after["sent_amount"] == -scene.a.balances()["alice"] == scene.bob()
    assert scene.call("POST", f"{path}/resume").status == 200
    assert scene.bob() == AMOUNT
    scene.a.check_sums()
    scene.b.check_sums()


def test_drained(scene: Scene) -> None:
    path = scene.begin(source_amount=AMOUNT)
    client = Api(scene.a)
    assert client.call("POST", "/drain").status == 202
    client.close()
    until(lambda: scene.payment(path)["state"] != "running")
    after = scene.payment(path)
    assert (after["state"], after["uncertain_amount"]) == ("interrupted", 0)
    assert after["sent_amount"] == scene.bob()
    assert scene.order({}, source_amount=1).status == 503


def test_a_call_that_comes_again_after_a_crash_pays_nothing(scene: Scene) -> None:
    """The client has a key, and does not know what became of its call."""
    headers = {"Idempotency-Key": "once and for all"}

    def order() -> None:
        with pytest.raises(OSError):
            scene.order(headers, source_amount=AMOUNT)

    thread = threading.Thread(target=order)
    thread.start()
    until(lambda: scene.bob() >= 20 * PACKET_MAX)
    scene.a.kill()
    thread.join()
    scene.a.start()
    before = scene.bob()
    again = scene.order(headers, source_amount=AMOUNT)
    assert again.status == 500
    detail = again.problem()["detail"]
    assert "the node ended before the payment did" in detail
    [payment] = scene.call("GET", "/accounts/alice/payments").json()
    assert again.json()["payment"] == {"id": payment["id"], "username": "alice"}
    assert (payment["state"], scene.bob()) == ("interrupted", before)
