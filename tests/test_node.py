"""A whole node as a process: payments over real sockets, shutdown, crash, and what it refuses."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from tests.helpers import until
from tests.node_process import NodeProcess
from tests.storage import faulty_disk

CONDITION = sha256(bytes(32)).digest()
ACCOUNTS = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_incoming_token = "alice-token"
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
"""


def prepare(destination: str, amount: int = 10, seconds: float = 20.0) -> bytes:
    return bytes(
        Prepare(
            amount=amount,
            expires_at=int((time.time() + seconds) * 1_000),
            execution_condition=CONDITION,
            destination=destination,
        )
    )


def pay(node: NodeProcess, destination: str, amount: int = 10) -> Fulfill | Reject:
    answer = decode(node.send("alice", prepare(destination, amount)))
    assert isinstance(answer, Fulfill | Reject)
    return answer


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path / "node", ACCOUNTS) as running:
        yield running


def test_payment_and_clean_restart(node: NodeProcess) -> None:
    assert isinstance(pay(node, "example.node.loop"), Fulfill)
    refused = pay(node, "example.node.loop.reject.F99")
    assert isinstance(refused, Reject) and refused.code == "F99"
    assert node.get("/")["status"] == "Ready"
    assert node.get("/accounts/alice/balance") == {"asset_code": "ABC", "balance": -1e-8}
    assert node.get("/accounts/alice/balance", "alice-token")["balance"] == -1e-8
    assert node.status_of("/accounts", "wrong") == 401
    assert node.status_of("/nothing", "admin") == 404
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    assert {event["level"] for event in node.events()} == {"info"}
    assert not (node.directory / "ready.json").exists()
    node.start()
    assert node.balances() == {"alice": -10, "loop": 10}
    assert [e for e in node.events() if e["level"] != "info"] == []


def test_no_packet_is_logged(node: NodeProcess) -> None:
    before = len(node.events())
    for _ in range(20):
        pay(node, "example.node.loop")
        pay(node, "example.node.nobody")
    assert len(node.events()) == before


def test_interrupt_stops_too(node: NodeProcess) -> None:
    node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert node.events()[-1]["message"] == "stopped"


def in_flight(
    node: NodeProcess, seconds: float, destination: str = "example.node.loop.ignore"
) -> tuple[threading.Thread, list[bytes]]:
    """Send a Prepare that nobody answers, and return when the node holds it."""
    answers: list[bytes] = []
    packet = prepare(destination, 7, seconds)

    def send() -> None:
        try:
            answers.append(node.send("alice", packet))
        except OSError:
            pass

    thread = threading.Thread(target=send)
    thread.start()
    # What the node itself asks its neighbours is in flight too, and is nobody's money.
    while int(node.get("/accounts/alice/status")["counters"]["debits_pending"]) == 0:
        time.sleep(0.01)
    return thread, answers


def test_shutdown_finishes_what_is_in_flight(node: NodeProcess) -> None:
    thread, answers = in_flight(node, 3.0)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    thread.join()
    [packet] = answers
    answer = decode(packet)
    assert isinstance(answer, Reject) and answer.code == "R00"
    node.start()
    assert node.balances() == {"alice": 0, "loop": 0}
    assert [e for e in node.events() if e["level"] != "info"] == []


def test_shutdown_is_bounded_and_the_rest_is_reported(node: NodeProcess) -> None:
    node.signal(signal.SIGTERM)
    node.wait()
    node.config.write_text(node.config.read_text().replace("[node]", "[node]\ndrain_max_ms = 200"))
    node.start()
    thread, _ = in_flight(node, 25.0)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    thread.join()
    assert node.events()[-1]["left"] == 1
    node.start()
    assert node.balances() == {"alice": 0, "loop": 0}
    report = {e["name"]: e for e in node.events() if "in_flight_out" in e}
    assert report["loop"]["in_flight_out"] == report["alice"]["in_flight_in"] == 7


def test_shutdown_says_what_it_waits_for(node: NodeProcess) -> None:
    thread, _ = in_flight(node, 3.0)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    thread.join()
    waiting = [event for event in node.events() if event["message"] == "still draining"]
    assert waiting and waiting[0]["in_flight"] == 1 and waiting[0]["pending_in"] == {"alice": "7"}


def test_a_new_ledger_is_said_once(node: NodeProcess) -> None:
    new = [event for event in node.events() if event["message"] == "a new ledger was created"]
    assert [event["data_dir"] for event in new] == [str(node.data_dir)]
    node.signal(signal.SIGTERM)
    node.wait()
    node.start()
    assert "a new ledger" not in node.log()


