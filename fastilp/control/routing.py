"""Which prefix leads to which account, from all who say so. Imports _core, neighbour,
announcements.

Sources, strongest first: static routes of the operator, addresses of accounts, what neighbours
announce (a higher priority first, then child, peer, parent, then the shorter path, then the
username), the default route to the parent. The switch's forwarding table gets the winner of each
prefix and those behind it, which take over by themselves while the winner's link is down. What
neighbours may be told of it is logged as it changes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from hmac import digest

from fastilp._core.books import Account
from fastilp._core.packet import is_valid_prefix
from fastilp._core.switch import Switch
from fastilp.control.announcements import Entry, Log
from fastilp.control.ccp import AUTH_SIZE, Prop, Route
from fastilp.control.neighbour import SEGMENTS_MAX, Learned, Neighbour, OwnAddress
from fastilp.errors import UsageError

DEFAULT = ""
# Next hops of a prefix that the switch knows.
_CHOICES_MAX = 4
# What a route takes in an update beside its prefix and path.
_ROUTE_SIZE = AUTH_SIZE + 8


def check_routable(prefix: str) -> None:
    """Raises UsageError for what the switch would take no route for."""
    if not is_valid_prefix(prefix):
        raise UsageError(f"{prefix!r} is not a valid prefix of ILP addresses, such as g.hub.bob")
    if prefix.count(".") >= SEGMENTS_MAX:
        raise UsageError(f"{prefix!r} has more than {SEGMENTS_MAX} segments")


class Routing:
    """`secret`: of the values that vouch for our own prefixes. `multipath`: equal routes share."""

    def __init__(self, switch: Switch, secret: bytes = b"", *, multipath: bool = False) -> None:
        self._switch = switch
        self._secret = secret
        self.multipath = multipath
        self.own = OwnAddress.of(switch.address)
        self.log = Log()
        self.changes = 0
        """How often the next hops or the announcement of a prefix were looked at anew."""
        self._static: dict[str, Account] = {}
        self._addresses: dict[str, Account] = {}
        self._parent: Account | None = None
        self._neighbours: dict[str, Neighbour] = {}
        self._entries: dict[str, Entry] = {}
        # Prefix -> longer ones whose routes lead through its connector.
        self._covered: dict[str, set[str]] = {}
        # Those of them whose longer ones have to be told, or not to be told any more.
        self._uncovering: dict[str, None] = {}
        self._is_uncovering = False
        self.start: Callable[[Iterator[None]], None] = _at_once
        """Takes work that is done in steps."""

    # --- Sources: ours --------------------------------------------------------------------------

    def set_address(self, address: str, account: Account) -> None:
        """Raises UsageError for an address that no route can have."""
        if address not in self._static and address not in self._entries:
            # Most accounts of a large node: nobody else has a say, and nobody is told.
            self._switch.set_route(address, account)
            self._addresses[address] = account
            if address.startswith(self.own.below):
                return
        self._addresses[address] = account
        self.touch(address)

    def remove_address(self, address: str) -> None:
        self._addresses.pop(address, None)
        self.touch(address)

    def owner_of(self, address: str) -> Account | None:
        """Whose own address this is."""
        return self._addresses.get(address)

    def set_parent(self, parent: Account | None) -> None:
        """The account that takes what no other route matches."""
        self._parent = parent
        self.touch(DEFAULT)

    @property
    def parent(self) -> Account | None:
        return self._parent

    def set_static(self, routes: Mapping[str, Account]) -> None:
        """Replace all static routes. Raises UsageError, and then nothing has changed."""
        for prefix in routes:
            check_routable(prefix)
        before = self._static
        self._static = dict(routes)
        for prefix in before.keys() | routes.keys():
            if before.get(prefix) is not routes.get(prefix):
                self.touch(prefix)

    def static_route(self, prefix: str) -> Account | None:
        return self._static.get(prefix)

    def static(self) -> dict[str, Account]:
        return dict(self._static)

    # --- Sources: neighbours --------------------------------------------------------------------

    def add_neighbour(self, near: Neighbour) -> None:
        self._neighbours[near.username] = near
        for prefix in self._own_routes_to(near.account):
            self.touch(prefix)

    def remove_neighbour(self, near: Neighbour) -> None:
        """What it announced has been forgotten before."""
        own = self._own_routes_to(near.account)
        del self._neighbours[near.username]
        for prefix in (*own, *self.unmark(near)):
            self.touch(prefix)

    def neighbour(self, username: str) -> Neighbour | None:
        return self._neighbours.get(username)

    def learn(self, near: Neighbour, route: Route) -> bool:
        """Take a route that its filter has passed. Whether it says something new."""
        prefix = route.prefix
        props = _passed_on(route.props) if route.props else ()
        learned = Learned(near, route.path, route.auth, props)
        before = near.learned.get(prefix)
        if before is not None and before.same(learned):
            return False
        near.keep(prefix, learned)
        entry = self._entries.get(prefix)
        if entry is None:
            entry = self._entries[prefix] = Entry(prefix)
        others = tuple([each for each in entry.candidates if each.neighbour is not near])
        entry.candidates = _sorted((*others, learned)) if others else (learned,)
        self._show(prefix, entry)
        return True

    def withdraw(self, near: Neighbour, prefix: str) -> bool:
        """Whether there was something to withdraw."""
        learned = near.drop(prefix)
        if learned is not None:
            self._drop(prefix, learned)
        return learned is not None

    def forget(self, near: Neighbour) -> Iterator[None]:
        """All that it has announced up to this call, step by step."""
        return self._drop_all(near.drop_all())

    def _drop_all(self, gone: dict[str, Learned]) -> Iterator[None]:
        for prefix, learned in gone.items():
            self._drop(prefix, learned)
            yield

    def reorder(self, near: Neighbour) -> Iterator[None]:
        """Its standing has changed, and so its routes', step by step."""
        for prefix in self._own_routes_to(near.account):
            self.touch(prefix)
            yield
        for prefix in list(near.learned):
            entry = self._entries.get(prefix)
            if entry is not None:
                entry.candidates = _sorted(entry.candidates)
                self._show(prefix, entry)
            yield

    def _drop(self, prefix: str, learned: Learned) -> None:
        entry = self._entries.get(prefix)
        if entry is not None and learned in entry.candidates:
            entry.candidates = tuple(each for each in entry.candidates if each is not learned)
            self._show(prefix, entry)

    def _own_routes_to(self, account: Account) -> list[str]:
        """Static ones, and the account's address if it is not below ours."""
        near = self._neighbours.get(account.name)
        found = [prefix for prefix, to in self._static.items() if to is account]
        if near is not None and self._addresses.get(near.address) is account:
            found.append(near.address)
        return found

    # --- The outcome: packets -------------------------------------------------------------------

    def prefixes(self) -> list[str]:
        """Of every route in force. A list, as there may be very many: look them up bit by bit."""
        found = list(self._static)
        found += (address for address in self._addresses if address not in self._static)
        for prefix, entry in self._entries.items():
            is_own = prefix in self._static or prefix in self._addresses
            if entry.candidates and not is_own:
                found.append(prefix)
        if self._parent is not None and DEFAULT not in self._static:
            found.append(DEFAULT)
        return found

    def routes(self) -> Iterator[tuple[str, Account] | None]:
        """Every route in force, prefix and account. There may be very many, so routes may come and
        go while somebody takes them one by one; None is one that has gone."""
        for prefix in self.prefixes():
            winner = self.winner(prefix)
            yield None if winner is None else (prefix, winner)

    def winner(self, prefix: str) -> Account | None:
        """Who gets what matches this prefix best."""
        found = self.choices(prefix, self._entries.get(prefix))
        return found[0] if found else None

    def choices(self, prefix: str, entry: Entry | None) -> list[Account]:
        """The next hops of a prefix, best first."""
        found = []
        for source in (self._static, self._addresses):
            account = source.get(prefix)
            if account is not None and account not in found:
                found.append(account)
        if entry is not None:
            for learned in entry.candidates[:_CHOICES_MAX]:
                near = learned.neighbour
                if near is not None and not near.is_gone and near.account not in found:
                    found.append(near.account)
        if prefix == DEFAULT and self._parent is not None and self._parent not in found:
            found.append(self._parent)
        return found[:_CHOICES_MAX]

    def touch(self, prefix: str) -> None:
        """Somebody says something else of a prefix."""
        self._show(prefix, self._entries.get(prefix))

    def _show(self, prefix: str, entry: Entry | None) -> None:
        self.changes += 1
        found = self.choices(prefix, entry)
        if not found:
            try:
                self._switch.del_route(prefix)
            except KeyError:
                # It never was in the table.
                pass
        elif len(found) == 1:
            self._switch.set_route(prefix, found[0])
        else:
            self._switch.set_route(prefix, found[0], found[1:], self._shares(found, entry))
        self._announce(prefix, entry)

    def _shares(self, accounts: list[Account], entry: Entry | None) -> list[int]:
        """Weights of the first ones, where several routes are equally good."""
        if not self.multipath or entry is None or not entry.candidates:
            return []
        best = entry.candidates[0]
        if best.neighbour is None or best.neighbour.account is not accounts[0]:
            return []
        equal = [each for each in entry.candidates if each.merit() == best.merit()]
        weights = [each.neighbour.weight for each in equal if each.neighbour is not None]
        return weights[: len(accounts)] if len(equal) > 1 else []

    # --- The outcome: what neighbours are told --------------------------------------------------

    def entry(self, prefix: str) -> Entry | None:
        return self._entries.get(prefix)

    def entries(self) -> Iterable[Entry]:
        return self._entries.values()

    def route(self, entry: Entry) -> Route | None:
        """As we announce it."""
        winner = entry.winner
        if winner is None:
            return None
        if winner.auth:
            auth = sha256(winner.auth).digest()
        else:
            auth = digest(self._secret, entry.prefix.encode(), sha256)
        return Route(entry.prefix, (self.own.address, *winner.path), auth, winner.props)

    def objection(self, entry: Entry, near: Neighbour) -> str:
        """Why a neighbour is not told of a prefix; empty if it is."""
        winner = entry.winner
        if winner is None:
            return "covered" if entry.prefix.startswith(self.own.below) else "no_route"
        if reason := _objection(winner, near):
            return reason
        return "covered" if entry.covers and self.cover(entry, near) is not None else ""

    def cover(self, entry: Entry, near: Neighbour) -> str | None:
        """The shorter prefix by which a neighbour reaches a longer one, and is not told of that."""
        if entry.prefix.startswith(self.own.below):
            return self.own.address
        for prefix in entry.covers:
            cover = self._entries.get(prefix)
            if cover is not None and cover.winner and not _objection(cover.winner, near):
                return prefix
        return None

    def announce_own(self) -> None:
        """Our own address: the one prefix that we always announce."""
        self._announce(self.own.address, self._entries.get(self.own.address))

    def readdress(self, address: str) -> None:
        """The node has another address: everybody is told everything anew."""
        before = self.own.address
        self.own = OwnAddress.of(address)
        self.log = Log()
        for entry in self._entries.values():
            entry.change_set = None
        for prefix in (before, address, *list(self._entries), *self._static):
            known = self._entries.get(prefix)
            if known is not None:
                known.winner = None
            self._announce(prefix, known)
            if known is not None and known.winner is None and known.told:
                self.log.add(known, _size(known, self.own))

    def told(self, entry: Entry, near: Neighbour, *, is_there: bool) -> None:
        """A neighbour has been told that there is a route, or that there is none any more."""
        if is_there:
            entry.told |= near.slot
            return
        entry.told &= ~near.slot
        if entry.winner is None and not entry.told:
            self._forget_entry(entry)

    def unmark(self, near: Neighbour) -> list[str]:
        """Nobody remembers what it was told. Returns prefixes that are there for nothing now."""
        idle = []
        for entry in self._entries.values():
            if entry.told & near.slot:
                entry.told &= ~near.slot
                if entry.winner is None and not entry.told:
                    idle.append(entry.prefix)
        return idle

    def _announce(self, prefix: str, entry: Entry | None) -> None:
        winner = self._winner(prefix, entry)
        if entry is None:
            if winner is None:
                return
            entry = self._entries[prefix] = Entry(prefix)
        before, entry.winner = entry.winner, winner
        if winner is None and not entry.told:
            self._forget_entry(entry)
        elif winner is None or before is None or not before.same(winner):
            if winner is not before:
                self._cover(entry, winner)
                self.log.add(entry, _size(entry, self.own))
        if (before is None) != (winner is None) or (
            before is not None and winner is not None and before.neighbour != winner.neighbour
        ):
            self._announce_covered(prefix)

    def _announce_covered(self, prefix: str) -> None:
        """Whoever was not told of a longer prefix because of this one may have to be now. They may
        be very many, and this one may flap: one look at them follows, however often it does."""
        if prefix in self._covered:
            self._uncovering[prefix] = None
            if not self._is_uncovering:
                self._is_uncovering = True
                self.start(self._look_at_covered())

    def _look_at_covered(self) -> Iterator[None]:
        try:
            while self._uncovering:
                prefix = next(iter(self._uncovering))
                del self._uncovering[prefix]
                for longer in tuple(self._covered.get(prefix, ())):
                    covered = self._entries.get(longer)
                    if covered is not None:
                        self.log.add(covered, _size(covered, self.own))
                    yield
        finally:
            self._is_uncovering = False

    def _winner(self, prefix: str, entry: Entry | None) -> Learned | None:
        """What neighbours may hear of a prefix at all."""
        if prefix == self.own.address:
            return Learned(None)
        if not self._is_announced(prefix):
            return None
        for source in (self._static, self._addresses):
            account = source.get(prefix)
            near = self._neighbours.get(account.name) if account is not None else None
            if account is not None and (near is None or near.usable):
                return Learned(near)
        best = entry.candidates[0] if entry is not None and entry.candidates else None
        return best if best is not None and not best.merit()[0] else None

    def _is_announced(self, prefix: str) -> bool:
        """What is below our own address finds its way by that."""
        return prefix.startswith(self.own.scheme) and not prefix.startswith(self.own.below)

    def _cover(self, entry: Entry, winner: Learned | None) -> None:
        path = winner.path if winner is not None else ()
        covers = tuple([each for each in path if _covers(each, entry.prefix)])
        if covers == entry.covers:
            return
        self._uncover(entry)
        entry.covers = covers
        for each in covers:
            self._covered.setdefault(each, set()).add(entry.prefix)

    def _uncover(self, entry: Entry) -> None:
        for each in entry.covers:
            longer = self._covered[each]
            longer.discard(entry.prefix)
            if not longer:
                del self._covered[each]
        entry.covers = ()

    def _forget_entry(self, entry: Entry) -> None:
        self._uncover(entry)
        self.log.remove(entry)
        if not entry.candidates:
            self._entries.pop(entry.prefix, None)


