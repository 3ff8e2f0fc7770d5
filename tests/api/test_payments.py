"""Payments between two nodes, over their API: as Interledger.rs answers, and what is ours."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.api.client import Answer, Api
from tests.api.websocket import Incoming
from tests.helpers import until
from tests.node_process import ADMIN_TOKEN, NodeProcess

ALICE, BOB = "alice-password", "bob-password"
RECEIPT_FIELDS = [
    "delivered_amount", "destination_asset_code", "destination_asset_scale", "from",
    "in_flight_amount", "sent_amount", "source_amount", "source_asset_code", "source_asset_scale",
    "to",
]  # fmt: skip


class Pair:
    """Alice on one node, Bob on the other: the simple example of Interledger.rs."""

    def __init__(self, a: NodeProcess, b: NodeProcess) -> None:
        self.a, self.b = a, b
        self.at_a, self.at_b = Api(a), Api(b)
        self.at_a.create("alice", ilp_over_http_incoming_token=ALICE)
        self.at_a.create(
            "node_b",
            ilp_address="example.node_b",
            ilp_over_http_outgoing_token="node_a-password",
            ilp_over_http_url=f"http://{b.http}/accounts/node_a/ilp",
        )
        self.at_b.create("bob", ilp_over_http_incoming_token=BOB)
        self.at_b.create("node_a", ilp_over_http_incoming_token="node_a-password")

    @property
    def bob(self) -> str:
        return f"http://{self.b.http}/accounts/bob/spsp"

    def close(self) -> None:
        self.at_a.close()
        self.at_b.close()

    def ended(self, begun: Answer) -> dict[str, Any]:
        """A payment that was answered at once, at its end."""
        assert begun.status == 202, begun
        path = begun.headers["location"]
        until(lambda: self.at_a.get(path).json()["state"] != "running")
        found: dict[str, Any] = self.at_a.get(path).json()
        return found

    def pay(self, amount: Any = "500", **more: Any) -> Answer:
        headers = more.pop("headers", None)
        body = {"receiver": self.bob, "source_amount": amount, **more}
        body = {name: value for name, value in body.items() if value is not None}
        path = "/accounts/alice/payments"
        return self.at_a.call("POST", path, body, token=ALICE, headers=headers)

    def balances(self) -> tuple[int, int, int, int]:
        """alice, node_b, node_a, bob."""
        a, b = self.a.balances(), self.b.balances()
        return a["alice"], a["node_b"], b["node_a"], b["bob"]

    def check_moved(self, before: tuple[int, int, int, int], amount: int) -> None:
        """As much left Alice as came to Bob, and each node's books are even."""
        wanted = (-amount, amount, -amount, amount)
        assert (
            tuple(now - then for now, then in zip(self.balances(), before, strict=True)) == wanted
        )
        self.a.check_sums()
        self.b.check_sums()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    path = tmp_path_factory.mktemp("payments")
    spsp = '[payments]\ndefault_spsp_account = "bob"'
    with (
        NodeProcess(path / "a", "", "example.node_a") as a,
        NodeProcess(path / "b", spsp, "example.node_b") as b,
    ):
        found = Pair(a, b)
        yield found
        found.close()


def test_api_09_send_payment(pair: Pair) -> None:
    before = pair.balances()
    answer = pair.pay()
    assert answer.status == 200, answer
    found = answer.json()
    assert list(found) == RECEIPT_FIELDS
    to = found.pop("to")
    assert to.startswith("example.node_b.bob.")
    assert found == {
        "delivered_amount": 500,
        "destination_asset_code": "ABC",
        "destination_asset_scale": 9,
        "from": "example.node_a.alice",
        "in_flight_amount": 0,
        "sent_amount": 500,
        "source_amount": 500,
        "source_asset_code": "ABC",
        "source_asset_scale": 9,
    }
    assert b": " not in answer.body
    pair.check_moved(before, 500)
    assert pair.at_a.get("/accounts/alice/balance").body == b'{"asset_code":"ABC","balance":-5e-7}'
    assert pair.at_b.get("/accounts/bob/balance").body == b'{"asset_code":"ABC","balance":5e-7}'
    # Not even the admin spends what is Alice's.
    body = {"receiver": pair.bob, "source_amount": 1}
    for token, status in ((ADMIN_TOKEN, 401), ("wrong", 401), (None, 401), ("x", 401)):
        answer = pair.at_a.call("POST", "/accounts/alice/payments", body, token=token)
        assert answer.status == status, token
    assert pair.pay(slippage="0.02", amount=7).json()["delivered_amount"] == 7
    pair.check_moved(before, 507)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "receiver"),
        ({"receiver": "$x.example"}, "source_amount"),
        ({"receiver": "$x.example", "source_amount": 0}, "source_amount"),
        ({"receiver": "$x.example", "source_amount": -1}, "source_amount"),
        ({"receiver": "$x.example", "source_amount": 2**64}, "source_amount"),
        ({"receiver": "$x.example", "source_amount": 1, "slippage": 1}, "slippage"),
        ({"receiver": "", "source_amount": 1}, "receiver"),
        ({"receiver": "$x.example", "source_amount": 1, "delivery_amount": 1}, "delivery_amount"),
    ],
)
def test_api_09_orders_that_are_wrong(pair: Pair, body: dict[str, Any], name: str) -> None:
    answer = pair.at_a.call("POST", "/accounts/alice/payments", body, token=ALICE)
    assert answer.status == 400
    assert answer.problem()["invalid-params"][0]["name"] == name


