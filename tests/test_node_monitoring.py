"""Monitoring of a whole node as a process: scrapes, alerts, records, over real HTTP."""

import json
import time
import urllib.request
from hashlib import sha256
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fastilp._core.packet import Fulfill, Prepare, decode
from tests.api.client import Api
from tests.helpers import until
from tests.node_process import NodeProcess

SETTINGS = """
[prometheus]
bind_address = "127.0.0.1:0"
[packet_records]
file = "packets.jsonl"
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
min_balance = -20
ilp_over_http_incoming_token = "alice-token"
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
"""


def pay(node: NodeProcess, amount: int) -> None:
    prepare = Prepare(
        amount=amount,
        expires_at=int((time.time() + 20) * 1_000),
        execution_condition=sha256(bytes(32)).digest(),
        destination="example.node.loop",
    )
    assert isinstance(decode(node.send("alice", bytes(prepare))), Fulfill)


def names(text: str) -> set[str]:
    return {
        sample.name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.value
    }


def test_scrapes_alerts_and_records(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", SETTINGS) as node:
        pay(node, 19)
        own = node.request("/metrics", "admin").decode()
        assert "fastilp_packets_total" in names(own)
        assert node.status_of("/metrics", "wrong") == 401
        address = json.loads((tmp_path / "node" / "ready.json").read_text())["prometheus"]
        for path in ("/", "/metrics"):
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                found = names(answer.read().decode())
            assert {"requests_incoming_fulfill", "process_resident_memory_bytes"} <= found
        assert node.status_of("/alerts", "wrong") == 401
        until(lambda: node.get("/alerts"), node.log)
        alerts = node.get("/alerts")
        assert [(one["kind"], one["account"]) for one in alerts] == [("near_limit", "alice")]
        assert alerts[0]["active"] is True
        api = Api(node)
        assert api.call("PATCH", "/accounts/alice", {"min_balance": None}).status == 200
        api.close()
        until(lambda: not node.get("/alerts")[0]["active"], node.log)
        records = tmp_path / "node" / "packets.jsonl"
        until(lambda: records.exists() and records.read_text(), node.log)
        assert json.loads(records.read_text())["nextHopAmount"] == "19"