def _at_once(work: Iterator[None]) -> None:
    deque(work, maxlen=0)


def _passed_on(props: tuple[Prop, ...]) -> tuple[Prop, ...]:
    """Those attributes that others are to hear of, too. Optional ones say from now on that somebody
    on the way did not look at them (as in BGP, RFC 4271 section 5)."""
    return tuple(
        prop._replace(is_partial=prop.is_partial or prop.is_optional)
        for prop in props
        if prop.is_transitive
    )


def _sorted(candidates: tuple[Learned, ...]) -> tuple[Learned, ...]:
    return tuple(sorted(candidates, key=Learned.order))


def _covers(address: str, prefix: str) -> bool:
    """Whether it is a shorter prefix of it."""
    size = len(address)
    return size < len(prefix) and prefix[size] == "." and prefix.startswith(address)


def _objection(winner: Learned, near: Neighbour) -> str:
    if winner.neighbour is near:
        return "split_horizon"
    if near.speaker and near.speaker in winner.path:
        return "loop"
    if not winner.is_wide and not near.hears_all():
        return "valley_free"
    return ""


def _size(entry: Entry, own: OwnAddress) -> int:
    """Bytes in an update, at most."""
    winner = entry.winner
    size = len(entry.prefix) + 3
    if winner is None:
        return size
    size += _ROUTE_SIZE + len(own.address) + 3
    size += sum(len(address) + 3 for address in winner.path)
    if winner.props:
        size += sum(len(prop.value) + 8 for prop in winner.props)
    return size
