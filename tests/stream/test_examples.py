"""The examples that docs/payments.md shows, run as it says, through a node."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.node_process import NodeProcess

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
ACCOUNTS = """
[[accounts]]
username = "alice"
asset_code = "ABC"
asset_scale = 9
ilp_over_btp_incoming_token = "alice-token"
[[accounts]]
username = "bob"
asset_code = "ABC"
asset_scale = 9
ilp_over_btp_incoming_token = "bob-token"
"""


def url(node: NodeProcess, username: str) -> str:
    return f"btp+ws://{username}:{username}-token@{node.http}/accounts/{username}/ilp/btp"


def pay(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / "stream_pay.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_one_program_pays_another(tmp_path: Path) -> None:
    receive = [sys.executable, str(EXAMPLES / "stream_receive.py")]
    with NodeProcess(tmp_path / "node", ACCOUNTS) as node:
        with subprocess.Popen(
            [*receive, url(node, "bob")], stdout=subprocess.PIPE, text=True
        ) as receiver:
            assert receiver.stdout is not None
            destination, secret = receiver.stdout.readline().split()
            paid = pay(url(node, "alice"), "1000", destination, secret)
            told = receiver.stdout.read()
        assert receiver.returncode == 0
        assert node.balances() == {"alice": -1_000, "bob": 1_000}
        assert paid.stdout.splitlines()[-1] == "delivered 1000 ABC", paid.stderr
        assert told.splitlines() == ["says for the coffee", "received 1000", "received 1000 in all"]
        failed = pay(url(node, "alice"), "1000", "example.nowhere", "00" * 32)
        assert failed.returncode == 1
        assert failed.stderr.startswith("no way to the receiver: F02")
        assert failed.stderr.endswith("; delivered 0\n")
        nobody = pay(url(node, "alice"), "1", f"http://{node.http}/accounts/nobody/spsp")
        assert nobody.returncode == 1
        assert nobody.stderr.startswith("nothing was sent: ")
        assert nobody.stderr.endswith("answers 404: account `nobody` was not found\n")
        # By SPSP, to an account of the node itself.
        named = pay(url(node, "alice"), "500", f"http://{node.http}/accounts/bob/spsp")
        assert named.stdout.splitlines()[-1] == "delivered 500 ABC", named.stderr
        assert node.balances() == {"alice": -1_500, "bob": 1_500}


@pytest.mark.parametrize("name", ["stream_pay.py", "stream_receive.py"])
def test_the_document_shows_the_examples(name: str) -> None:
    source = (EXAMPLES / name).read_text()
    body = source.partition('"""\n\n')[2].partition("\n\n\nif __name__")[0]
    assert body in (ROOT / "docs" / "payments.md").read_text()
