"""A network of real switches and real control code in virtual time: no sockets, no clock.

Nodes are joined by wires that carry whole packets with a delay; a wire may lose, delay and repeat
what it carries, and be cut. Everything that happens is drawn from one seed.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp._core.switch import Switch
from fastilp.control import ildcp
from fastilp.control.accounts import Accounts
from fastilp.control.inheritance import Inheritance
from fastilp.control.neighbours import Neighbours, RoutingLimits
from fastilp.control.punts import Punts
from fastilp.control.routing import Routing
from fastilp.types import AccountDetails, Relation

USER = "user"
START_MS = 1_700_000_000_000


class Node:
    """A switch with control; `wake` is what the pump's is."""

    def __init__(
        self, network: "Network", name: str, address: str, limits: RoutingLimits | None = None
    ) -> None:
        self.network = network
        self.name = name
        # Small: a network has hundreds of these.
        self.switch = Switch(Ledger.memory(), address, in_flight_max=1_024)
        self.accounts = Accounts(self.switch, Routing(self.switch, name.encode()))
        self.links: dict[str, Link] = {}
        self.wires: dict[str, Wire] = {}
        self.answers: dict[int, Fulfill | Reject] = {}
        """To what the user sent."""
        self.is_awake = False
        self.punts = Punts(self.switch, self.accounts.details, self.wake)
        self.neighbours = Neighbours(
            self.switch,
            self.accounts.routing,
            self.punts.requests,
            now_ms=network.now,
            answer=self.punts.reply,
            wake=self.wake,
            limits=limits,
            random_bytes=network.random.randbytes,
        )
        self.punts.neighbours = self.neighbours
        self.inheritance = Inheritance(
            self.switch, self.accounts, self.neighbours, self.punts.requests, network.now
        )

    def account(self, name: str, relation: Relation, **more: object) -> Account:
        fields: dict[str, object] = {
            "username": name,
            "ilp_address": f"{self.switch.address}.{name}",
            "asset_code": "ABC",
            "asset_scale": 9,
            "routing_relation": relation,
            "round_trip_time": 20,
            **more,
        }
        details = AccountDetails(**fields)  # type: ignore[arg-type]
        account, _ = self.accounts.create(details)
        self.links[name] = self.switch.open_link(account)
        self.links[name].up = False
        self.neighbours.open(account, details, is_up=False)
        return account

    def account_changed(self, name: str, **changes: object) -> None:
        entry = self.accounts.find(name)
        assert entry is not None
        new = replace(entry.details, **changes)  # type: ignore[arg-type]
        self.accounts.update(name, new)
        self.neighbours.open(entry.account, new, is_up=self.links[name].up)

    def link(self, name: str, is_up: bool) -> None:
        self.links[name].up = is_up
        self.neighbours.link(name, is_up)
        self.inheritance.link(name, is_up)
        self.wake()

    def wake(self) -> None:
        if not self.is_awake:
            self.is_awake = True
            self.network.at(0, self.turn)

    def turn(self) -> None:
        self.is_awake = False
        while self.neighbours.work():
            continue
        self._tick()
        self.switch.process(self.network.now())
        for link in self.switch.dirty_links():
            if link is self.switch.control:
                self.punts.flush(link)
                self.wake()
                continue
            assert link.account is not None
            wire = self.wires.get(link.account.name)
            # Without a wire a test plays the other end.
            if wire is not None:
                wire.carry(self, link.take())
            elif link.account.name == USER:
                self._use(link)
        self._set_timer()

    def _use(self, link: Link) -> None:
        """The user fulfils everything."""
        for request_id, packet in link.take():
            found = decode(packet)
            if isinstance(found, Prepare):
                link.receive([(request_id, bytes(Fulfill(fulfillment=bytes(32))))])
                self.wake()
            else:
                self.answers[request_id] = found

    def add_user(self) -> None:
        """Somebody to pay and be paid, at `<node>.user`."""
        self.account(USER, Relation.NON_ROUTING_ACCOUNT)
        self.links[USER].up = True

    def pay(self, request_id: int, address: str, amount: int, expiry_ms: int = 20_000) -> None:
        """From the user. The answer will be in `answers`."""
        prepare = Prepare(
            amount=amount,
            expires_at=self.network.now() + expiry_ms,
            execution_condition=ildcp.CONDITION,
            destination=address,
            data=request_id.to_bytes(4),
        )
        self.links[USER].receive([(request_id, bytes(prepare))])
        self.wake()

    def _tick(self) -> None:
        due = [self.neighbours.next_ms(), self.inheritance.next_ms()]
        now_ms = self.network.now()
        if any(each is not None and each <= now_ms for each in due):
            self.neighbours.tick()
            self.inheritance.tick()
            while self.neighbours.work():
                continue

    def _set_timer(self) -> None:
        times = [
            self.neighbours.next_ms(),
            self.inheritance.next_ms(),
            self.switch.next_deadline_ms(),
        ]
        due = min((each for each in times if each is not None), default=None)
        if due is not None:
            self.network.at(max(1, due - self.network.now()), self.wake)