def test_a_node_without_accounts_says_so(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", "") as node:
        assert "there are no accounts" in node.log()


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """The port of somebody who takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_shutdown_rejects_what_http_peers_owe(tmp_path: Path) -> None:
    with silent_server() as port:
        far = PEER.format(
            username="far",
            link=f'ilp_over_http_url = "http://127.0.0.1:{port}/ilp"',
            prefix="example.far",
        )
        with NodeProcess(tmp_path / "node", ACCOUNTS + far) as node:
            node.signal(signal.SIGTERM)
            node.wait()
            text = node.config.read_text()
            node.config.write_text(text.replace("[node]", "[node]\ndrain_max_ms = 200"))
            node.start()
            thread, answers = in_flight(node, 25.0, "example.far.bob")
            node.signal(signal.SIGTERM)
            assert node.wait() == 0
            thread.join()
            answer = decode(answers[0])
            assert isinstance(answer, Reject) and answer.code == "T01"
            assert node.events()[-1]["message"] == "stopped"
            node.start()
            assert node.balances() == {"alice": 0, "loop": 0, "far": 0}
            assert [e for e in node.events() if e["level"] != "info"] == []


def test_shutdown_reports_fulfills_that_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", faulty_disk.preload(faulty_disk.compile_shim(tmp_path)))
    monkeypatch.setenv("FASTILP_TEST_DISK", str(tmp_path))
    with NodeProcess(tmp_path / "node", ACCOUNTS) as node:
        node.signal(signal.SIGTERM)
        node.wait()
        text = node.config.read_text()
        node.config.write_text(text.replace("[node]", "[node]\ndrain_max_ms = 200"))
        node.start()
        (tmp_path / "stall").touch()
        thread = threading.Thread(target=lost_payment, args=(node,))
        thread.start()
        while node.balances()["alice"] == 0:
            time.sleep(0.01)
        node.signal(signal.SIGTERM)
        # Alice is hung up on; then only the disk is waited for.
        thread.join()
        time.sleep(0.5)
        (tmp_path / "stall").unlink()
        assert node.wait() == 0
        assert node.events()[-1]["left"] == 1
        node.start()
        assert node.balances() == {"alice": -10, "loop": 10}


def lost_payment(node: NodeProcess) -> None:
    with pytest.raises(OSError):
        pay(node, "example.node.loop")


def test_hang_up_of_a_node_that_starts(tmp_path: Path) -> None:
    """Settings are not read again, and the node lives."""
    node = NodeProcess(tmp_path / "node", ACCOUNTS)
    ready = tmp_path / "ready.json"
    node.spawn("--ready-file", str(ready))
    until(lambda: "a new ledger was created" in node.log(), node.log)
    node.signal(signal.SIGHUP)
    until(ready.exists, node.log)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0


def test_second_signal_ends_at_once(node: NodeProcess) -> None:
    thread, _ = in_flight(node, 25.0)
    node.signal(signal.SIGTERM)
    while "draining" not in node.log():
        time.sleep(0.01)
    node.signal(signal.SIGTERM)
    assert node.wait() == 130
    thread.join()


def test_kill_keeps_balances_and_reports(node: NodeProcess) -> None:
    thread, _ = in_flight(node, 25.0)
    # A Fulfill leaves after its commit, and what was sent before it is in an earlier one.
    for _ in range(5):
        assert isinstance(pay(node, "example.node.loop"), Fulfill)
    node.kill()
    thread.join()
    node.start()
    assert node.balances() == {"alice": -50, "loop": 50}
    report = {e["name"]: e for e in node.events() if "in_flight_out" in e}
    assert report["loop"]["in_flight_out"] == 7
    assert report["alice"]["in_flight_in"] == 7


def test_second_node_on_one_directory(node: NodeProcess) -> None:
    with NodeProcess(node.directory / "second", ACCOUNTS) as second:
        second.kill()
        second.config.write_text(node.config.read_text())
        second.spawn()
        assert second.wait() == 1
        assert str(node.data_dir) in second.log()
        assert "another node" in second.log()
        assert "Traceback" not in second.log()
    assert isinstance(pay(node, "example.node.loop"), Fulfill)


def test_taken_port(node: NodeProcess, tmp_path: Path) -> None:
    second = NodeProcess(tmp_path / "second", ACCOUNTS)
    second.spawn("--http", node.http)
    assert second.wait() == 1
    assert f"[listen.http]: cannot listen on {node.http}: another program" in second.log()
    # Nothing was begun, so there is nothing to end and nothing left behind.
    assert "draining" not in second.log() and not second.data_dir.exists()
    assert "Traceback" not in second.log()


def test_bad_settings(tmp_path: Path) -> None:
    bad = NodeProcess(tmp_path / "node", '[rates]\nABC = "0"\n')
    bad.spawn()
    assert bad.wait() == 1
    assert "[rates.ABC]" in bad.log() and "greater than zero" in bad.log()
    assert not bad.data_dir.exists()


def test_asset_that_changed(node: NodeProcess) -> None:
    pay(node, "example.node.loop")
    node.signal(signal.SIGTERM)
    node.wait()
    text = node.config.read_text()
    node.config.write_text(text.replace("asset_scale = 9", "asset_scale = 6", 1))
    node.spawn()
    assert node.wait() == 1
    assert "accounts.alice" in node.log() and "Traceback" not in node.log()


def test_account_that_left_the_settings(node: NodeProcess) -> None:
    pay(node, "example.node.loop")
    node.signal(signal.SIGTERM)
    node.wait()
    text = node.config.read_text()
    node.config.write_text(text.replace('"loop"', '"other"'))
    node.start()
    [said] = [event for event in node.events() if event["level"] == "warning"]
    assert (said["account"], said["balance"], said["asset"]) == ("loop", "10", "ABC/9")
    assert node.balances() == {"alice": -10, "other": 0}
    node.signal(signal.SIGTERM)
    node.wait()
    node.config.write_text(text)
    node.start()
    assert node.balances() == {"alice": -10, "loop": 10}


def test_settings_without_effect_and_the_seed_are_said(tmp_path: Path) -> None:
    config = ACCOUNTS + 'settlement_engine_url = "http://127.0.0.1:1/"\n'
    with NodeProcess(tmp_path / "node", config) as node:
        said = {event["message"]: event for event in node.events()}
        assert "settlement engines cannot reach the node: set listen.settlement" in said
        assert any(message.startswith("secret_seed generated") for message in said)


def test_unreachable_peers_stop_nothing(tmp_path: Path) -> None:
    # Port 1 of this host is nobody's.
    config = f"""{ACCOUNTS}
[[accounts]]
username = "over_http"
asset_code = "ABC"
asset_scale = 9
ilp_over_http_url = "http://127.0.0.1:1/ilp"
[[accounts]]
username = "over_btp"
asset_code = "ABC"
asset_scale = 9
ilp_over_btp_url = "btp+ws://127.0.0.1:1/"
[[accounts]]
username = "nowhere"
asset_code = "ABC"
asset_scale = 9
"""
    with NodeProcess(tmp_path / "node", config) as node:
        for username in ("over_http", "over_btp", "nowhere"):
            answer = pay(node, f"example.node.{username}")
            # Where there is no link, packets end here, if they are a payment.
            code = "F06" if username == "nowhere" else "T01"
            assert isinstance(answer, Reject) and answer.code == code, username
        assert isinstance(pay(node, "example.node.loop"), Fulfill)
        node.signal(signal.SIGTERM)
        assert node.wait() == 0


PEER = """
[[accounts]]
username = "{username}"
asset_code = "ABC"
asset_scale = 9
routing_relation = "Peer"
{link}
[routes]
"{prefix}" = "{username}"
"""


def link_up(node: NodeProcess, username: str) -> None:
    while not next(
        each["links"]["btp"]
        for each in node.get("/status")["accounts"]
        if each["username"] == username
    ):
        time.sleep(0.02)


def test_two_nodes_over_btp(tmp_path: Path) -> None:
    link = 'ilp_over_btp_incoming_token = "secret"'
    accounts = ACCOUNTS + PEER.format(username="first", link=link, prefix="example.first")
    with NodeProcess(tmp_path / "second", accounts, "example.second") as second:
        url = f"btp+ws://{second.http}/accounts/first/ilp/btp"
        link = f'ilp_over_btp_url = "{url}"\nilp_over_btp_outgoing_token = "secret"'
        accounts = ACCOUNTS + PEER.format(username="second", link=link, prefix="example.second")
        with NodeProcess(tmp_path / "first", accounts, "example.first") as first:
            link_up(first, "second")
            assert isinstance(pay(first, "example.second.loop"), Fulfill)
            # The dialled connection carries the other direction too.
            assert isinstance(pay(second, "example.first.loop", 3), Fulfill)
            assert first.balances() == {"alice": -10, "loop": 3, "second": 7}
            assert second.balances() == {"alice": -3, "loop": 10, "first": -7}
            second.signal(signal.SIGTERM)
            assert second.wait() == 0
            answer = pay(first, "example.second.loop")
            assert isinstance(answer, Reject) and answer.code == "T01"


def test_two_nodes_over_http(tmp_path: Path) -> None:
    link = 'ilp_over_http_incoming_token = "secret"'
    accounts = ACCOUNTS + PEER.format(username="first", link=link, prefix="example.first")
    with NodeProcess(tmp_path / "second", accounts, "example.second") as second:
        url = f"http://{second.http}/accounts/first/ilp"
        link = f'ilp_over_http_url = "{url}"\nilp_over_http_outgoing_token = "secret"'
        accounts = ACCOUNTS + PEER.format(username="second", link=link, prefix="example.second")
        with NodeProcess(tmp_path / "first", accounts, "example.first") as first:
            assert isinstance(pay(first, "example.second.loop"), Fulfill)
            refused = pay(first, "example.second.loop.reject.T04")
            assert isinstance(refused, Reject)
            assert (refused.code, refused.triggered_by) == ("T04", "example.second")
            assert first.balances() == {"alice": -10, "loop": 0, "second": 10}


def test_status_command_and_backup(node: NodeProcess) -> None:
    pay(node, "example.node.loop")

    def fastilp(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fastilp", *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    # A slash too many is no other address.
    shown = fastilp("status", "--url", f"http://{node.http}/", "--token", "admin")
    assert shown.returncode == 0, shown.stderr
    assert "alice" in shown.stdout and "-0.000000010" in shown.stdout
    assert "loopback up" in shown.stdout
    refused = fastilp("status", "--url", f"http://{node.http}", "--token", "wrong")
    assert (refused.returncode, "401" in refused.stderr) == (1, True)
    copy = node.directory / "copy"
    copied = fastilp("backup", "--config", str(node.config), str(copy))
    assert copied.returncode == 0, copied.stderr
    assert stat.S_IMODE((copy / "data.mdb").stat().st_mode) == 0o600
    elsewhere = fastilp("status", "--url", f"http://{node.http}/accounts", "--token", "admin")
    assert elsewhere.returncode == 1 and "Traceback" not in elsewhere.stderr
    pay(node, "example.node.loop")
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    gone = fastilp("status", "--url", f"http://{node.http}", "--token", "admin")
    assert (gone.returncode, "no node answers" in gone.stderr) == (1, True)
    again = fastilp("backup", "--config", str(node.config), str(copy))
    assert again.returncode == 1 and "Traceback" not in again.stderr
    seed = (node.data_dir / "secret_seed").read_text()
    node.start("--data-dir", str(copy))
    assert node.balances() == {"alice": -10, "loop": 10}
    assert (copy / "secret_seed").read_text() == seed


def test_status_leaves_no_digit_out(node: NodeProcess) -> None:
    amount = 123_456_789_012_345_678
    pay(node, "example.node.loop", amount)
    done = subprocess.run(
        [sys.executable, "-m", "fastilp", "status", "--config", str(node.config),
         "--url", f"http://{node.http}"],
        env={**os.environ, "COLUMNS": "20"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [alice] = [line for line in done.stdout.splitlines() if line.startswith(" alice")]
    assert "-123,456,789.012345678" in alice and "http-in configured" in alice
    assert "…" not in done.stdout


def test_failed_login_is_a_warning(node: NodeProcess) -> None:
    for _ in range(3):
        with pytest.raises(urllib.error.HTTPError):
            node.request("/accounts/alice/ilp", "wrong", prepare("example.node.loop"))
    [said] = [event for event in node.events() if event["level"] == "warning"]
    assert (said["account"], said["protocol"]) == ("alice", "http")


def test_demo(node: NodeProcess, tmp_path: Path) -> None:
    arguments = ["--once", "--packets", "500", "--http", node.http]
    done = subprocess.run(
        [sys.executable, "-m", "fastilp", "demo", *arguments, "--data-dir", str(tmp_path / "demo")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{node.http} is taken" in done.stdout
    assert "500 of 500 packets fulfilled" in done.stdout
    # 500 packets of 1,000,000 units, at 0.8 and less 0.2 %.
    assert "alice paid 0.500000000 USD, bob got 0.399200000 EUR" in done.stdout
    assert done.stdout.count("debits equal credits") == 2
    assert "bob himself counted" not in done.stdout
