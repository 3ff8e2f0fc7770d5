"""Open accounts of a node as a process, with BTP clients that speak it by hand."""

import asyncio
import contextlib
import time
from pathlib import Path

from tests.helpers import free_port, until
from tests.node_process import NodeProcess
from tests.peers import BtpPeer

CONFIG = """
[open_btp]
template = "wallet"
accounts_max = 1
[[accounts]]
username = "wallet"
asset_code = "ABC"
asset_scale = 9
"""


def came_in(port: int, secret: str) -> bool:
    async def run() -> bool:
        peer = BtpPeer()
        try:
            await peer.connect(port, "anybody", secret)
            await peer.close()
        except (PermissionError, ConnectionError, EOFError):
            peer.stream.close()
            return False
        return True

    return asyncio.run(run())


def test_accounts_that_a_killed_node_left_make_room(tmp_path: Path) -> None:
    port = free_port()
    node = NodeProcess(tmp_path / "node", CONFIG, listen=f'open_btp = "127.0.0.1:{port}"')
    with node:

        async def killed() -> None:
            peer = BtpPeer()
            await peer.connect(port, "anybody", "first")
            # Its record has time to reach the disk: nobody waits for it before money moves.
            await asyncio.sleep(1)
            node.kill()
            with contextlib.suppress(ConnectionError):
                await peer.close()

        asyncio.run(killed())
        node.start()
        assert [name for name in node.balances() if name.startswith("open_")]
        assert not came_in(port, "second")
        until(lambda: came_in(port, "second") or time.sleep(0.1), node.log)
        assert len([name for name in node.balances() if name.startswith("open_")]) == 1
