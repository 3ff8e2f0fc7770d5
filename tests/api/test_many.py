"""Very many accounts over the API: all are there, pages and scrapes stay small, a restart keeps
them."""

import os
import signal
import threading
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests import ilp_bytes
from tests.api.client import Api
from tests.node_process import NodeProcess

ACCOUNTS = 10_000 if os.environ.get("FASTILP_SOAK") else 480
CONNECTIONS = 16
ASSETS = 40
RELATIONS = ("NonRoutingAccount", "Peer", "Child")
SETTINGS = """
[prometheus]
by_kind = true
[[accounts]]
username = "loop"
asset_code = "A0"
asset_scale = 9
endpoint = "loopback"
"""
SCRAPE_SIZE_MAX = 1_000_000
PREIMAGE = b"m" * 32


def create(node: NodeProcess, first: int, statuses: list[int]) -> None:
    """Every sixteenth account, on a connection of its own."""
    api = Api(node)
    for number in range(first, ACCOUNTS, CONNECTIONS):
        body = {
            "username": f"user_{number:05}",
            "asset_code": f"A{number % ASSETS}",
            "asset_scale": 9,
            "routing_relation": RELATIONS[number % len(RELATIONS)],
            "ilp_over_http_incoming_token": f"user_{number:05}-token",
        }
        statuses.append(api.call("POST", "/accounts", body).status)
    api.close()


def scraped(api: Api) -> set[tuple[str, str]]:
    """The kinds of accounts that are told apart, of a scrape that is small and has no names."""
    text = api.get("/metrics").body
    assert len(text) < SCRAPE_SIZE_MAX
    assert b"user_" not in text
    return {
        (sample.labels["from_asset_code"], sample.labels["from_routing_relation"])
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == "requests_incoming_prepare" and sample.value
    }


def pay(node: NodeProcess, number: int) -> None:
    condition, expires_at_ms = ilp_bytes.condition_of(PREIMAGE), ilp_bytes.now_ms() + 20_000
    packet = ilp_bytes.prepare(1, "example.node.loop", condition, expires_at_ms, PREIMAGE)
    assert node.send(f"user_{number:05}", packet)[0] == ilp_bytes.FULFILL


def names(api: Api) -> list[str]:
    found, path = [], "/accounts?limit=100&username_prefix=user_"
    while path:
        answer = api.get(path)
        assert len(answer.json()) <= 100
        found += [each["username"] for each in answer.json()]
        path = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
    return found


def test_many_accounts(tmp_path: Path) -> None:
    statuses: list[int] = []
    everybody = [f"user_{number:05}" for number in range(ACCOUNTS)]
    with NodeProcess(tmp_path / "node", SETTINGS) as node:
        threads = [
            threading.Thread(target=create, args=(node, first, statuses))
            for first in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * ACCOUNTS
        api = Api(node)
        assert names(api) == everybody
        pay(node, 0)
        assert scraped(api) == {("A0", "NonRoutingAccount")}
        api.close()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        node.check_books()
        node.start()
        api = Api(node)
        assert names(api) == everybody
        # What an account is counted as does not depend on a restart.
        pay(node, 0)
        assert scraped(api) == {("A0", "NonRoutingAccount")}
        api.close()
