"""A hop between two nodes that loses packets: a BTP client of both, written without fastilp.

It runs in a thread with a loop of its own. What is lost is either the Prepare, and nobody hears of
it again, or its answer: then the money has gone on, and the hop has paid for it.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests import ilp_bytes
from tests.ilp_bytes import Packet
from tests.interop.node import Node
from tests.peers import BtpPeer, Held

Loses = Callable[[Packet], bool]


class Losses(NamedTuple):
    """Whether this packet is lost, and how the sender is told: a code, or nothing until it
    expires."""

    prepare: Loses = lambda packet: False
    answer: Loses = lambda packet: False
    code: str = ""


def share(part: float, seed: int = 1) -> Loses:
    """One in so many of those with money, by a generator of its own."""
    source = random.Random(seed)
    return lambda packet: source.random() < part


class LossyHop:
    """Carries Prepares from the account `hop` of `left` to the account `hop` of `right`."""

    def __init__(self, left: Node, right: Node, losses: Losses) -> None:
        self.lost = 0
        self.left, self.right = BtpPeer(), BtpPeer()
        self._nodes = left, right
        self._losses = losses
        self._tasks: set[asyncio.Task[None]] = set()

    def paid(self) -> int:
        """What it has paid on the right and was not paid for on the left."""
        return self.right.books.paid() - self.left.books.earned()

    async def run(self, ready: Callable[[], None], ended: asyncio.Event) -> None:
        for peer, node in zip((self.left, self.right), self._nodes, strict=True):
            await peer.connect(node.port, "hop", "hop_in")
        carrying = asyncio.create_task(self._carry())
        ready()
        await ended.wait()
        carrying.cancel()
        await asyncio.gather(carrying, *self._tasks, return_exceptions=True)
        await self.left.close()
        await self.right.close()

    async def _carry(self) -> None:
        while True:
            held = await self.left.held.get()
            if self._losses.prepare(held.packet):
                self._lose(held)
            else:
                task = asyncio.create_task(self._forward(held))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _forward(self, held: Held) -> None:
        packet = held.packet
        left_ms = packet.expires_at_ms - ilp_bytes.now_ms()
        answer = await self.right.send(
            packet.amount, packet.destination, packet.condition, left_ms, packet.data
        )
        if self._losses.answer(packet):
            self._lose(held)
        elif answer.type == ilp_bytes.FULFILL:
            self.left.answer(held, ilp_bytes.fulfill(answer.fulfillment, answer.data))
        else:
            self.left.answer(
                held,
                ilp_bytes.reject(answer.code, answer.triggered_by, answer.message, answer.data),
            )

    def _lose(self, held: Held) -> None:
        self.lost += 1
        if self._losses.code:
            self.left.answer(held, ilp_bytes.reject(self._losses.code, "test.hop"))


@contextmanager
def lossy_hop(left: Node, right: Node, losses: Losses) -> Iterator[LossyHop]:
    hop = LossyHop(left, right, losses)
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    ready = threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(hop.run(ready.set, ended)))
    thread.start()
    try:
        assert ready.wait(30), "the hop is not connected"
        yield hop
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