@pytest.mark.parametrize(
    "receiver", ["$", "$host:1/x", "ftp://x.example", "http://127.0.0.1:1/x", "bob@x.example"]
)
def test_api_09_receivers_that_are_none(pair: Pair, receiver: str) -> None:
    before = pair.balances()
    answer = pair.pay(receiver=receiver)
    assert answer.status == 500
    assert answer.problem()["detail"].startswith("Error sending SPSP payment: ")
    pair.check_moved(before, 0)
    # Somebody is there, and has no such account.
    answer = pair.pay(receiver=f"http://{pair.b.http}/accounts/nobody/spsp")
    assert answer.status == 500 and "404" in answer.problem()["detail"]


def test_api_09_a_fixed_delivery(pair: Pair) -> None:
    before = pair.balances()
    answer = pair.pay(amount=None, delivery_amount=12_345)
    assert (answer.status, answer.json()["delivered_amount"]) == (200, 12_345)
    assert answer.json()["source_amount"] == answer.json()["sent_amount"] == 12_345
    pair.check_moved(before, 12_345)


def test_api_09_a_payment_that_fails_says_what_was_sent(pair: Pair) -> None:
    """Alice may go no further into debt than what is left of half the amount."""
    before = pair.balances()
    limit = {"min_balance": before[0] - 600}
    assert pair.at_a.call("PATCH", "/accounts/alice", limit).status == 200
    begun = pair.pay(amount=1_000, headers={"Prefer": "respond-async"})
    assert begun.status == 202
    path = begun.headers["location"]
    assert path == f"/accounts/alice/payments/{begun.json()['id']}"
    until(lambda: pair.at_a.get(path).json()["sent_amount"] >= 300)
    assert pair.at_a.call("POST", f"{path}/cancel").status == 202
    found = pair.ended(begun)
    assert (found["state"], found["receipt"], found["in_flight_amount"]) == ("cancelled", None, 0)
    sent = found["sent_amount"]
    assert 300 <= sent <= 600 and found["delivered_amount"] == sent
    pair.check_moved(before, sent)
    # The rest, once there is room for it.
    assert pair.at_a.call("PATCH", "/accounts/alice", {"min_balance": None}).status == 200
    resumed = pair.at_a.call("POST", f"{path}/resume", token=ALICE)
    assert (resumed.status, resumed.json()["sent_amount"]) == (200, 1_000)
    pair.check_moved(before, 1_000)
    assert pair.at_a.call("POST", f"{path}/resume", token=ALICE).status == 409
    assert pair.at_a.call("POST", f"{path}/resume").status == 401
    # Cancelled when it is over: nothing happens.
    assert pair.at_a.call("POST", f"{path}/cancel", token=ALICE).json()["state"] == "completed"


def test_idempotency_of_payments(pair: Pair) -> None:
    before = pair.balances()
    headers = {"Idempotency-Key": "rent for May"}
    answers = [pair.pay(amount=40, headers=headers) for _ in range(3)]
    assert [each.status for each in answers] == [200] * 3
    assert len({each.body for each in answers}) == 1
    pair.check_moved(before, 40)
    assert pair.pay(amount=41, headers=headers).status == 409
    # What could not begin leaves no trace.
    headers = {"Idempotency-Key": "to nobody"}
    assert pair.pay(receiver="$", headers=headers).status == 500
    assert pair.pay(amount=2, headers=headers).status == 200
    pair.check_moved(before, 42)


