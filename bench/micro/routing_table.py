"""A large routing table from one node to another over BTP, and what changes cost: run by hand.

    python bench/micro/routing_table.py [routes] [changes per second]

The first node has static routes to a child, so it announces them all to the second, which is its
peer. Printed: seconds until the second knows them, CPU and memory of both for it; then the CPU of a
node per second while a peer changes routes at a rate, and while it changes none.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from fastilp._core.packet import Fulfill
from fastilp.control import ccp, ildcp
from tests.interop.node import Node, account, running
from tests.peers import BtpPeer

_TICKS = os.sysconf("SC_CLK_TCK")
_SECONDS = 10.0
_CHANGES_AT_ONCE = 100


def cpu_seconds(node: Node) -> float:
    fields = Path(f"/proc/{node.running().popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def nodes(directory: Path, count: int) -> tuple[Node, Node]:
    kid = account("kid", routing_relation="Child", endpoint="loopback")
    routes = {f"test.far{number:06}.some.node": "kid" for number in range(count)}
    far = Node(
        directory / "far",
        "test.far",
        [kid, account("near", routing_relation="Peer")],
        routes=routes,
    )
    url = f"btp+ws://127.0.0.1:{far.port}/accounts/near/ilp/btp"
    back = account(
        "far", routing_relation="Peer", ilp_over_btp_url=url, ilp_over_btp_outgoing_token="near_in"
    )
    changer = account("changer", routing_relation="Peer")
    return far, Node(directory / "near", "test.near", [back, changer])


def transfer(far: Node, near: Node, count: int) -> dict[str, object]:
    far.start()
    cpu_far, mib_far = cpu_seconds(far), far.resident_mib()
    near.launch()
    near.wait_ready()
    began, cpu_near, mib_near = time.monotonic(), cpu_seconds(near), near.resident_mib()
    while near.get("/routes/neighbours")["far"]["learned"] <= count:
        time.sleep(0.05)
    took = time.monotonic() - began
    return {
        "routes": count,
        "seconds": round(took, 2),
        "receiver_cpu_us_per_route": round((cpu_seconds(near) - cpu_near) / count * 1e6, 1),
        "sender_cpu_us_per_route": round((cpu_seconds(far) - cpu_far) / count * 1e6, 1),
        "receiver_bytes_per_route": round((near.resident_mib() - mib_near) * 2**20 / count),
        "sender_bytes_per_route": round((far.resident_mib() - mib_far) * 2**20 / count),
    }


async def changes(near: Node, rate: int) -> dict[str, object]:
    """The same table again and again with other paths: each route is a change."""
    peer = BtpPeer(lambda packet: bytes(Fulfill(fulfillment=bytes(32))))
    await peer.connect(near.port, "changer", "changer_in")
    idle = cpu_seconds(near)
    await asyncio.sleep(_SECONDS)
    idle = cpu_seconds(near) - idle
    busy, began, epoch = cpu_seconds(near), time.monotonic(), 0
    while time.monotonic() - began < _SECONDS:
        routes = [
            ccp.Route(
                f"test.change{number % 5_000:05}.x",
                (f"test.hop{number}", f"test.change{number % 5_000:05}.x"),
                bytes(32),
            )
            for number in range(epoch * _CHANGES_AT_ONCE, (epoch + 1) * _CHANGES_AT_ONCE)
        ]
        update = ccp.RouteUpdate(
            b"c" * 16, epoch + 1, epoch, epoch + 1, 30_000, "test.changer", routes
        )
        peer.books.sent.clear()
        data = ccp.encode_update(update)
        answer = await peer.start(0, ccp.UPDATE, ildcp.CONDITION, data=data)
        assert not answer.code, answer
        epoch += 1
        due = began + epoch * _CHANGES_AT_ONCE / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    count = epoch * _CHANGES_AT_ONCE
    busy = cpu_seconds(near) - busy
    await peer.close()
    return {
        "changes_per_second": round(count / _SECONDS),
        "cpu_percent_idle": round(idle / _SECONDS * 100, 1),
        "cpu_percent_changing": round(busy / _SECONDS * 100, 1),
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rate = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    with tempfile.TemporaryDirectory() as directory:
        far, near = nodes(Path(directory), count)
        with running():
            try:
                print(json.dumps(transfer(far, near, count)))
                print(json.dumps(asyncio.run(changes(near, rate))))
            finally:
                for node in (near, far):
                    if node.process is not None:
                        node.kill()


if __name__ == "__main__":
    main()
