"""Which nodes a network's export policy connects, worked out without a routing protocol: by going
over the graph until nothing is new. Judges the real tables.

A node hears of a prefix from a child that has it from below, from a peer that has it from below, or
from its parent; it refuses what is below its own address unless the child of that name says it.
What is below an announced prefix is reached down the chain of children.
"""

from tests.simulation.network import Network, Node, Wire

OWN, CHILD, PEER, PARENT = 0, 1, 2, 3


class Policy:
    """`tree`: node to its parent's wire; `peers`: wires between peers."""

    def __init__(self, network: Network, parents: dict[str, Wire], peers: list[Wire]) -> None:
        self.nodes = network.nodes
        self.address = {name: node.switch.address for name, node in self.nodes.items()}
        self.up: dict[str, str] = {}
        self.down: dict[str, list[str]] = {name: [] for name in self.nodes}
        self.beside: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, wire in parents.items():
            if wire.is_up:
                parent = _other(wire, name)
                self.up[name] = parent
                self.down[parent].append(name)
        for wire in peers:
            if wire.is_up:
                one, other = wire.ends
                self.beside[one.name].append(other.name)
                self.beside[other.name].append(one.name)
        self.by_address = {address: name for name, address in self.address.items()}
        self.hearers = {name: self._hearers(name) for name in self.nodes}

    def connects(self, sender: str, receiver: str) -> bool:
        """Whether a packet of the one finds the other."""
        name: str | None = receiver
        while name is not None:
            if sender in self.hearers[name]:
                return True
            # One step up the chain, if a packet could come down it.
            name = self.up.get(name)
        return False

    def _hearers(self, origin: str) -> dict[str, int]:
        """Who has a route to a node's prefix, and from whom it is."""
        prefix = self.address[origin]
        found = {origin: OWN}
        changed = True
        while changed:
            changed = False
            for name in self.nodes:
                best = self._best(name, prefix, found)
                if best is not None and best < found.get(name, PARENT + 1):
                    found[name] = best
                    changed = True
        return found

    def _best(self, name: str, prefix: str, found: dict[str, int]) -> int | None:
        def tells(other: str) -> bool:
            has = other in found
            return has and (prefix == self.address[other] or not self._below(prefix, other))

        def is_wide(other: str) -> bool:
            return tells(other) and found[other] <= CHILD

        for child in self.down[name]:
            is_its = prefix == self.address[child] or self._below(prefix, child)
            if is_wide(child) and (is_its or not self._below(prefix, name)):
                return CHILD
        if prefix == self.address[name] or self._below(prefix, name):
            return None
        if any(map(is_wide, self.beside[name])):
            return PEER
        if name in self.up and tells(self.up[name]):
            return PARENT
        return None

    def _below(self, prefix: str, name: str) -> bool:
        return prefix.startswith(f"{self.address[name]}.")


def _other(wire: Wire, name: str) -> str:
    one, other = wire.ends
    return other.name if one.name == name else one.name


def path_of(network: Network, sender: Node, address: str) -> list[str]:
    """The nodes that a packet visits by the tables as they are; the last one is where it ends."""
    path = [sender.name]
    node = sender
    while len(path) <= len(network.nodes):
        hop = next_hop(node, address)
        if hop is None or hop not in network.nodes:
            break
        path.append(hop)
        node = network.nodes[hop]
    return path


def next_hop(node: Node, address: str) -> str | None:
    """The username of the account that a packet would leave to."""
    routing = node.accounts.routing
    prefix = address
    while True:
        found = routing.winner(prefix)
        if found is not None:
            return found.name
        if not prefix:
            return None
        prefix = prefix.rpartition(".")[0]
