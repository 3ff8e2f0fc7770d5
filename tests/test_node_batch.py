"""Two whole nodes that speak the batch protocol with each other, over each of its transports."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastilp._core.packet import Fulfill, Reject, decode
from tests.certificates import certificate_file
from tests.helpers import until
from tests.node_process import NodeProcess
from tests.test_node import prepare

FAR = """
[[accounts]]
username = "near"
asset_code = "ABC"
asset_scale = 9
ilp_over_batch_incoming_token = "near-secret"
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
"""
NEAR = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_incoming_token = "alice-token"
[[accounts]]
username = "far"
asset_code = "ABC"
asset_scale = 9
ilp_over_batch_url = "{url}"
ilp_over_batch_outgoing_token = "near-secret"
# The batch protocol wins over this one.
ilp_over_btp_incoming_token = "unused"
[routes]
"example.far" = "far"
"""


def until_up(node: NodeProcess, username: str) -> None:
    def is_up() -> bool:
        accounts = {each["username"]: each for each in node.get("/status")["accounts"]}
        return bool(accounts[username]["links"].get("batch"))

    until(is_up, node.log)


def pay(near: NodeProcess, to: str, amount: int) -> Fulfill | Reject:
    answer = decode(near.send("alice", prepare(to, amount)))
    assert isinstance(answer, Fulfill | Reject)
    return answer


@contextlib.contextmanager
def pair(
    directory: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """The near node, which dials, and the far one."""
    listen = 'batch = "127.0.0.1:0"'
    if kind == "unix":
        listen = f'batch = "unix:{directory / "far.sock"}"'
    elif kind == "tls":
        pem = certificate_file(directory)
        listen += f'\nbatch_tls_certificate = "{pem}"'
        # Read by OpenSSL, for the authorities of the system.
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with NodeProcess(directory / "far", FAR, "example.far", listen) as far:
        place = far.batch.removeprefix("unix:")
        url = f"ilp+{kind}://near@{place}"
        with NodeProcess(directory / "near", NEAR.format(url=url), "example.near") as near:
            until_up(near, "far")
            yield near, far


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
def test_payments_through_two_nodes(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pair(tmp_path, kind, monkeypatch) as (near, far):
        for amount in range(1, 21):
            assert isinstance(pay(near, "example.far.loop", amount), Fulfill)
        refused = pay(near, "example.far.loop.reject.F99", 7)
        assert isinstance(refused, Reject) and refused.code == "F99"
        nowhere = pay(near, "example.far.nobody", 7)
        assert isinstance(nowhere, Reject) and nowhere.code == "F02"
        assert near.balances() == {"alice": -210, "far": 210}
        assert far.balances() == {"near": -210, "loop": 210}
        for node in (near, far):
            node.check_sums()
            assert node.get("/status")["in_flight"] == 0
        links = {e["username"]: e["links"] for e in near.get("/status")["accounts"]}
        # Nobody but the peer can dial what has a token and no URL.
        awaited = {e["username"]: e["links_awaited"] for e in near.get("/status")["accounts"]}
        assert awaited["far"] == ["btp"]
        assert links["far"] == {"batch": True, "btp": False}
        assert near.get("/accounts")[1]["ilp_over_batch_outgoing_token"] == "SECRET"
        for node in (near, far):
            node.signal(signal.SIGTERM)
            assert node.wait() == 0
            assert not [e for e in node.events() if e["level"] == "error"], node.log()
        assert not (tmp_path / "far.sock").exists()


def test_the_far_node_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pair(tmp_path, "unix", monkeypatch) as (near, far):
        assert isinstance(pay(near, "example.far.loop", 3), Fulfill)
        # Its socket stays where it was, and the next one takes it over.
        far.kill()
        assert (tmp_path / "far.sock").exists()
        refused = pay(near, "example.far.loop", 3)
        assert isinstance(refused, Reject) and refused.code == "T01"
        far.start()
        until_up(near, "far")
        assert isinstance(pay(near, "example.far.loop", 4), Fulfill)
        assert near.balances() == {"alice": -7, "far": 7}
        assert far.balances() == {"near": -7, "loop": 7}


def refusal(directory: Path, listen: str) -> str:
    """What a node says that cannot listen there."""
    node = NodeProcess(directory / "node", FAR, "example.far", listen)
    node.spawn()
    assert node.wait() == 1
    return node.log()


def test_addresses_that_cannot_be_listened_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(tmp_path, f'batch = "127.0.0.1:{port}"')
        assert f"[listen.batch]: cannot listen on 127.0.0.1:{port}: another program" in said
        assert "choose another port\n" in said
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(os.fspath(path))
        served.listen()
        said = refusal(tmp_path, f'batch = "unix:{path}"')
        assert "another program listens there; stop it, or choose another path" in said
    (tmp_path / "file").write_text("precious")
    assert "something else of that name" in refusal(tmp_path, f'batch = "unix:{tmp_path}/file"')
    assert (tmp_path / "file").read_text() == "precious"
    assert "there is no folder" in refusal(tmp_path, f'batch = "unix:{tmp_path}/no/sock"')
    too_long = tmp_path / ("x" * 120)
    assert "cannot listen on unix:" in refusal(tmp_path, f'batch = "unix:{too_long}"')


def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    listen = 'batch = "127.0.0.1:0"\nbatch_tls_certificate = "cert.pem"'
    said = refusal(tmp_path, listen)
    path = tmp_path / "node" / "cert.pem"
    assert f"[listen.batch_tls_certificate]: {path} cannot be read: No such file" in said
    path.write_text("nonsense")
    assert f"{path} cannot be used: " in refusal(tmp_path, listen)
    assert not (tmp_path / "node" / "data").exists()
