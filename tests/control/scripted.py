"""A node of `network` whose neighbours are played by the test, packet by packet."""

from collections.abc import Sequence

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp.control import ccp, ildcp
from fastilp.control.ccp import Mode, Route, RouteControl, RouteUpdate
from fastilp.control.neighbours import RoutingLimits
from fastilp.control.session import Session
from fastilp.types import Relation
from tests.simulation.network import Network

TABLE = b"T" * 16
OTHER_TABLE = b"U" * 16
AUTH = bytes(range(32))
FULFILL = Fulfill(fulfillment=bytes(32))


def route(prefix: str, *path: str, auth: bytes = AUTH) -> Route:
    return Route(prefix, path or (prefix,), auth)


class Peer:
    """The holder of an account. `answer`: what it says to requests of ours; None = nothing."""

    def __init__(
        self, scene: "Scene", name: str, relation: Relation, is_up: bool = True, **more: object
    ) -> None:
        self.scene = scene
        self.name = name
        self.answer: Fulfill | Reject | None = FULFILL
        self.heard: list[Prepare] = []
        self.sent: dict[int, str] = {}
        """Requests that wait for its answer, id and destination."""
        self.answers: dict[int, Fulfill | Reject] = {}
        self._count = 0
        scene.node.account(name, relation, **more)
        scene.peers[name] = self
        if is_up:
            self.link(True)

    @property
    def session(self) -> Session:
        session = self.scene.node.neighbours.session(self.name)
        assert session is not None
        return session

    def link(self, is_up: bool) -> None:
        self.scene.node.link(self.name, is_up)
        self.scene.run()

    # --- What it hears --------------------------------------------------------------------------

    def take(self, packets: Sequence[tuple[int, bytes]]) -> None:
        """Called for what the node sends to it."""
        answers = []
        for request_id, packet in packets:
            found = decode(packet)
            if isinstance(found, Prepare):
                self.heard.append(found)
                if self.answer is not None:
                    answers.append((request_id, bytes(self.answer)))
                else:
                    self.sent[request_id] = found.destination
            else:
                self.answers[request_id] = found
        self.scene.node.links[self.name].receive(answers)
        self.scene.node.wake()

    def controls(self) -> list[RouteControl]:
        """Route controls since the last look at anything it heard."""
        heard, self.heard = self.heard, []
        return [ccp.decode_control(each.data) for each in heard if each.destination == ccp.CONTROL]

    def updates(self) -> list[RouteUpdate]:
        """Likewise."""
        heard, self.heard = self.heard, []
        return [ccp.decode_update(each.data) for each in heard if each.destination == ccp.UPDATE]

    def requests_of(self, destination: str) -> list[int]:
        """Ids of those that it was sent, newest last; for `reply`."""
        return [number for number, each in self.sent.items() if each == destination]

    def reply(self, request_id: int, answer: Fulfill | Reject) -> None:
        """To a request that it has let wait."""
        self.scene.node.links[self.name].receive([(request_id, bytes(answer))])
        self.scene.node.wake()
        self.scene.run()

    def requests(self) -> int:
        """How often it was asked for the node's address."""
        heard, self.heard = self.heard, []
        return len([each for each in heard if each.destination == ildcp.DESTINATION])

    # --- What it says ---------------------------------------------------------------------------

    def say(self, prepare: Prepare) -> Fulfill | Reject:
        self._count += 1
        self.scene.node.links[self.name].receive([(self._count, bytes(prepare))])
        self.scene.node.wake()
        self.scene.run()
        return self.answers.pop(self._count)

    def say_data(self, destination: str, data: bytes) -> Fulfill | Reject:
        return self.say(ccp.prepare(destination, data, self.scene.network.now() + 10_000))

    def sync(self, table_id: bytes = ccp.NO_TABLE, epoch: int = 0) -> Fulfill | Reject:
        control = RouteControl(Mode.SYNC, table_id, epoch)
        return self.say_data(ccp.CONTROL, ccp.encode_control(control))

    def idle(self) -> Fulfill | Reject:
        return self.say_data(ccp.CONTROL, ccp.encode_control(RouteControl(Mode.IDLE)))

    def update(
        self,
        first: int,
        last: int,
        new: Sequence[Route] = (),
        gone: Sequence[str] = (),
        *,
        table: bytes = TABLE,
        hold_down_ms: int = 30_000,
        speaker: str = "",
    ) -> Fulfill | Reject:
        speaker = speaker or f"test.{self.name}"
        update = RouteUpdate(table, last, first, last, hold_down_ms, speaker, new, gone)
        return self.say_data(ccp.UPDATE, ccp.encode_update(update))

    def announce(self, *prefixes: str) -> None:
        """As the next epoch, by a path of the prefix alone."""
        epoch = self.session.receiver.epoch
        assert self.update(epoch, epoch + 1, [route(prefix) for prefix in prefixes]) == FULFILL


class Scene:
    """`test.node` among peers."""

    def __init__(
        self, address: str = "test.node", interval_ms: int = 30_000, *, multipath: bool = False
    ) -> None:
        self.network = Network(1)
        self.peers: dict[str, Peer] = {}
        self.node = self.network.add("node", address, RoutingLimits(interval_ms))
        self.node.accounts.routing.multipath = multipath
        self.routing = self.node.accounts.routing

    def peer(
        self, name: str, relation: Relation = Relation.PEER, is_up: bool = True, **more: object
    ) -> Peer:
        return Peer(self, name, relation, is_up, **more)

    def run(self, duration_ms: int = 0) -> None:
        """Let time pass, peers answering as they do."""
        end_ms = self.network.now() + duration_ms
        while True:
            self.network.run(0)
            self._carry()
            next_ms = self.network.next_ms()
            if next_ms is None or next_ms > end_ms:
                break
            self.network.run(next_ms - self.network.now())
            self._carry()
        self.network.run(end_ms - self.network.now())

    def _carry(self) -> None:
        for name, peer in self.peers.items():
            if packets := self.node.links[name].take():
                peer.take(packets)

    def routes(self) -> dict[str, str]:
        """Of others, as the switch has them."""
        found = self.node.switch.routes()
        below = f"{self.node.switch.address}."
        return {to: near.name for to, near in found.items() if not to.startswith(below)}

    def hops(self, prefix: str) -> list[str]:
        """All next hops of a prefix, best first."""
        entry = self.routing.entry(prefix)
        return [account.name for account in self.routing.choices(prefix, entry)]

    def told(self, name: str) -> set[str]:
        """The prefixes that a peer would be told of."""
        near = self.peers[name].session.near
        return {
            entry.prefix
            for entry in self.routing.entries()
            if near.sends and not self.routing.objection(entry, near)
        }
