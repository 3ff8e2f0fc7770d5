"""STREAM packets that end at an account of ours: CPU per received packet, crypto timed apart.

A payer's Prepares come in on a link of a switch with a ledger in memory, are booked, decrypted,
fulfilled and answered. Timed is all of it: `receive`, `process`, the receiver, `process` again;
`take` is apart. In the same rounds the calls of the crypto libraries that a packet needs are timed
by themselves: decrypt, the fulfillment, its hash, encrypt.
"""

import gc
import time
from hashlib import sha256
from statistics import median

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Prepare
from fastilp._core.stream import encode_packet
from fastilp._core.stream_frames import StreamMoney
from fastilp._core.switch import Switch
from fastilp.endpoints.stream.crypto import Keys
from fastilp.endpoints.stream.receiver import Incoming, StreamReceiver
from fastilp.endpoints.stream.tokens import Credentials

ADDRESS = "g.hub"
PACKETS = 4_096
ROUNDS = 15
AMOUNT = 100
NOW_MS = 1_800_000_000_000
# What an answer says: StreamMaxMoney with its totals, and the header.
ANSWER_SIZE = 26

Batch = list[tuple[int, bytes]]


class Receiving:
    """A switch where alice pays bob, who has `connections` connections."""

    def __init__(self, connections: int) -> None:
        self.switch = Switch(Ledger.memory(), ADDRESS)
        alice = self.switch.add_account("alice", asset_code="USD", asset_scale=9)
        bob = self.switch.add_account("bob", asset_code="USD", asset_scale=9)
        self.switch.set_route(f"{ADDRESS}.bob", bob)
        self.link: Link = self.switch.open_link(alice)
        self.fulfilled = 0
        self.receiver = StreamReceiver(
            self.switch, bytes(32), lambda: NOW_MS, lambda: None, self._received
        )
        paid = [self.receiver.credentials("bob", f"{ADDRESS}.bob") for _ in range(connections)]
        self.keys = [Keys(each.shared_secret) for each in paid]
        self.packets = [
            self._packet(paid[i % connections], self.keys[i % connections], i // connections + 1)
            for i in range(PACKETS)
        ]

    def _received(self, incoming: Incoming) -> None:
        self.fulfilled += 1

    def _packet(self, credentials: Credentials, keys: Keys, sequence: int) -> bytes:
        data = keys.encrypt(encode_packet(12, sequence, AMOUNT, [StreamMoney(1, 1)]))
        prepare = Prepare(
            amount=AMOUNT,
            expires_at=NOW_MS + 30_000,
            execution_condition=sha256(keys.fulfillment(data)).digest(),
            destination=credentials.destination,
            data=data,
        )
        return bytes(prepare)

    def run(self, batches: list[Batch]) -> tuple[float, float]:
        """us per packet, and of `take`."""
        clock = time.process_time_ns
        spent = taking = 0
        for batch in batches:
            start = clock()
            self.link.receive(batch)
            self.switch.process(NOW_MS)
            self.receiver.flush(self.switch.terminal)
            self.switch.process(NOW_MS)
            middle = clock()
            self.switch.take()
            spent += middle - start
            taking += clock() - middle
        return spent / PACKETS / 1_000, taking / PACKETS / 1_000

    def crypto(self) -> float:
        """us per packet of the libraries' calls alone."""
        data = [Prepare.decode(packet).data for packet in self.packets]
        answer = bytes(ANSWER_SIZE)
        clock = time.process_time_ns
        count = len(self.keys)
        start = clock()
        for number, octets in enumerate(data):
            keys = self.keys[number % count]
            keys.decrypt(octets)
            sha256(keys.fulfillment(octets)).digest()
            keys.encrypt(answer)
        return (clock() - start) / PACKETS / 1_000


@pytest.mark.parametrize("connections", [1, 1_000])
@pytest.mark.parametrize("size", [1, 256])
def test_terminating(benchmark: BenchmarkFixture, size: int, connections: int) -> None:
    node = Receiving(connections)
    requests = list(enumerate(node.packets))
    batches = [requests[i : i + size] for i in range(0, PACKETS, size)]
    figures: list[tuple[float, float, float]] = []
    gc.collect()
    gc.freeze()

    def measured() -> None:
        figures.append((*node.run(batches), node.crypto()))

    benchmark.pedantic(measured, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    packet_us, take_us, crypto_us = (median(column) for column in zip(*figures, strict=True))
    benchmark.extra_info.update(
        packet_us=round(packet_us, 2), take_us=round(take_us, 2), crypto_us=round(crypto_us, 2)
    )
    print(
        f"\nterminating, batches of {size}, {connections} connections: {packet_us:.2f} us of CPU a"
        f" packet, crypto {crypto_us:.2f} us of it; take {take_us:.2f} us"
    )
    assert node.fulfilled == PACKETS * (ROUNDS + 1)
    assert node.switch.balance(node.switch.account("bob")) == node.fulfilled * AMOUNT
    sums = node.switch.ledger.sums()["USD", 9]
    assert sums["debits_posted"] == sums["credits_posted"]
