"""A connector that somebody else started, by URL: a node of ours, of which the tool knows nothing
else."""

from pathlib import Path
from typing import Any

import pytest

from fastilp.errors import FastILPError, UsageError
from fastilp.loadtest.run import Timing, run_target
from fastilp.loadtest.targets.remote import Remote, RemoteTarget, peer_of, transport_of
from fastilp.loadtest.task import Load
from fastilp.ports import free_port
from tests.node_process import NodeProcess

TIMING = Timing(0.1, 0.5)
ACCOUNT = '[[accounts]]\nusername = "{}"\nasset_code = "AAA"\nasset_scale = 9\n'


def run(remote: Remote) -> dict[str, Any]:
    load = Load(transport=transport_of(remote), window=8)
    result = run_target(RemoteTarget(remote), load, TIMING)
    [counts] = result["totals"]
    assert counts["fulfilled"] == counts["sent"] > 0
    return result


@pytest.mark.parametrize("kind", ["http", "btp", "batch"])
def test_the_connector_dials_its_next_hop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    port, batch_port = free_port(), free_port()
    monkeypatch.setenv("FASTILP_LISTEN__BATCH", f"127.0.0.1:{batch_port}")
    path = "/accounts/bob/ilp" if kind == "http" else ""
    scheme = {"http": "http", "btp": "btp+ws", "batch": "ilp+tcp"}[kind]
    accounts = (
        ACCOUNT.format("alice")
        + f'ilp_over_{kind}_incoming_token = "alice-token"\n'
        + ACCOUNT.format("bob")
        + f'ilp_over_{kind}_url = "{scheme}://127.0.0.1:{port}{path}"\n'
        + f'ilp_over_{kind}_outgoing_token = "bob-token"\n'
    )
    with NodeProcess(tmp_path / "node", accounts) as node:
        url = {
            "http": f"http://{node.http}/accounts/alice/ilp",
            "btp": f"btp+ws://{node.http}/accounts/alice/ilp/btp",
            "batch": f"ilp+tcp://alice@127.0.0.1:{batch_port}",
        }[kind]
        remote = Remote(
            url, "example.node.bob.x", "alice-token", listen_port=port, pids=(node.running().pid,)
        )
        result = run(remote)
        assert result["received"]["fulfilled"] == result["totals"][0]["sent"]
        assert result["cpu_us_per_exchange"] > 0
        assert node.balances()["bob"] == result["received"]["amount"]


def test_the_tool_dials_in_as_the_next_hop(tmp_path: Path) -> None:
    accounts = "".join(
        ACCOUNT.format(name) + f'ilp_over_btp_incoming_token = "{name}-token"\n'
        for name in ("alice", "bob")
    )
    with NodeProcess(tmp_path / "node", accounts) as node:
        remote = Remote(
            f"btp+ws://:alice-token@{node.http}/accounts/alice/ilp/btp",
            "example.node.bob.x",
            receiver_url=f"btp+ws://{node.http}/accounts/bob/ilp/btp",
            receiver_token="bob-token",
        )
        assert run(remote)["received"]["fulfilled"] == node.balances()["bob"] // 1000


def test_a_connector_that_answers_by_itself_needs_no_receiver(tmp_path: Path) -> None:
    accounts = (
        ACCOUNT.format("alice")
        + 'ilp_over_http_incoming_token = "alice-token"\n'
        + ACCOUNT.format("loop")
        + 'endpoint = "loopback"\n'
    )
    with NodeProcess(tmp_path / "node", accounts) as node:
        url = f"http://{node.http}/accounts/alice/ilp"
        remote = Remote(url, "example.node.loop.reject.T04", "alice-token")
        result = run_target(RemoteTarget(remote), Load(transport="http", window=4), TIMING)
        assert result["codes"] == {"T04": result["totals"][0]["sent"]}


def test_a_wrong_token_is_said(tmp_path: Path) -> None:
    accounts = ACCOUNT.format("alice") + 'ilp_over_btp_incoming_token = "alice-token"\n'
    with NodeProcess(tmp_path / "node", accounts) as node:
        url = f"btp+ws://:wrong@{node.http}/accounts/alice/ilp/btp"
        with pytest.raises(FastILPError, match="refused|closed"):
            run(Remote(url, "example.node.bob"))


def test_urls() -> None:
    peer = peer_of("ilp+unix:///run/fastilp.sock", "alice", "secret")
    assert (peer.kind, peer.unix, peer.username) == ("batch", "/run/fastilp.sock", "alice")
    peer = peer_of("btp+ws://bob:secret%21@example.test/btp", "", "")
    assert (peer.host, peer.port, peer.path) == ("example.test", 80, "/btp")
    assert (peer.username, peer.token) == ("bob", "secret!")
    assert peer_of("ilp+tcp://example.test", "", "").port == 7767
    for url in ("https://example.test", "example.test:80", "http://a:b"):
        with pytest.raises(UsageError):
            peer_of(url, "", "")
