"""Why packets go where they go: the routing table, its neighbours, and single addresses, for people
and the API. Imports routing, neighbours and _core.

Everything is read when it is asked for; the switch decides by the same data.
"""

from collections.abc import Iterator
from typing import Any

from fastilp._core.books import Account
from fastilp._core.packet import is_valid_address
from fastilp._core.switch import Switch
from fastilp.control.announcements import Entry
from fastilp.control.neighbour import Learned, Neighbour
from fastilp.control.neighbours import Neighbours
from fastilp.control.routing import DEFAULT, Routing
from fastilp.control.session import Session

STATIC, ACCOUNT, ANNOUNCED, PARENT = "static", "account", "announced", "parent"

_WHY = {
    STATIC: "the operator has set it",
    ACCOUNT: "it is the account's own address",
    PARENT: "what no other route matches goes to the parent",
}


class RouteView:
    def __init__(self, switch: Switch, routing: Routing, neighbours: Neighbours) -> None:
        self._switch = switch
        self._routing = routing
        self.neighbours = neighbours

    # --- The table ------------------------------------------------------------------------------

    def table(self, prefixes: list[str]) -> Iterator[dict[str, Any]]:
        """Of these prefixes those that have a route."""
        for prefix in prefixes:
            found = self.route(prefix)
            if found is not None:
                yield found

    def route(self, prefix: str) -> dict[str, Any] | None:
        """A prefix, its next hop, why that one, and who else offers it, best first."""
        candidates = list(self._candidates(prefix))
        if not candidates:
            return None
        best = candidates[0]
        hop = next((each for each in candidates if each["usable"]), best)
        why = _why(candidates, is_shared=self._routing.multipath)
        if hop is not best:
            why = f"{best['next_hop']} comes first ({why}), but its link is down"
        return {"prefix": prefix, "next_hop": hop["next_hop"], "why": why, "candidates": candidates}

    def _candidates(self, prefix: str) -> Iterator[dict[str, Any]]:
        routing = self._routing
        for source, account in (
            (STATIC, routing.static_route(prefix)),
            (ACCOUNT, routing.owner_of(prefix)),
        ):
            if account is not None:
                yield self._own(source, account)
        entry = routing.entry(prefix)
        for learned in entry.candidates if entry is not None else ():
            if learned.neighbour is not None:
                yield _announced(learned, learned.neighbour)
        if prefix == DEFAULT and routing.parent is not None:
            yield self._own(PARENT, routing.parent)

    def _own(self, source: str, account: Account) -> dict[str, Any]:
        near = self._routing.neighbour(account.name)
        return {
            "next_hop": account.name,
            "source": source,
            "usable": near.usable if near is not None else True,
        }

    # --- One address ----------------------------------------------------------------------------

    def lookup(self, address: str) -> dict[str, Any]:
        """What would become of a packet to this address, and nothing is sent."""
        if not is_valid_address(address):
            return {"address": address, "next_hop": None, "why": "it is no ILP address"}
        if address == self._switch.address:
            why = "it is this node's own address: echo requests end here"
            return {"address": address, "next_hop": None, "why": why}
        if address.startswith("peer."):
            why = "peer. addresses never leave a link"
            return {"address": address, "next_hop": None, "why": why}
        for prefix in _prefixes(address):
            route = self.route(prefix)
            if route is not None:
                return {"address": address, **route}
        return {"address": address, "next_hop": None, "why": "no route matches"}

    # --- Neighbours -----------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """Who tells us routes, and whom we tell."""
        return {session.near.username: self._session(session) for session in self._sessions()}

    def _sessions(self) -> list[Session]:
        return self.neighbours.sessions()

    def _session(self, session: Session) -> dict[str, Any]:
        near, sender, receiver = session.near, session.sender, session.receiver
        return {
            "relation": near.relation.value,
            "up": session.is_up,
            "speaker": near.speaker,
            "receives_from": near.receives,
            "learned": len(near.learned),
            "routes_max": near.routes_max,
            "table_id": receiver.table_id.hex(),
            "epoch": receiver.epoch,
            "refused": dict(sorted(near.refused.items())),
            "sends_to": near.sends,
            "asked": sender.mode.name.lower(),
            "sent_epoch": sender.seen,
            "current_epoch": self._routing.log.epoch,
            "updates_sent": sender.sent,
            "failures": sender.failures,
        }

    def told(self, username: str, prefixes: list[str]) -> Iterator[dict[str, Any]]:
        """What an account is told of each prefix, or why it is not."""
        session = self.neighbours.session(username)
        near = session.near if session is not None else None
        for prefix in prefixes:
            entry = self._routing.entry(prefix)
            if entry is not None:
                yield self._told(entry, near)

    def _told(self, entry: Entry, near: Neighbour | None) -> dict[str, Any]:
        route = self._routing.route(entry)
        if near is None or not near.sends:
            reason = "no_sender"
        else:
            reason = self._routing.objection(entry, near)
        why = _REASONS[reason]
        if reason == "covered" and near is not None:
            why = f"{why}: {self._routing.cover(entry, near)}"
        return {
            "prefix": entry.prefix,
            "announced": not reason,
            "why": why,
            "path": list(route.path) if route is not None else [],
            "known": near is not None and bool(entry.told & near.slot),
        }


_REASONS = {
    "": "",
    "no_sender": "we send this account no routes",
    "no_route": "there is no route that others may use",
    "split_horizon": "it is the next hop itself",
    "loop": "it is on the way to it",
    "valley_free": "a peer or the parent told us: only children hear of it (send_all_routes)",
    "covered": "a less specific route that it is told covers it",
}


def _announced(learned: Learned, near: Neighbour) -> dict[str, Any]:
    return {
        "next_hop": near.username,
        "source": ANNOUNCED,
        "usable": near.usable,
        "relation": near.relation.value,
        "priority": near.priority,
        "path": list(learned.path),
    }


def _why(candidates: list[dict[str, Any]], *, is_shared: bool) -> str:
    first = candidates[0]
    if first["source"] != ANNOUNCED:
        return _WHY[first["source"]]
    others = [each for each in candidates[1:] if each["source"] == ANNOUNCED]
    if not others:
        return "nobody else announces it"
    second = others[0]
    for key, text in (
        ("usable", "the link of the next best one is down"),
        ("priority", "its priority is higher than that of the next best one"),
        ("relation", f"a {first['relation']} comes before a {second['relation']}"),
    ):
        if first[key] != second[key]:
            return text
    if len(first["path"]) != len(second["path"]):
        return "its path is shorter than that of the next best one"
    if is_shared:
        return "it is one of equals, which share the destinations by weight"
    return "its username comes first among equals"


def _prefixes(address: str) -> Iterator[str]:
    """Itself and every shorter one, longest first, down to the default route."""
    while address:
        yield address
        address = address.rpartition(".")[0]
    yield DEFAULT