@dataclass
class Weather:
    """What wires do to packets."""

    delay_ms: tuple[int, int] = (1, 20)
    lost: float = 0.0
    repeated: float = 0.0


class Wire:
    """Between two nodes; each has an account for the other, by the other's name."""

    def __init__(self, network: "Network", one: Node, other: Node) -> None:
        self.network = network
        self.ends = (one, other)
        self.is_up = False
        self.generation = 0
        one.wires[other.name] = self
        other.wires[one.name] = self

    def set(self, is_up: bool) -> None:
        if is_up != self.is_up:
            self.is_up = is_up
            self.generation += 1
            one, other = self.ends
            one.link(other.name, is_up)
            other.link(one.name, is_up)

    def carry(self, sender: Node, packets: list[tuple[int, bytes]]) -> None:
        if not self.is_up:
            return
        one, other = self.ends
        receiver = other if sender is one else one
        weather, dice = self.network.weather, self.network.random
        for request_id, packet in packets:
            if dice.random() < weather.lost:
                continue
            copies = 2 if dice.random() < weather.repeated else 1
            for _ in range(copies):
                delay_ms = dice.randint(*weather.delay_ms)
                self._deliver(delay_ms, receiver, sender.name, request_id, packet)

    def _deliver(
        self, delay_ms: int, receiver: Node, sender: str, request_id: int, packet: bytes
    ) -> None:
        generation = self.generation

        def deliver() -> None:
            if generation == self.generation:
                self.network.delivered(receiver, packet)
                receiver.links[sender].receive([(request_id, packet)])
                receiver.wake()

        self.network.at(delay_ms, deliver)


class Network:
    """`run` lets time pass."""

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        self.random = random.Random(seed)
        self.weather = weather or Weather()
        self.nodes: dict[str, Node] = {}
        self.wires: list[Wire] = []
        self.on_delivery: Callable[[Node, bytes], None] | None = None
        self._now_ms = START_MS
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def now(self) -> int:
        return self._now_ms

    def at(self, delay_ms: int, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self._now_ms + delay_ms, self._count, what))

    def delivered(self, node: Node, packet: bytes) -> None:
        if self.on_delivery is not None:
            self.on_delivery(node, packet)

    def add(self, name: str, address: str, limits: RoutingLimits | None = None) -> Node:
        node = self.nodes[name] = Node(self, name, address, limits)
        return node

    def join(self, one: str, other: str, relation: Relation, **more: object) -> Wire:
        """`relation`: what the other one is to the first."""
        back = {Relation.CHILD: Relation.PARENT, Relation.PARENT: Relation.CHILD}
        first, second = self.nodes[one], self.nodes[other]
        first.account(other, relation, **more)
        second.account(one, back.get(relation, relation), **more)
        wire = Wire(self, first, second)
        self.wires.append(wire)
        return wire

    def next_ms(self) -> int | None:
        """When something happens, if anything does."""
        return self._queue[0][0] if self._queue else None

    def run(self, duration_ms: int) -> None:
        end_ms = self._now_ms + duration_ms
        while self._queue and self._queue[0][0] <= end_ms:
            self._now_ms, _, what = heapq.heappop(self._queue)
            what()
        self._now_ms = end_ms
