"""Payments between assets: the node's rates say what must arrive, slippage how much less may."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.client import Answer, Api
from tests.node_process import NodeProcess

ALICE = "alice-password"
AMOUNT = 1_000_000


class Scene:
    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.api = Api(node)
        self.api.create(
            "alice", asset_code="XYZ", asset_scale=9, ilp_over_http_incoming_token=ALICE
        )
        for username, code, scale in (("bob", "ABC", 6), ("carol", "XYZ", 2), ("dan", "NIL", 9)):
            self.api.create(username, asset_code=code, asset_scale=scale)

    def pay(self, username: str, **body: Any) -> Answer:
        receiver = f"http://{self.node.http}/accounts/{username}/spsp"
        path = "/accounts/alice/payments"
        return self.api.call("POST", path, {"receiver": receiver, **body}, token=ALICE)

    def moved(self) -> tuple[int, int]:
        balances = self.node.balances()
        return -balances.pop("alice"), sum(balances.values())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    config = '[exchange_rate]\nspread = "0.02"\n[rates]\nABC = "1"\nXYZ = "2.01"'
    with NodeProcess(tmp_path_factory.mktemp("rates") / "node", config) as node:
        found = Scene(node)
        yield found
        found.api.close()
        node.running().terminate()
        assert node.wait() == 0
        node.check_books()


def test_within_the_slippage(scene: Scene) -> None:
    before = scene.moved()
    answer = scene.pay("bob", source_amount=AMOUNT, slippage=0.025)
    assert answer.status == 200, answer
    found = answer.json()
    # A thousandth of the standard unit, at 2.01 less 2 %; each packet is rounded down.
    assert 1_960 <= found["delivered_amount"] <= 1_969
    assert (found["destination_asset_code"], found["destination_asset_scale"]) == ("ABC", 6)
    sent, arrived = scene.moved()
    assert (sent - before[0], arrived - before[1]) == (AMOUNT, found["delivered_amount"])


def test_beyond_the_slippage_nothing_moves(scene: Scene) -> None:
    before = scene.moved()
    answer = scene.pay("bob", source_amount=AMOUNT)
    assert answer.status == 500 and "asked for" in answer.problem()["detail"]
    payment = answer.json()["payment"]
    assert (payment["state"], payment["sent_amount"], payment["in_flight_amount"]) == (
        "failed", 0, 0,
    )  # fmt: skip
    assert scene.moved() == before


def test_a_fixed_delivery_costs_what_it_costs(scene: Scene) -> None:
    before = scene.moved()
    answer = scene.pay("bob", delivery_amount=1_000, slippage=0.025)
    assert answer.status == 200, answer
    found = answer.json()
    assert found["delivered_amount"] == 1_000
    # 1,000 millionths of ABC are 507,666 billionths of XYZ, and no more than the slippage.
    assert 507_666 <= found["sent_amount"] <= 510_269
    sent, arrived = scene.moved()
    assert (sent - before[0], arrived - before[1]) == (found["sent_amount"], 1_000)


def test_another_scale_of_the_same_asset(scene: Scene) -> None:
    before = scene.moved()
    answer = scene.pay("carol", source_amount=30_000_000)
    assert (answer.status, answer.json()["delivered_amount"]) == (200, 3)
    sent, arrived = scene.moved()
    assert (sent - before[0], arrived - before[1]) == (30_000_000, 3)
    # There is nothing that so little could become.
    less = scene.pay("carol", source_amount=9_999_999)
    assert less.status == 500 and less.json()["payment"]["sent_amount"] == 0
    assert scene.moved() == (sent, arrived)


def test_an_asset_without_a_rate(scene: Scene) -> None:
    before = scene.moved()
    answer = scene.pay("dan", source_amount=5)
    assert answer.status == 500 and answer.json()["payment"]["state"] == "failed"
    assert scene.moved() == before
