"""The subject of the exchange benchmarks: a switch with 1,000 accounts and 100,000 routes, packets
with 200 bytes of data spread over all of them, on a memory ledger."""

import hashlib
import random
from dataclasses import dataclass

from fastilp import Fulfill, Ledger, Link, Prepare, Switch

ACCOUNTS = 1_000
ROUTES = 100_000
PACKETS = 4_096
NOW_MS = 1_800_000_000_000
PREIMAGE = bytes(range(32))
FULFILL = bytes(Fulfill(fulfillment=PREIMAGE, data=bytes(100)))


def destination(route: int) -> str:
    return f"g.hub.region{route % 97}.node{route}"


@dataclass
class Subject:
    switch: Switch
    links: list[Link]
    packets: list[bytes]

    def batches(self, size: int, random_source: random.Random) -> list[list[tuple[Link, bytes]]]:
        """All packets in batches, each packet on a link that its route does not lead back to."""
        pairs = []
        for route, packet in enumerate(self.packets):
            sender = (route + random_source.randrange(1, ACCOUNTS)) % ACCOUNTS
            pairs.append((self.links[sender], packet))
        return [pairs[i : i + size] for i in range(0, len(pairs), size)]

    @classmethod
    def make(cls) -> "Subject":
        source = random.Random(1)
        switch = Switch(Ledger.memory(), address="g.hub")
        accounts = [
            switch.add_account(f"account{i}", asset_code="USD", asset_scale=9)
            for i in range(ACCOUNTS)
        ]
        links = [switch.open_link(account) for account in accounts]
        for route in range(ROUTES):
            switch.set_route(destination(route), accounts[route % ACCOUNTS])
        condition = hashlib.sha256(PREIMAGE).digest()
        routes = [(i * 23 * ACCOUNTS + i) % ROUTES for i in range(PACKETS)]
        packets = [
            bytes(
                Prepare(
                    amount=source.randrange(1, 10**6),
                    expires_at=NOW_MS + 30_000,
                    execution_condition=condition,
                    destination=f"{destination(route)}.x",
                    data=source.randbytes(200),
                )
            )
            for route in routes
        ]
        return cls(switch, links, packets)
