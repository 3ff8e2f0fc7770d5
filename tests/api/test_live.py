"""Accounts change while packets flow: nothing is lost, limits keep their level, balances add up."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ilp_bytes
from tests.api.client import Api
from tests.node_process import NodeProcess

PREIMAGE = b"p" * 32
CONDITION = ilp_bytes.condition_of(PREIMAGE)


def packet(amount: int = 1, to: str = "example.node.sink", ms: int = 20_000) -> bytes:
    return ilp_bytes.prepare(amount, to, CONDITION, ilp_bytes.now_ms() + ms, PREIMAGE)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("live") / "node", "") as process:
        client = Api(process)
        client.create("sink", endpoint="loopback")
        client.close()
        yield process


class Traffic:
    """Packets of one account, one after another, until told to stop."""

    def __init__(self, node: NodeProcess, username: str) -> None:
        self.answers: list[bytes] = []
        self._node = node
        self._username = username
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.answers.append(self._node.send(self._username, packet()))


def test_no_packet_is_lost_while_an_account_changes(node: NodeProcess, api: Api) -> None:
    body = {
        "username": "steady",
        "asset_code": "ABC",
        "asset_scale": 9,
        "ilp_over_http_incoming_token": "steady-token",
    }
    assert api.call("POST", "/accounts", body).status == 200
    with Traffic(node, "steady") as traffic:
        for number in range(40):
            change = {**body, "min_balance": -(10**9) - number, "round_trip_time": 400 + number}
            assert api.call("PUT", "/accounts/steady", change).status == 200
            # The other side's links come and go, too.
            url = f"http://127.0.0.1:{1 + number}/"
            settings = {"ilp_over_http_url": url, "settle_threshold": number}
            assert api.call("PUT", "/accounts/steady/settings", settings).status == 200
            api.create(f"passing_{number}")
    assert len(traffic.answers) > 40
    assert {answer[0] for answer in traffic.answers} == {ilp_bytes.FULFILL}
    balance = int(api.get("/accounts/steady/status").json()["balance"])
    assert balance == -len(traffic.answers)


def test_a_changed_limit_keeps_its_level(node: NodeProcess, api: Api) -> None:
    body = {
        "username": "limited",
        "asset_code": "ABC",
        "asset_scale": 9,
        "ilp_over_http_incoming_token": "limited-token",
        "packets_per_minute_limit": 5,
    }
    api.call("POST", "/accounts", body)
    answers = [node.send("limited", packet()) for _ in range(7)]
    assert [each[0] for each in answers].count(ilp_bytes.FULFILL) == 5
    assert b"T05" in answers[-1]
    # Twice as much per minute, and not a fresh minute.
    assert (
        api.call("PUT", "/accounts/limited", {**body, "packets_per_minute_limit": 6}).status == 200
    )
    answers = [node.send("limited", packet()) for _ in range(4)]
    assert [each[0] for each in answers].count(ilp_bytes.FULFILL) <= 1
    status = api.get("/accounts/limited/status").json()
    assert (status["last_limit"], status["limit_hits"] >= 4) == ("packets_rate_limited", True)


def test_closing_waits_for_what_is_in_flight(node: NodeProcess, api: Api) -> None:
    api.create("slow", ilp_over_http_incoming_token="slow-token")
    answers: list[bytes] = []
    to = "example.node.sink.ignore"
    sender = threading.Thread(
        target=lambda: answers.append(node.send("slow", packet(7, to, ms=3_000)))
    )
    sender.start()
    while api.get("/accounts/slow/status").json()["in_flight_in"] == 0:
        time.sleep(0.01)
    other = Api(node)
    closing = threading.Thread(target=lambda: other.call("DELETE", "/accounts/slow"))
    closing.start()
    while not api.get("/accounts/slow/status").json()["closing"]:
        time.sleep(0.01)
    # Meanwhile it takes nothing new, and cannot be changed.
    assert node.status_of("/accounts/slow/ilp", "slow-token") == 200
    assert api.call("POST", "/accounts/slow/ilp", packet(), token="slow-token").status == 401
    assert api.call("PUT", "/accounts/slow/settings", {}).status == 409
    sender.join()
    closing.join()
    other.close()
    assert answers[0][0] == ilp_bytes.REJECT and b"R00" in answers[0]
    assert api.get("/accounts/slow").status == 404


def test_a_balance_is_written_off_behind_a_tombstone(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", "")
    with node:
        api = Api(node)
        api.create("sink", endpoint="loopback")
        api.create("debtor", ilp_over_http_incoming_token="debtor-token")
        for _ in range(3):
            assert node.send("debtor", packet(5))[0] == ilp_bytes.FULFILL
        refused = api.call(
            "PUT", "/accounts/debtor", {"username": "debtor", "asset_code": "X", "asset_scale": 9}
        )
        assert refused.status == 409
        assert api.call("DELETE", "/accounts/debtor").status == 200
        assert [each["username"] for each in api.get("/accounts").json()] == ["sink"]
        api.create("debtor")
        assert api.get("/accounts/debtor/status").json()["balance"] == "0"
        node.signal(15)
        assert node.wait() == 0
        api.close()
        # The books still add up, and say who took the loss.
        script = """
