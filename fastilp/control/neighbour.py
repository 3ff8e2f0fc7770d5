"""An account as a neighbour in the network: what it is to us, which of its routes we take, and what
it has told us. Imports _core, ccp and types.

The import filter is here: it looks at one announced route at a time and keeps nothing. Promises
that whatever a peer announces, no more than `routes_max` routes of it are kept, each of bounded
size, and all together.
"""

from collections import Counter
from typing import NamedTuple

from fastilp._core.books import Account
from fastilp._core.packet import is_valid_address, is_valid_prefix
from fastilp.control.ccp import Prop, Route
from fastilp.types import AccountDetails, Relation

# Connectors on the way to a prefix; BGP's networks of 70,000 members have paths of 4 on average.
PATH_MAX = 64
# Characters of a path together, and bytes of the attributes of a route: so an epoch of 30 kB has
# room for several of the largest routes.
PATH_SIZE_MAX = 4_096
PROPS_SIZE_MAX = 1_024
# Memory that routes take on average, at most, beside a little for whoever may announce few: with
# paths of five connectors it is half of this. What an address or attribute takes by itself.
ROUTE_SIZE_MEAN = 768
_SIZE_BASE = 16_384
_ITEM_SIZE = 64
# What the switch takes.
SEGMENTS_MAX = 32

# Preferred in this order (RFC 34): money comes from children, and goes to parents.
RANKS = {
    Relation.NON_ROUTING_ACCOUNT: 3,
    Relation.CHILD: 3,
    Relation.PEER: 2,
    Relation.PARENT: 1,
}


class Learned:
    """A route that a neighbour has announced, in a shape to be kept 100,000 times; or one of our
    own, of nobody, or to the neighbour's account."""

    __slots__ = ("auth", "neighbour", "path", "props")

    def __init__(
        self,
        neighbour: "Neighbour | None",
        path: tuple[str, ...] = (),
        auth: bytes = b"",
        props: tuple[Prop, ...] = (),
    ) -> None:
        self.neighbour = neighbour
        self.path = path
        self.auth = auth
        self.props = props

    def merit(self) -> tuple[bool, int, int, int]:
        """The smallest is the best; routes may be equal in it."""
        near = self.neighbour
        if near is None:
            return False, 0, 0, 0
        return not near.usable, -near.priority, -near.rank, len(self.path)

    def order(self) -> tuple[tuple[bool, int, int, int], str]:
        """The same, and what decides between equal ones whenever it is asked."""
        return self.merit(), "" if self.neighbour is None else self.neighbour.username

    def size(self) -> int:
        """Bytes of memory that its path and attributes take, roughly."""
        size = sum(map(len, self.path)) + _ITEM_SIZE * len(self.path)
        if self.props:
            size += sum(len(prop.value) + _ITEM_SIZE for prop in self.props)
        return size

    @property
    def is_wide(self) -> bool:
        """Whether everybody may hear of it: nobody carries a stranger's packets to a stranger."""
        return self.neighbour is None or self.neighbour.rank == RANKS[Relation.CHILD]

    def same(self, other: "Learned") -> bool:
        return (
            self.neighbour is other.neighbour
            and self.path == other.path
            and self.auth == other.auth
            and self.props == other.props
        )


