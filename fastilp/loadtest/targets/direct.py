"""No connector at all: the sender's bytes go straight to the receiver. What a hop costs and adds is
the difference to this."""

from fastilp.loadtest.targets.base import HOST, Access, Target, next_hop_port
from fastilp.loadtest.task import Destination, Load, Peer


class Direct(Target):
    name = "direct"
    transports = frozenset({"batch", "btp", "http"})

    def start(self, load: Load, core: int | None) -> Access:
        port = next_hop_port(load)
        if port is None:
            senders = tuple(Peer(kind="pair") for _ in range(load.senders))
        else:
            senders = tuple(
                Peer(kind="http", host=HOST, port=port, path="/accounts/sender0/ilp", token="token")
                for _ in range(load.senders)
            )
        return Access(senders, (), Destination(prefix="example.hub.receiver0.load"), port)
