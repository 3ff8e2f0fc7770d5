"""Server-sent events of an account."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests import ilp_bytes
from tests.api.client import Api
from tests.node_process import ADMIN_TOKEN, NodeProcess

PREIMAGE = b"e" * 32


class Watch:
    """Events as they come."""

    def __init__(self, node: NodeProcess, username: str, token: str = ADMIN_TOKEN) -> None:
        self.connection = http.client.HTTPConnection(node.http, timeout=30)
        headers = {"Authorization": f"Bearer {token}"}
        self.connection.request("GET", f"/accounts/{username}/events", headers=headers)
        self.response = self.connection.getresponse()

    def next(self) -> tuple[str, Any]:
        name = ""
        while True:
            line = self.response.readline()
            assert line, "the stream has ended"
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                return name, json.loads(value)

    def until(self, name: str) -> Any:
        while True:
            found, data = self.next()
            if found == name:
                return data

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@pytest.fixture
def watched(node: NodeProcess, api: Api) -> Iterator[Watch]:
    api.create(
        "watched",
        ilp_over_http_incoming_token="watched-token",
        ilp_over_btp_incoming_token="watched-btp",
        min_balance=-10,
    )
    api.create("sink", endpoint="loopback")
    watch = Watch(node, "watched", "watched-token")
    yield watch
    watch.close()
    for name in ("watched", "sink"):
        api.call("DELETE", f"/accounts/{name}")


def packet(amount: int) -> bytes:
    condition = ilp_bytes.condition_of(PREIMAGE)
    expires_at_ms = ilp_bytes.now_ms() + 20_000
    return ilp_bytes.prepare(amount, "example.node.sink", condition, expires_at_ms, PREIMAGE)


def test_events_of_an_account(node: NodeProcess, watched: Watch) -> None:
    assert watched.response.headers["content-type"].startswith("text/event-stream")
    # First how things are.
    links = [watched.next() for _ in range(2)]
    assert sorted(data["link"] for _, data in links) == ["btp", "http-in"]
    name, data = watched.next()
    assert (name, data["balance"], data["in_flight_in"]) == ("balance", "0", 0)
    assert node.send("watched", packet(7))[0] == ilp_bytes.FULFILL
    assert watched.until("balance")["balance"] == "-7"
    assert b"T04" in node.send("watched", packet(7))
    limit = watched.until("limit")
    assert limit == {"refused": 1, "last": "exceeds_floor"}


def test_a_stream_ends_with_its_account(node: NodeProcess, api: Api) -> None:
    api.create("brief")
    watch = Watch(node, "brief")
    assert watch.until("balance")["balance"] == "0"
    client = Api(node)
    closing = threading.Thread(target=lambda: client.call("DELETE", "/accounts/brief"))
    closing.start()
    assert watch.until("closed") == {}
    assert watch.response.read().strip() == b""
    closing.join()
    client.close()
    watch.close()


def test_events_are_for_the_holder_and_the_admin(api: Api) -> None:
    api.create("secretive", ilp_over_http_incoming_token="secretive-token")
    assert api.get("/accounts/secretive/events", token="other").status == 401
    assert api.get("/accounts/nobody/events").status == 404
    # One that hangs up is forgotten, and the connection is another's.
    assert api.get("/accounts/secretive").status == 200