class Neighbour:
    """Made for each account that may tell or hear routes. `learned`: prefix to route."""

    def __init__(self, account: Account, details: AccountDetails) -> None:
        self.account = account
        self.username = account.name
        self.learned: dict[str, Learned] = {}
        self.held = 0
        """Bytes that these take."""
        self.usable = True
        """Its link is up, as far as we know, and its circuit is closed."""
        self.is_gone = False
        """The account is closed."""
        self.refused: Counter[str] = Counter()
        """Routes and requests that were not taken, by reason."""
        self.speaker = ""
        """What it calls itself."""
        self.slot = 0
        """Its bit in the masks of who was told what."""
        self.take(details)

    def take(self, details: AccountDetails) -> None:
        """New details of the account."""
        relation = details.routing_relation
        is_routing = relation is not Relation.NON_ROUTING_ACCOUNT
        self.relation = relation
        self.rank = RANKS[relation]
        self.address = details.ilp_address
        receives, sends = details.receive_routes, details.send_routes
        self.receives = is_routing if receives is None else receives
        self.sends = is_routing if sends is None else sends
        self.sends_all = details.send_all_routes
        self.priority = details.route_priority
        self.weight = details.route_weight
        self.routes_max = details.routes_max
        self.allowed = details.import_allow
        self.denied = details.import_deny or ()

    def standing(self) -> tuple[object, ...]:
        """All of the details that decide about routes."""
        return (
            self.relation,
            self.address,
            self.receives,
            self.sends,
            self.sends_all,
            self.priority,
            self.weight,
            self.routes_max,
            self.allowed,
            self.denied,
        )

    def hears_all(self) -> bool:
        """Whether it is told what peers and the parent told us, too."""
        return self.sends_all or self.relation is Relation.CHILD

    # --- The import filter ----------------------------------------------------------------------

    def objection(self, route: Route, own: "OwnAddress") -> str:
        """Why a route is not taken; empty if it is."""
        return self._objection_to_prefix(route.prefix, own) or self._objection_to_path(route, own)

    def _objection_to_prefix(self, prefix: str, own: "OwnAddress") -> str:
        if not is_valid_address(prefix):
            # An address is a scheme and more: neither the default route nor a whole scheme may
            # come from a peer.
            return "too_short" if is_valid_prefix(prefix) else "invalid"
        if not prefix.startswith(own.scheme):
            return "scheme"
        if prefix.count(".") >= SEGMENTS_MAX:
            return "invalid"
        if prefix == own.address or prefix.startswith(own.below):
            if self.relation is not Relation.CHILD or not is_under(prefix, self.address):
                return "own_prefix"
        if self.allowed is not None and not any(is_under(prefix, each) for each in self.allowed):
            return "not_allowed"
        if any(is_under(prefix, each) for each in self.denied):
            return "denied"
        return ""

    def _objection_to_path(self, route: Route, own: "OwnAddress") -> str:
        path, props = route.path, route.props
        if own.address in path:
            return "loop"
        if len(path) > PATH_MAX or sum(map(len, path)) > PATH_SIZE_MAX:
            return "path"
        if props and sum(len(prop.value) + 8 for prop in props) > PROPS_SIZE_MAX:
            return "path"
        if not all(map(is_valid_address, path)):
            return "invalid"
        is_new = route.prefix not in self.learned
        if is_new and len(self.learned) >= self.routes_max:
            return "too_many"
        return "too_many" if self.held > self.routes_max * ROUTE_SIZE_MEAN + _SIZE_BASE else ""

    # --- What it has announced ------------------------------------------------------------------

    def keep(self, prefix: str, learned: Learned) -> None:
        self.drop(prefix)
        self.learned[prefix] = learned
        self.held += len(prefix) + learned.size()

    def drop(self, prefix: str) -> Learned | None:
        learned = self.learned.pop(prefix, None)
        if learned is not None:
            self.held -= len(prefix) + learned.size()
        return learned

    def drop_all(self) -> dict[str, Learned]:
        gone, self.learned, self.held = self.learned, {}, 0
        return gone


class OwnAddress(NamedTuple):
    """The node's address, in the shapes that filters ask for."""

    address: str
    below: str
    scheme: str

    @classmethod
    def of(cls, address: str) -> "OwnAddress":
        return cls(address, f"{address}.", f"{address.partition('.')[0]}.")


def is_under(address: str, prefix: str) -> bool:
    """Whether the prefix matches, by whole segments (RFC 15)."""
    return (
        not prefix
        or address == prefix
        or (address.startswith(prefix) and address[len(prefix)] == ".")
    )
