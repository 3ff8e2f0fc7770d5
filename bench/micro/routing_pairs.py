"""What a peer's changes of routes cost everybody else's packets: run by hand.

    python bench/micro/routing_pairs.py [pairs] [changes per second]

Packets go through a node over the batch protocol as fast as they can, in pairs of runs with and
without a peer that changes routes at a rate. Printed: CPU per exchange with changes, as a multiple
of that without, for each pair, and the median.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from fastilp._core.packet import Fulfill
from fastilp.control import ccp, ildcp
from tests.interop.node import Node, account, running
from tests.interop.processes import free_port
from tests.peers import BtpPeer

_SECONDS = "2"
_AT_ONCE = 100
_PREFIXES = 5_000


async def change(node: Node, rate: int, stop: threading.Event) -> None:
    """Another path for every prefix, again and again."""
    peer = BtpPeer(lambda packet: bytes(Fulfill(fulfillment=bytes(32))))
    await peer.connect(node.port, "changer", "changer_in")
    table, began, epoch = os.urandom(16), time.monotonic(), 0
    while not stop.is_set():
        routes = []
        for number in range(epoch * _AT_ONCE, (epoch + 1) * _AT_ONCE):
            prefix = f"test.change{number % _PREFIXES:05}.x"
            routes.append(ccp.Route(prefix, (f"test.hop{number}", prefix), bytes(32)))
        update = ccp.RouteUpdate(table, epoch + 1, epoch, epoch + 1, 30_000, "test.hop", routes)
        peer.books.sent.clear()
        data = ccp.encode_update(update)
        answer = await peer.start(0, ccp.UPDATE, ildcp.CONDITION, data=data)
        assert not answer.code, answer
        epoch += 1
        await asyncio.sleep(max(0.0, began + epoch * _AT_ONCE / rate - time.monotonic()))
    await peer.close()


def cpu_us_per_exchange(node: Node, port: int, results: Path) -> float:
    url = f"ilp+tcp://127.0.0.1:{port}"
    options = {
        "url": url, "username": "alice", "token": "alice_b", "destination": "test.node.bob.x",
        "receiver-url": url, "receiver-username": "bob", "receiver-token": "bob_b",
        "pid": str(node.running().popen.pid), "duration": _SECONDS, "warm-up": "1",
        "json": str(results),
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "fastilp", "loadtest", "run", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [entry] = json.loads(results.read_text())["entries"]
    return float(entry["runs"][0]["cpu_us_per_exchange"])


def measure(node: Node, port: int, rate: int, results: Path) -> float:
    stop = threading.Event()
    changing = threading.Thread(target=lambda: asyncio.run(change(node, rate, stop)))
    if rate:
        changing.start()
    try:
        return cpu_us_per_exchange(node, port, results)
    finally:
        stop.set()
        if rate:
            changing.join()


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    rate = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    port = free_port()
    accounts = [
        account("alice", ilp_over_batch_incoming_token="alice_b"),
        account("bob", ilp_over_batch_incoming_token="bob_b"),
        account("changer", routing_relation="Peer"),
    ]
    with tempfile.TemporaryDirectory() as directory:
        listen = {"batch": f"127.0.0.1:{port}"}
        node = Node(Path(directory) / "node", "test.node", accounts, listen=listen)
        results = Path(directory) / "results.json"
        ratios = []
        with running(node):
            for number in range(pairs):
                # Whoever is first has the colder caches.
                rates = (0, rate) if number % 2 else (rate, 0)
                found = {each: measure(node, port, each, results) for each in rates}
                ratios.append(found[rate] / found[0])
    print(json.dumps({"ratios": sorted(round(each, 3) for each in ratios)}))
    print(json.dumps({"median": round(statistics.median(ratios), 3)}))


if __name__ == "__main__":
    main()
