"""A running stream of packets between raw peers, for tests that pull the node from under it.

A sender keeps a window of Prepares open; the fulfillment rides in the data, so the receiver
needs to know nothing else. One in eight is rejected. Amounts are random, by the generator that
the test seeds.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests import ilp_bytes
from tests.ilp_bytes import Packet
from tests.interop.node import Node
from tests.peers import BtpPeer

WINDOW = 32


def receive(packet: Packet) -> bytes:
    """What a receiver answers."""
    if packet.data[0] % 8 == 0:
        return ilp_bytes.reject("F99", "test.receiver")
    return ilp_bytes.fulfill(packet.data)


@dataclass
class Pair:
    """Who sends to whom through the node, each an account of it."""

    sender: str
    receiver: str
    destination: str
    amount_max: int = 2_000_000
    amount_min: int = 2_000


@dataclass
class Traffic:
    """One pair's peers at work, with books that begin empty."""

    pair: Pair
    random: random.Random
    on_answer: Callable[[Packet], None] = lambda packet: None
    sender: BtpPeer = field(default_factory=BtpPeer)
    receiver: BtpPeer = field(default_factory=lambda: BtpPeer(receive))

    async def connect(self, node: Node) -> None:
        for peer, name in ((self.receiver, self.pair.receiver), (self.sender, self.pair.sender)):
            await peer.connect(node.port, name, f"{name}_in")

    async def run(self) -> None:
        """Until the sender's connection ends or this is cancelled."""
        await asyncio.gather(*(self._send() for _ in range(WINDOW)), return_exceptions=True)

    async def _send(self) -> None:
        while not self.sender.closed.is_set():
            fulfillment = self.random.randbytes(32)
            amount = self.random.randint(self.pair.amount_min, self.pair.amount_max)
            condition = ilp_bytes.condition_of(fulfillment)
            answer = self.sender.start(amount, self.pair.destination, condition, data=fulfillment)
            self.on_answer(await answer)

    async def closed(self) -> None:
        """The node has gone, and all that it had sent has been read."""
        await self.sender.closed.wait()
        await self.receiver.closed.wait()
        await self.sender.close()
        await self.receiver.close()
