"""Accounts that are closed, or lose a link, while packets are in flight on a connection that we
dialled; and closing that the disk refuses."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests import ilp_bytes
from tests.api.client import Answer, Api
from tests.helpers import until
from tests.node_process import NodeProcess
from tests.storage import faulty_disk

PREIMAGE = b"p" * 32
CONDITION = ilp_bytes.condition_of(PREIMAGE)
ABC = {"asset_code": "ABC", "asset_scale": 9}


def packet(amount: int, to: str) -> bytes:
    return ilp_bytes.prepare(amount, to, CONDITION, ilp_bytes.now_ms() + 20_000, PREIMAGE)


class LatePayee:
    """Fulfills over HTTP, not before `may_answer` is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        payee = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                payee.asked.set()
                payee.may_answer.wait()
                body = ilp_bytes.fulfill(PREIMAGE)
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "LatePayee":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def dialled(directory: Path, kind: str, payee: LatePayee) -> Iterator[tuple[NodeProcess, Api]]:
    """The node whose account `far` dials another one, behind which the payee is."""
    listen = 'batch = "127.0.0.1:0"'
    with (
        NodeProcess(directory / "far", "", "example.far", listen) as far,
        NodeProcess(directory / "near", "", "example.near") as near,
    ):
        other, api = Api(far), Api(near)
        token = {f"ilp_over_{kind}_incoming_token": "near-secret"}
        other.create("near", ilp_address="example.near", **token)
        other.create("payee", ilp_over_http_url=payee.url)
        urls = {
            "batch": f"ilp+tcp://near@{far.batch}",
            "btp": f"btp+ws://near@{far.http}/accounts/near/ilp/btp",
        }
        secret = {f"ilp_over_{kind}_outgoing_token": "near-secret"}
        api.create("alice", ilp_over_http_incoming_token="alice-token")
        fields = {f"ilp_over_{kind}_url": urls[kind], **secret}
        api.create("far", ilp_address="example.far", **fields)
        until(lambda: api.get("/accounts/far/status").json()["links"].get(kind), near.log)
        yield near, api
        api.close()
        other.close()


@pytest.mark.parametrize("kind", ["batch", "btp"])
@pytest.mark.parametrize("change", ["DELETE", "PUT"])
def test_answers_come_by_a_connection_that_goes(tmp_path: Path, kind: str, change: str) -> None:
    with LatePayee() as payee, dialled(tmp_path, kind, payee) as (near, api):
        answers: list[bytes] = []
        sent = packet(7, "example.far.payee")
        sender = threading.Thread(target=lambda: answers.append(near.send("alice", sent)))
        sender.start()
        payee.asked.wait()
        other = Api(near)
        changed: list[Answer] = []
        body = {"username": "far", "ilp_address": "example.far", **ABC}
        changing = threading.Thread(
            target=lambda: changed.append(
                other.call(change, "/accounts/far", body if change == "PUT" else None)
            )
        )
        changing.start()
        while change == "DELETE" and not api.get("/accounts/far/status").json()["closing"]:
            time.sleep(0.01)
        # Long enough for a connection to be closed, if it were.
        time.sleep(0.3)
        payee.may_answer.set()
        sender.join()
        changing.join()
        other.close()
        assert (answers[0][0], changed[0].status) == (ilp_bytes.FULFILL, 200)
        owed = {"alice": -7} if change == "DELETE" else {"alice": -7, "far": 7}
        assert near.balances() == owed
        near.signal(15)
        assert near.wait() == 0
        near.check_books()
        near.start()


def test_an_account_that_cannot_be_closed_is_open_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", faulty_disk.preload(faulty_disk.compile_shim(tmp_path)))
    monkeypatch.setenv("FASTILP_TEST_DISK", str(tmp_path))
    stall = tmp_path / "stall"
    with NodeProcess(tmp_path / "node", "") as node:
        api, other = Api(node), Api(node)
        api.create("sink", endpoint="loopback", routing_relation="Parent")
        created = api.create("alice", ilp_over_http_incoming_token="alice-token")
        assert api.call("PUT", "/routes/static", {"example.x": "alice"}).status == 200
        routes = api.get("/routes").json()
        stall.touch()
        late: list[Answer] = []
        changing = threading.Thread(
            target=lambda: late.append(other.call("PUT", "/rates", {"ABC": "1"}))
        )
        changing.start()
        until(lambda: api.get("/rates").json() == {"ABC": 1.0}, node.log)
        assert api.call("DELETE", "/accounts/alice").status == 503
        stall.unlink()
        changing.join()
        assert late[0].status == 503
        assert api.get("/accounts/alice", token="alice-token").json() == created
        assert api.get("/routes").json() == routes
        # Until commits are quick again, the switch takes nothing.
        until(lambda: api.get("/health").status == 200, node.log)
        assert node.send("alice", packet(5, "example.node.sink"))[0] == ilp_bytes.FULFILL
        assert node.balances() == {"alice": -5, "sink": 5}
        assert api.call("DELETE", "/accounts/alice").status == 200
        assert "example.x" not in api.get("/routes").json()
        api.close()
        other.close()
        node.signal(15)
        assert node.wait() == 0
        node.check_books()