def test_idempotency_of_payments_side_by_side(pair: Pair) -> None:
    before = pair.balances()
    found: list[Answer] = []

    def pay() -> None:
        client = Api(pair.a)
        body = {"receiver": pair.bob, "source_amount": 30}
        headers = {"Idempotency-Key": "one of many"}
        path = "/accounts/alice/payments"
        found.append(client.call("POST", path, body, token=ALICE, headers=headers))
        client.close()

    threads = [threading.Thread(target=pay) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {each.status for each in found} == {200} and len({each.body for each in found}) == 1
    pair.check_moved(before, 30)


def test_payments_are_listed_and_looked_at(pair: Pair) -> None:
    ids = []
    for amount in range(1, 6):
        begun = pair.pay(amount=amount, headers={"Prefer": "respond-async, wait=5"})
        ids.append(pair.ended(begun)["id"])
    paged: list[str] = []
    path = "/accounts/alice/payments?limit=2"
    while path and len(paged) < 5:
        answer = pair.at_a.get(path, ALICE)
        paged += [each["id"] for each in answer.json()]
        path = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert paged[:5] == ids[::-1]
    everything = pair.at_a.get("/accounts/alice/payments?limit=1000").json()
    assert [each["id"] for each in everything][:5] == ids[::-1]
    found = pair.at_a.get(f"/accounts/alice/payments/{ids[0]}").json()
    assert found == everything[4]
    assert (found["username"], found["receiver"], found["source_amount"]) == ("alice", pair.bob, 1)
    created = datetime.fromisoformat(found["created_at"])
    assert created <= datetime.fromisoformat(found["changed_at"])
    assert list(found["receipt"]) == RECEIPT_FIELDS
    for path in (f"/accounts/node_b/payments/{ids[0]}", "/accounts/alice/payments/x"):
        assert pair.at_a.get(path).status == 404
    assert pair.at_a.get("/accounts/alice/payments?after=x").status == 400
    assert pair.at_a.get("/accounts/alice/payments", "wrong").status == 401
    assert pair.at_a.get("/accounts/node_b/payments").json() == []
    assert pair.at_a.get("/accounts/nobody/payments").status == 404


def test_events_of_a_payment(pair: Pair) -> None:
    headers = {"Prefer": "respond-async", "Idempotency-Key": "looked at"}
    begun, again = (pair.pay(amount=3, headers=headers) for _ in range(2))
    assert begun.headers["location"] == again.headers["location"]
    body = pair.at_a.get(f"{begun.headers['location']}/events").body.decode()
    names = re.findall(r"^event: (\w+)$", body, re.MULTILINE)
    assert names[-1] == "ended" and set(names[:-1]) <= {"progress"}
    last = json.loads(re.findall(r"^data: (.*)$", body, re.MULTILINE)[-1])
    assert (last["state"], last["delivered_amount"]) == ("completed", 3)


def test_api_10_spsp(pair: Pair) -> None:
    seen = set()
    for path in ("/accounts/bob/spsp", "/accounts/bob/spsp/", "/accounts/bob/.well-known/pay"):
        answer = pair.at_b.get(path, token=None)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/spsp4+json")
        assert answer.headers["cache-control"] == "max-age=60"
        assert answer.headers["vary"] == "accept, receipt-nonce, receipt-secret"
        assert answer.headers["access-control-allow-origin"] == "*"
        found = answer.json()
        assert list(found) == ["destination_account", "shared_secret"]
        assert found["destination_account"].startswith("example.node_b.bob.")
        secret = base64.b64decode(found["shared_secret"], validate=True)
        assert len(secret) == 32
        seen |= {found["destination_account"], secret}
    # Nobody gets what another one has.
    assert len(seen) == 6
    missing = pair.at_b.get("/accounts/nobody/spsp", token=None)
    assert missing.status == 404
    assert missing.problem()["type"].endswith("/accounts/account-not-found")
    assert missing.json()["id"] == "InvalidReceiverError" and missing.json()["message"]
    assert missing.headers["access-control-allow-origin"] == "*"


def test_api_10_payment_pointer_of_an_account(pair: Pair) -> None:
    """`$host/accounts/bob`: without a token, where SPSP is asked for."""
    accept = {"Accept": "application/spsp4+json, application/spsp+json"}
    answer = pair.at_b.call("GET", "/accounts/bob", token=None, headers=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/spsp4+json")
    assert pair.at_b.get("/accounts/bob", token=None).status == 401
    for path in ("/accounts/bob", "/accounts/bob/spsp", "/.well-known/pay"):
        preflight = pair.at_b.call("OPTIONS", path, token=None)
        assert (preflight.status, preflight.body) == (204, b"")
        assert "web-monetization-id" in preflight.headers["access-control-allow-headers"]
        assert preflight.headers["access-control-allow-origin"] == "*"


def test_api_10_receipts(pair: Pair) -> None:
    nonce, secret = base64.b64encode(bytes(16)).decode(), base64.b64encode(bytes(32)).decode()
    both = {"Receipt-Nonce": nonce, "Receipt-Secret": secret}
    answer = pair.at_b.call("GET", "/accounts/bob/spsp", token=None, headers=both)
    assert answer.json()["receipts_enabled"] is True
    assert answer.headers["cache-control"] == "no-cache"
    for wrong in (
        {"Receipt-Nonce": nonce},
        {"Receipt-Secret": secret},
        {**both, "Receipt-Nonce": secret},
        {**both, "Receipt-Secret": "?"},
    ):
        answer = pair.at_b.call("GET", "/accounts/bob/spsp", token=None, headers=wrong)
        assert answer.status == 400, wrong


def test_api_11_well_known_pay(pair: Pair) -> None:
    answer = pair.at_b.get("/.well-known/pay", token=None)
    assert answer.status == 200
    assert answer.json()["destination_account"].startswith("example.node_b.bob.")
    missing = pair.at_a.get("/.well-known/pay", token=None)
    assert missing.status == 404
    assert missing.problem()["detail"] == "no default spsp account was configured"
    assert pair.pay(receiver=f"http://{pair.b.http}/.well-known/pay").status == 200


@pytest.mark.parametrize("token", [BOB, ADMIN_TOKEN])
def test_api_12_incoming_of_an_account(pair: Pair, token: str) -> None:
    with Incoming(pair.b.http, "/accounts/bob/payments/incoming", token) as incoming:
        assert incoming.status == 101
        assert pair.pay(amount=11).status == 200
        first = json.loads(incoming.message())
        assert list(first) == [
            "to_username", "from_username", "destination", "amount", "timestamp", "sequence",
            "connection_closed",
        ]  # fmt: skip
        assert (first["to_username"], first["from_username"]) == ("bob", "node_a")
        assert first["destination"].startswith("example.node_b.bob.")
        assert datetime.fromisoformat(first["timestamp"]).utcoffset() is not None
        amount = first["amount"]
        while not (last := json.loads(incoming.message()))["connection_closed"]:
            amount += last["amount"]
        assert (amount, last["amount"]) == (11, 0)
        # What the client says is nobody's business, but for a ping.
        incoming.send(1, b"hello")
        assert incoming.pong() == b"still there?"


def test_api_12_who_may_listen(pair: Pair) -> None:
    cases = [
        ("/accounts/bob/payments/incoming", None, 401),
        ("/accounts/bob/payments/incoming", ALICE, 401),
        ("/accounts/nobody/payments/incoming", ADMIN_TOKEN, 404),
        ("/payments/incoming", BOB, 401),
        ("/payments/incoming", None, 401),
        ("/payments/outgoing", ADMIN_TOKEN, 404),
    ]
    for path, token, status in cases:
        with Incoming(pair.b.http, path, token) as incoming:
            assert incoming.status == status, path
            assert "problem+json" in incoming.head
    for path in ("/accounts/bob/payments/incoming", "/payments/incoming"):
        assert pair.at_b.get(path).status == 426
        assert pair.at_b.get(path, "wrong").status == 401


def test_a_listener_goes_with_its_token(pair: Pair) -> None:
    path, url = "/accounts/bob/payments/incoming", "/accounts/bob/settings"
    with Incoming(pair.b.http, path, BOB) as incoming:
        assert pair.at_b.call("PUT", url, {"min_balance": -9_999}).status == 200
        assert incoming.pong() == b"still there?"
        assert pair.at_b.call("PUT", url, {"ilp_over_http_incoming_token": "new"}).status == 200
        assert incoming.message() == ""
    with Incoming(pair.b.http, path, "new") as incoming:
        assert incoming.status == 101
    assert pair.at_b.call("PUT", url, {"ilp_over_http_incoming_token": BOB}).status == 200


def test_api_13_incoming_of_all_accounts(pair: Pair) -> None:
    with Incoming(pair.b.http, "/payments/incoming", ADMIN_TOKEN) as incoming:
        assert pair.pay(amount=13).status == 200
        amount = 0
        while True:
            message = json.loads(incoming.message())
            assert list(message) == ["Ok"]
            amount += message["Ok"]["amount"]
            if message["Ok"]["connection_closed"]:
                break
        assert amount == 13


def test_an_account_that_is_closed_has_no_listeners(pair: Pair) -> None:
    pair.at_b.create("carol", ilp_over_http_incoming_token="carol-token")
    with Incoming(pair.b.http, "/accounts/carol/payments/incoming", "carol-token") as incoming:
        assert incoming.status == 101
        assert pair.at_b.call("DELETE", "/accounts/carol").status == 200
        assert incoming.message() == ""
