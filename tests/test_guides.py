"""What documents tell people to type, typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers import free_ports
from tests.node_process import NodeProcess
from tools import run_example

ROOT = Path(__file__).resolve().parent.parent
# The checkout that is tested, and a directory for the files that are made.
SHELL = f"""
set -eu -o pipefail
fastilp() {{ PYTHONPATH={ROOT} {sys.executable} -m fastilp "$@"; }}
"""


def test_two_nodes_and_a_packet_that_pays(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "command-line.md").read_text()
    found = re.search(r"```\n(export .*?)```\n\n(.*)", guide, re.DOTALL)
    assert found is not None
    with (
        NodeProcess(tmp_path / "a", "", "example.node_a") as first,
        NodeProcess(tmp_path / "b", "", "example.node_b") as second,
    ):
        # What is not so on this machine: ports that are free.
        commands = found[1].replace("localhost:7770", first.http)
        commands = commands.replace("localhost:8770", second.http)
        commands = commands.replace("admin-a", "admin").replace("admin-b", "admin")
        done = subprocess.run(
            ["bash", "-c", SHELL + commands], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "ILP_CLI_NODE_URL": f"http://{first.http}"},
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Fulfill" in done.stdout
        alice, bob = done.stdout.splitlines()[-2:]
        assert alice == '{"asset_code":"ABC","balance":-5e-7}' and f"`{alice}` of Alice" in found[2]
        assert bob == '{"asset_code":"ABC","balance":5e-7}' and "`5e-7` of\nBob" in found[2]
        for node in (first, second):
            node.check_sums()


def test_two_nodes_settle_in_a_file() -> None:
    """From the ports of nodes and engines to the rows in the file."""
    ports = ("7770", "7771", "8770", "8771", "3000", "3001")
    instead = {
        f":{port}": f":{free}" for port, free in zip(ports, free_ports(len(ports)), strict=True)
    }
    run_example.run(ROOT / "docs" / "settlement.md", instead)
