"""`fastilp run --check`: what would keep a node from starting is said without starting it, and
nothing is changed by asking."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastilp._core.packet import Fulfill, Prepare, decode
from tests.certificates import certificate_file
from tests.cli.command import Done
from tests.node_process import NodeProcess

ACCOUNT = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
"""
MONEY = f"""{ACCOUNT}
ilp_over_http_incoming_token = "alice-token"
[[accounts]]
username = "loop"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
"""


def run_check(*arguments: str) -> Done:
    """As a process: it changes where logs go."""
    done = subprocess.run(
        [sys.executable, "-m", "fastilp", "run", "--check", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def check(folder: Path, text: str) -> Done:
    path = folder / "node.toml"
    path.write_text(text)
    return run_check("--config", str(path))


def pay(node: NodeProcess) -> None:
    packet = Prepare(
        amount=10,
        expires_at=int(time.time() * 1_000) + 20_000,
        execution_condition=hashlib.sha256(bytes(32)).digest(),
        destination="example.node.loop",
        data=b"",
    )
    assert isinstance(decode(node.send("alice", bytes(packet))), Fulfill)


def test_all_right_leaves_nothing_behind(tmp_path: Path) -> None:
    done = check(tmp_path, ACCOUNT)
    assert (done.status, done.stderr) == (0, "")
    assert "1 account, all right" in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["node.toml"]


SERVICE = '[[services]]\nservice = "{}"\naccounts = ["alice"]\n'
NO_CLASS = ("module.py", "x = 1\n")
FAULTS = [
    ('[listen]\nhttp_tls_certificate = "no.pem"\n', "[listen.http_tls_certificate]", "no.pem"),
    (SERVICE.format("missing.py:Rule"), "[services.1.service]", "missing.py"),
    (SERVICE.format("module.py:Rule"), "[services.1.service]", "Rule"),
    (SERVICE.format("no_such_module:Rule"), "[services.1.service]", "no_such_module"),
    ('[node]\ndata_dir = "module.py/data"\n', "[node.data_dir]", "is no directory"),
    ('[node]\ndata_dir = "module.py"\n', "[node.data_dir]", "is no directory"),
]


@pytest.mark.parametrize(("text", "key", "reason"), FAULTS)
def test_what_does_not_start_is_refused(tmp_path: Path, text: str, key: str, reason: str) -> None:
    name, content = NO_CLASS
    (tmp_path / name).write_text(content)
    done = check(tmp_path, text + ACCOUNT)
    assert done.status == 1
    assert key in done.stderr and reason in done.stderr


def test_certificates_are_named_with_their_settings(tmp_path: Path) -> None:
    certificate = certificate_file(tmp_path)
    listen = f'[listen]\nhttp_tls_certificate = "{certificate}"\nhttp_tls_key = "{{}}"\n'
    assert check(tmp_path, listen.format(certificate) + ACCOUNT).status == 0
    done = check(tmp_path, listen.format("absent.pem") + ACCOUNT)
    path = tmp_path / "absent.pem"
    assert f"[listen.http_tls_key]: {path} cannot be read: No such file" in done.stderr
    path.write_text("nonsense")
    done = check(tmp_path, listen.format("absent.pem") + ACCOUNT)
    assert f"{certificate} and {path} cannot be used: " in done.stderr
    assert "[listen.http_tls_certificate and listen.http_tls_key]" in done.stderr


def test_rates_that_are_not_there_are_told(tmp_path: Path) -> None:
    rate = '[exchange_rate]\nprovider = "file"\nfile = "rates.json"\n'
    done = check(tmp_path, rate + ACCOUNT)
    # A node starts with that, and takes the file as soon as it is there.
    assert done.status == 0 and "it starts, but see above" in done.stdout
    assert f"[exchange_rate.file]: {tmp_path / 'rates.json'} cannot be read" in done.stderr
    (tmp_path / "rates.json").write_text('{"ABC": "1.5"}')
    assert check(tmp_path, rate + ACCOUNT).stderr == ""


def test_a_ready_file_without_a_folder(tmp_path: Path) -> None:
    done = run_check("--ready-file", str(tmp_path / "no" / "ready.json"))
    assert done.status == 1 and "there is no folder" in done.stderr


def test_accounts_are_compared_with_the_books(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", MONEY)
    changed = tmp_path / "node" / "changed.toml"
    with node:
        changed.write_text(node.config.read_text().replace("asset_scale = 9", "asset_scale = 6"))
        pay(node)
        # Books that a node has open are left alone.
        done = run_check("--config", str(changed))
        assert done.status == 0
        assert f"is in use by process {node.running().pid}" in done.stderr
    before = {path.name: path.read_bytes() for path in node.data_dir.iterdir()}
    done = run_check("--config", str(node.config))
    assert (done.status, done.stderr) == (0, "")
    done = run_check("--config", str(changed))
    assert done.status == 1
    assert "alice" in done.stderr and "asset" in done.stderr
    after = {path.name: path.read_bytes() for path in node.data_dir.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in ("data.mdb", "secret_seed"))
    node.check_books()
