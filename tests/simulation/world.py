"""A random network, and bad times for it: links fail and heal, packets are lost, late and doubled.
Everything is drawn from one seed."""

from collections import Counter
from dataclasses import dataclass, field

from fastilp._core.packet import Prepare, Reject, decode
from fastilp.types import Relation
from tests.simulation.network import USER, Network, Node, Weather, Wire

_GOOD = Weather(delay_ms=(1, 20))
_BAD = Weather(delay_ms=(1, 400), lost=0.05, repeated=0.05)


@dataclass
class World:
    """`parents`: node to the wire to its parent."""

    seed: int
    size: int = 100
    network: Network = field(init=False)
    parents: dict[str, Wire] = field(default_factory=dict)
    peers: list[Wire] = field(default_factory=list)
    visits: dict[int, list[str]] = field(default_factory=dict)
    payments: dict[int, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = Network(self.seed, _GOOD)
        self.network.on_delivery = self._note
        dice = self.network.random
        names = [f"n{number:04}" for number in range(self.size)]
        roots = max(1, self.size // 25)
        for number, name in enumerate(names):
            address = f"test.{name}" if number < roots else "local.host"
            self.network.add(name, address).add_user()
            if number >= roots:
                # Mostly near the top: networks are not deep.
                parent = names[int(number * dice.random() ** 1.5)]
                self.parents[name] = self.network.join(parent, name, Relation.CHILD)
        while len(self.peers) < self.size // 3:
            one, other = dice.sample(names, 2)
            if other not in self.network.nodes[one].wires:
                self.peers.append(self.network.join(one, other, Relation.PEER))
        # Roots are peers of each other, or the network would be several.
        for one, other in zip(names[: roots - 1], names[1:roots], strict=True):
            if other not in self.network.nodes[one].wires:
                self.peers.append(self.network.join(one, other, Relation.PEER))

    @property
    def wires(self) -> list[Wire]:
        return self.network.wires

    def start(self) -> None:
        """Until everybody has an address."""
        for wire in self.wires:
            wire.set(True)
        self.network.run(60_000)
        while any(node.switch.address == "local.host" for node in self.network.nodes.values()):
            self.network.run(60_000)

    def suffer(self, duration_ms: int, payment_count: int) -> None:
        """Bad weather, and payments all the while."""
        network, dice = self.network, self.network.random
        network.weather = _BAD
        end_ms = network.now() + duration_ms
        for wire in self.wires:
            self._fail_later(wire, end_ms)
        for _ in range(payment_count):
            network.at(dice.randrange(duration_ms), self.pay_somebody)
        network.run(duration_ms)

    def calm(self, duration_ms: int) -> None:
        """Good weather; what is broken now stays so."""
        self.network.weather = _GOOD
        self.network.run(duration_ms)

    def pay_somebody(self) -> None:
        sender, receiver = self.network.random.sample(list(self.network.nodes.values()), 2)
        self.pay(sender, receiver)

    def pay(self, sender: Node, receiver: Node) -> int:
        number = len(self.payments) + 1
        self.payments[number] = sender
        self.visits[number] = [sender.name]
        address = f"{receiver.switch.address}.{USER}"
        sender.pay(number, address, self.network.random.randint(1, 1_000))
        return number

    def outcomes(self) -> Counter[str]:
        """Of all payments: "fulfilled", the code of a Reject, or "none" yet."""
        found: Counter[str] = Counter()
        for number, sender in self.payments.items():
            answer = sender.answers.get(number)
            if answer is None:
                found["none"] += 1
            else:
                found[answer.code if isinstance(answer, Reject) else "fulfilled"] += 1
        return found

    def check_money(self) -> None:
        """In every node debits equal credits, and nothing is left reserved."""
        for node in self.network.nodes.values():
            node.switch.ledger.check()
            total = 0
            for account in node.switch.accounts():
                counters = node.switch.counters(account)
                assert counters["debits_pending"] == counters["credits_pending"] == 0
                total += counters["credits_posted"] - counters["debits_posted"]
            assert total == 0, node.name

    def _fail_later(self, wire: Wire, end_ms: int) -> None:
        """Up and down, up for longer; and at the end one in ten stays down."""
        network, dice = self.network, self.network.random
        if dice.random() < 0.6:
            return

        def flip() -> None:
            if network.now() < end_ms:
                wire.set(not wire.is_up)
                network.at(dice.randint(100, 30_000 if wire.is_up else 8_000), flip)
            else:
                wire.set(dice.random() < 0.9)

        network.at(dice.randint(0, 20_000), flip)

    def _note(self, node: Node, packet: bytes) -> None:
        found = decode(packet)
        if isinstance(found, Prepare) and not found.destination.startswith("peer."):
            self.visits[int.from_bytes(found.data)].append(node.name)
