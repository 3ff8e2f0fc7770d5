"""Counts what a turn of a switch between two BTP connections asks of malloc, Python's objects
included: prints one JSON object, packets in a turn -> allocations of such a turn.

Runs with PYTHONMALLOC=malloc and count_allocations.c preloaded. steady_state.py COMMITS, where
"memory" keeps nothing and anything else is the directory of a ledger.
"""

import ctypes
import gc
import hashlib
import json
import sys
from typing import Any

from fastilp import Ledger, Switch
from fastilp._core import codec_btp, codec_websocket
from fastilp._core.connection_btp import READ_MORE
from tests import ilp_bytes

PREIMAGE = b"p" * 32
SIZES = (10, 1_000)
# The first turns let buffers and tables reach their size.
WARM, COUNTED = 6, 4
NOW_MS = 1_800_000_000_000
RESPONSE, MESSAGE = 1, 6

allocations = ctypes.CDLL(None).allocations
allocations.restype = ctypes.c_ulong


def frames(kind: int, packets: list[tuple[int, bytes]]) -> bytes:
    return b"".join(
        codec_btp.frame(kind, number, packet, b"\1\2\3\4") for number, packet in packets
    )


class Node:
    def __init__(self, path: str) -> None:
        self.ledger = Ledger.memory() if path == "memory" else Ledger.open(path)
        self.switch = Switch(self.ledger, "g.hub")
        self.now_ms = NOW_MS
        self.links: dict[str, Any] = {}
        self.sockets: dict[str, Any] = {}
        for name in ("alice", "bob"):
            account = self.switch.add_account(name, asset_code="USD", asset_scale=9)
            self.switch.set_route(f"g.hub.{name}", account)
            self.links[name] = self.switch.open_link(account, kind="btp")
            self.sockets[name] = self.switch.accept("btp")
            self.sockets[name].bind(self.links[name], masked=False)
        self.count = 0
        condition = hashlib.sha256(PREIMAGE).digest()
        self.prepare = ilp_bytes.prepare(5, "g.hub.bob", condition, NOW_MS + 20_000, b"data")

    def turn(self, name: str, stream: bytes, answer: str) -> bytes:
        """What a shell does: bytes into the core, a turn, bytes out; counted."""
        view = memoryview(stream)
        socket, link = self.sockets[name], self.links[answer]
        self.now_ms += 1
        gc.disable()
        before = allocations()
        with socket.get_buffer(-1) as buffer:
            buffer[: len(view)] = view
        reading = socket.buffer_updated(len(view))
        self.switch.process(self.now_ms)
        out: bytes = link.take_bytes()
        self.count += allocations() - before
        gc.enable()
        assert reading == READ_MORE
        return out

    def exchange(self, size: int) -> None:
        asked = frames(MESSAGE, [(number, self.prepare) for number in range(size)])
        out = self.turn("alice", asked, "bob")
        fulfill = ilp_bytes.fulfill(PREIMAGE)
        answers = frames(RESPONSE, [(number, fulfill) for number in request_ids(out)])
        out = self.turn("bob", answers, "alice")
        while self.switch.waiting():
            self.ledger.store.wait(self.ledger.ticket)
            self.switch.process(self.now_ms)
            out += self.links["alice"].take_bytes()
        assert len(request_ids(out)) == size


def request_ids(stream: bytes) -> list[int]:
    """Of whole frames as a server writes them."""
    found = []
    at = 0
    while at < len(stream):
        size, head = stream[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(stream[at + 2 : at + 4], "big"), 4
        assert stream[at] == 0x80 | codec_websocket.BINARY
        found.append(int.from_bytes(stream[at + head + 1 : at + head + 5], "big"))
        at += head + size
    return found


def main() -> None:
    counted = {}
    node = Node(sys.argv[1])
    for size in SIZES:
        for _ in range(WARM):
            node.exchange(max(SIZES))
        node.exchange(size)
        node.count = 0
        for _ in range(COUNTED):
            node.exchange(size)
        counted[size] = node.count / COUNTED
    print(json.dumps(counted))


main()