import sys
from fastilp.storage.kinds import TOMBSTONES
from fastilp.storage.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
ledger.check()
[stone] = TOMBSTONES.items(ledger.store)
written_off = ledger.counters(ledger.internal_id("ABC", 9, "written_off"))
closed = ledger.counters(stone.account_id)
print(stone.username, stone.written_off, written_off["debits_posted"],
      closed["credits_posted"] - closed["debits_posted"])
# A late credit of its engine still has a place.
ledger.transact([(stone.account_id, "settlement", 4)])
ledger.check()
ledger.close()
"""
        shown = node.python(script, str(node.data_dir))
        assert shown.split() == ["debtor", "-15", "15", "0"]


def test_accounts_outlive_the_node(tmp_path: Path) -> None:
    fields = {
        "min_balance": -7,
        "ilp_over_http_incoming_token": "kept-token",
        "ilp_over_http_url": "http://127.0.0.1:1/",
        "ilp_over_http_outgoing_token": "outgoing-secret",
        "allowed_destinations": ["example.node"],
        "routing_relation": "Parent",
    }
    node = NodeProcess(tmp_path / "node", "")
    with node:
        api = Api(node)
        found = api.create("kept", **fields)
        plain = api.create("plain", ilp_over_http_incoming_token="plain-token")
        api.call("PUT", "/rates", {"ABC": "0.1234567890123456789"})
        api.call("PUT", "/routes/static", {"example.far": "kept"})
        api.call("PUT", "/settlement/engines", {"ABC": "http://127.0.0.1:3000"})
        routes = api.get("/routes").json()
        api.close()
        node.signal(15)
        node.wait()
        kept = (node.data_dir / "data.mdb").read_bytes()
        assert b"outgoing-secret" not in kept and b"kept-token" not in kept
        node.start()
        api = Api(node)
        assert api.get("/accounts/kept").json() == found
        assert api.get("/accounts/kept", token="kept-token").status == 200
        assert api.get("/accounts/plain", token="plain-token").json() == plain
        assert api.get("/accounts/plain/status").json()["links"] == {"http-in": True}
        assert api.get("/rates").body == b'{"ABC":0.1234567890123456789}'
        assert api.get("/routes").json() == routes
        assert api.get("/settlement/engines").json() == {"ABC": "http://127.0.0.1:3000"}
        # A packet finds the account whose links were put off.
        answer = node.send("plain", packet(0, "example.nowhere"))
        assert answer[0] == ilp_bytes.REJECT
        # Everything can still be done to it.
        assert api.call("PUT", "/accounts/plain/settings", {"settle_to": 3}).status == 200
        assert api.call("DELETE", "/accounts/plain").status == 200
        assert api.call("DELETE", "/accounts/kept").status == 200
        api.close()
