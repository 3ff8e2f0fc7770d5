"""Which route wins, who is told of it, and what happens when a link goes: the routing table with a
real switch behind it."""

import itertools

import pytest

from fastilp._core.packet import Prepare, Reject, decode
from fastilp.control.neighbour import is_under
from fastilp.control.route_view import RouteView
from fastilp.types import Relation
from tests.control.scripted import Peer, Scene, route

PARENT, PEER, CHILD = Relation.PARENT, Relation.PEER, Relation.CHILD


@pytest.fixture
def scene() -> Scene:
    return Scene()


def announcing(scene: Scene, name: str, relation: Relation, *path: str, **more: object) -> Peer:
    """A neighbour that announces test.x."""
    peer = scene.peer(name, relation, **more)
    peer.update(0, 1, [route("test.x", *path)])
    return peer


# --- Which one wins -------------------------------------------------------------------------------


def test_child_peer_parent_whatever_the_path(scene: Scene) -> None:
    announcing(scene, "dad", PARENT, "test.x")
    announcing(scene, "bob", PEER, "test.bob", "test.x")
    announcing(scene, "kid", CHILD, "test.kid", "test.far", "test.x")
    assert scene.hops("test.x") == ["kid", "bob", "dad"]


def test_shorter_path_then_username(scene: Scene) -> None:
    announcing(scene, "zoe", PEER, "test.zoe", "test.x")
    announcing(scene, "bob", PEER, "test.bob", "test.x")
    announcing(scene, "anne", PEER, "test.anne", "test.far", "test.x")
    assert scene.hops("test.x") == ["bob", "zoe", "anne"]


def test_the_order_of_arrival_does_not_count() -> None:
    found = set()
    for names in itertools.permutations(("anne", "bob", "carl")):
        scene = Scene()
        for name in names:
            announcing(scene, name, PEER)
        found.add(tuple(scene.hops("test.x")))
    assert found == {("anne", "bob", "carl")}


def test_priority_before_relation(scene: Scene) -> None:
    announcing(scene, "kid", CHILD)
    announcing(scene, "dad", PARENT, "test.dad", "test.far", "test.x", route_priority=1)
    announcing(scene, "bob", PEER, route_priority=-1)
    assert scene.hops("test.x") == ["dad", "kid", "bob"]


def test_configured_then_local_then_announced(scene: Scene) -> None:
    announcing(scene, "kid", CHILD)
    scene.peer("own", Relation.NON_ROUTING_ACCOUNT, ilp_address="test.x")
    assert scene.hops("test.x") == ["own", "kid"]
    other = scene.node.account("other", Relation.NON_ROUTING_ACCOUNT)
    scene.routing.set_static({"test.x": other})
    assert scene.hops("test.x") == ["other", "own", "kid"]
    assert scene.routes()["test.x"] == "other"
    scene.routing.set_static({})
    assert scene.routes()["test.x"] == "own"


def test_default_route_is_the_parents(scene: Scene) -> None:
    scene.peer("dad", PARENT)
    assert scene.routes()[""] == "dad"
    assert scene.hops("test.anything") == []


def test_standing_changes_with_the_account(scene: Scene) -> None:
    announcing(scene, "anne", PEER)
    bob = announcing(scene, "bob", PEER)
    assert scene.hops("test.x") == ["anne", "bob"]
    scene.node.account_changed("bob", route_priority=5)
    scene.run(100)
    bob.update(0, 1, [route("test.x")])
    assert scene.hops("test.x") == ["bob", "anne"]


# --- Who is told ----------------------------------------------------------------------------------

TOLD = {
    # Who announced it: who hears of it.
    CHILD: {"dad", "peer2", "kid2"},
    PEER: {"kid2"},
    PARENT: {"kid2"},
}


@pytest.mark.parametrize("relation", list(TOLD))
def test_nobody_carries_a_strangers_packets_to_a_stranger(scene: Scene, relation: Relation) -> None:
    if relation is not PARENT:
        scene.peer("dad", PARENT)
    scene.peer("peer2", PEER)
    scene.peer("kid2", CHILD)
    announcing(scene, "it", relation)
    hears = {name for name in scene.peers if "test.x" in scene.told(name)}
    assert hears == TOLD[relation] & set(scene.peers)
    # Everybody hears of us.
    assert all("test.node" in scene.told(name) for name in scene.peers)


def test_who_is_to_be_told_everything(scene: Scene) -> None:
    announcing(scene, "bob", PEER)
    scene.peer("customer", PEER, send_all_routes=True)
    assert "test.x" in scene.told("customer")
    assert "test.x" not in scene.told("bob")


def test_what_is_below_us_is_not_told(scene: Scene) -> None:
    kid = scene.peer("kid", CHILD)
    kid.announce("test.node.kid", "test.node.kid.x", "test.other")
    scene.peer("bob")
    assert scene.told("bob") == {"test.node", "test.other"}


def test_static_routes_are_told_as_what_they_lead_to(scene: Scene) -> None:
    kid = scene.peer("kid", CHILD)
    bob = scene.peer("bob")
    zoe = scene.peer("zoe")
    scene.routing.set_static(
        {
            "test.s1": kid.session.near.account,
            "test.s2": bob.session.near.account,
            "test": bob.session.near.account,
            "": bob.session.near.account,
            "g.other": kid.session.near.account,
        }
    )
    assert scene.told("zoe") == {"test.node", "test.s1"}
    assert scene.told("kid") == {"test.node", "test.s2"}
    assert scene.told("bob") == {"test.node", "test.s1"}
    zoe.link(False)
    kid.link(False)
    scene.run(100)
    # Nothing goes that way now.
    assert scene.told("bob") == {"test.node"}
    kid.link(True)
    scene.run(100)
    assert scene.told("bob") == {"test.node", "test.s1"}


def test_who_is_on_the_way_is_not_told(scene: Scene) -> None:
    kid = scene.peer("kid", CHILD)
    kid.update(0, 1, [route("test.x", "test.kid", "test.bob", "test.x")])
    bob = scene.peer("bob")
    assert "test.x" in scene.told("bob")
    bob.update(0, 1, speaker="test.bob")
    assert "test.x" not in scene.told("bob")


def test_longer_prefixes_that_add_nothing(scene: Scene) -> None:
    kid = scene.peer("kid", CHILD)
    scene.peer("bob")
    kid.update(
        0,
        1,
        [
            route("test.a", "test.a"),
            route("test.a.b", "test.a", "test.a.b"),
            route("test.a.b.c", "test.a", "test.a.b", "test.a.b.c"),
            # It is not behind test.a.
            route("test.a.z", "test.y", "test.a.z"),
        ],
    )
    assert scene.told("bob") == {"test.node", "test.a", "test.a.z"}
    bob = scene.peers["bob"]
    bob.sync()
    scene.run(200)
    bob.heard = []
    kid.update(1, 2, [], ["test.a"])
    scene.run(500)
    updates = bob.updates()
    assert {each.prefix for update in updates for each in update.new_routes} == {"test.a.b"}
    kid.update(2, 3, [route("test.a", "test.a")])
    scene.run(500)
    updates = bob.updates()
    assert {prefix for update in updates for prefix in update.withdrawn} == {"test.a.b"}


def test_a_shorter_prefix_that_flaps(scene: Scene) -> None:
    """It covers very many: they are looked at in steps, and not once for each of its changes."""
    kid = scene.peer("kid", CHILD)
    for start in range(0, 2_000, 200):
        numbers = range(start, start + 200)
        epoch = kid.session.receiver.epoch
        routes = [route(f"test.kid.{number}", "test.kid") for number in numbers]
        kid.update(epoch, epoch + 1, routes)
    near = kid.session.near
    while scene.node.neighbours.work():
        continue
    added = []
    log_add = scene.routing.log.add
    scene.routing.log.add = lambda entry, size: (added.append(entry.prefix), log_add(entry, size))
    for _ in range(50):
        scene.routing.learn(near, route("test.kid"))
        scene.routing.withdraw(near, "test.kid")
    assert set(added) == {"test.kid"}
    scene.node.neighbours.work()
    assert len(added) < 200
    scene.run(100)
    assert len(added) == 50 + 2_000


def test_a_shorter_prefix_that_only_some_hear_of_covers_for_those(scene: Scene) -> None:
    scene.peer("zoe")
    scene.peer("kid", CHILD)
    peer = scene.peer("peer2", PEER)
    child = scene.peer("kid2", CHILD)
    peer.update(0, 1, [route("test.a")])
    child.update(0, 1, [route("test.a.b", "test.a", "test.a.b")])
    assert scene.told("zoe") == {"test.node", "test.a.b"}
    assert scene.told("kid") == {"test.node", "test.a"}


# --- Links ----------------------------------------------------------------------------------------


def sent(scene: Scene, sender: str, destination: str) -> str:
    """Where a packet goes, or the code of its refusal."""
    now_ms = scene.network.now()
    packet = Prepare(
        amount=1, expires_at=now_ms + 20_000, execution_condition=bytes(32), destination=destination
    )
    scene.node.links[sender].receive([(4_000_000, bytes(packet))])
    scene.node.switch.process(now_ms)
    for name, peer in scene.peers.items():
        for request_id, raw in scene.node.links[name].take():
            found = decode(raw)
            if isinstance(found, Prepare):
                reject = Reject(code="F99", triggered_by="test.x", message="")
                scene.node.links[name].receive([(request_id, bytes(reject))])
                scene.node.switch.process(now_ms)
                peer.scene.node.links[sender].take()
                return name
            if isinstance(found, Reject):
                return found.code
    raise AssertionError("it is nowhere")


def test_the_next_best_takes_over_at_once(scene: Scene) -> None:
    announcing(scene, "kid", CHILD)
    announcing(scene, "bob", PEER)
    scene.peer("payer", Relation.NON_ROUTING_ACCOUNT)
    assert sent(scene, "payer", "test.x.1") == "kid"
    # Before control knows.
    scene.node.links["kid"].up = False
    assert sent(scene, "payer", "test.x.1") == "bob"
    scene.peers["kid"].link(False)
    scene.run(100)
    assert scene.hops("test.x") == ["bob"]
    assert sent(scene, "payer", "test.x.1") == "bob"
    scene.peers["bob"].link(False)
    scene.run(100)
    assert sent(scene, "payer", "test.x.1") == "F02"


def test_an_open_circuit_puts_a_route_last(scene: Scene) -> None:
    kid = announcing(scene, "kid", CHILD)
    announcing(scene, "bob", PEER)
    scene.peer("payer", Relation.NON_ROUTING_ACCOUNT)
    scene.peer("zoe")
    assert "test.x" in scene.told("zoe")
    scene.node.switch.suspend(kid.session.near.account, True)
    assert sent(scene, "payer", "test.x.1") == "bob"
    scene.node.neighbours.circuit("kid", True)
    scene.run(100)
    assert scene.hops("test.x") == ["bob", "kid"]
    # What a peer told us is not for another one.
    assert "test.x" not in scene.told("zoe")
    scene.node.switch.suspend(kid.session.near.account, False)
    scene.node.neighbours.circuit("kid", False)
    scene.run(100)
    assert scene.hops("test.x") == ["kid", "bob"]
    assert sent(scene, "payer", "test.x.1") == "kid"


def test_static_route_whose_link_is_down(scene: Scene) -> None:
    announcing(scene, "bob", PEER)
    kid = scene.peer("kid", CHILD)
    scene.peer("payer", Relation.NON_ROUTING_ACCOUNT)
    scene.routing.set_static({"test.x": kid.session.near.account})
    assert sent(scene, "payer", "test.x.1") == "kid"
    view = RouteView(scene.node.switch, scene.routing, scene.node.neighbours)
    assert view.lookup("test.x.1")["next_hop"] == "kid"
    scene.node.link("kid", False)
    assert sent(scene, "payer", "test.x.1") == "bob"
    found = view.lookup("test.x.1")
    assert found["next_hop"] == "bob" and "its link is down" in found["why"]


def test_multipath_by_weight() -> None:
    scene = Scene(multipath=True)
    announcing(scene, "anne", PEER, route_weight=3)
    announcing(scene, "bob", PEER, route_weight=1)
    announcing(scene, "carl", PEER, "test.carl", "test.x")
    scene.peer("payer", Relation.NON_ROUTING_ACCOUNT)
    view = RouteView(scene.node.switch, scene.routing, scene.node.neighbours)
    assert "share" in view.lookup("test.x.1")["why"]
    where = [sent(scene, "payer", f"test.x.{number}") for number in range(200)]
    assert set(where) == {"anne", "bob"}
    assert 110 < where.count("anne") < 190
    assert where == [sent(scene, "payer", f"test.x.{number}") for number in range(200)]
    scene.node.links["bob"].up = False
    assert {sent(scene, "payer", f"test.x.{number}") for number in range(200)} == {"anne"}


def test_closed_accounts_lead_nowhere(scene: Scene) -> None:
    announcing(scene, "bob", PEER)
    announcing(scene, "zoe", PEER)
    assert scene.hops("test.x") == ["bob", "zoe"]
    scene.node.neighbours.close("bob")
    scene.run(100)
    assert scene.hops("test.x") == ["zoe"]
    assert scene.node.neighbours.session("bob") is None


# --- Words ----------------------------------------------------------------------------------------


def test_why(scene: Scene) -> None:
    view = RouteView(scene.node.switch, scene.routing, scene.node.neighbours)
    announcing(scene, "bob", PEER)
    assert view.lookup("test.x.y")["why"] == "nobody else announces it"
    announcing(scene, "kid", CHILD, "test.kid", "test.x")
    found = view.lookup("test.x.y")
    assert (found["next_hop"], found["prefix"]) == ("kid", "test.x")
    assert found["why"] == "a Child comes before a Peer"
    announcing(scene, "kid2", CHILD, "test.kid2", "test.far", "test.x")
    assert "shorter" in view.lookup("test.x")["why"]
    announcing(scene, "kid0", CHILD, "test.kid0", "test.x")
    assert "username" in view.lookup("test.x")["why"]
    announcing(scene, "zoe", PEER, route_priority=9)
    assert "priority" in view.lookup("test.x")["why"]
    assert view.lookup("test.elsewhere") == {
        "address": "test.elsewhere",
        "next_hop": None,
        "why": "no route matches",
    }
    for address in ("test.node", "peer.config", "no address"):
        assert view.lookup(address)["next_hop"] is None
    told = {each["prefix"]: each for each in view.told("bob", ["test.x", "test.node"])}
    assert told["test.node"]["announced"] and not told["test.x"]["announced"]
    assert told["test.x"]["why"].startswith("a peer or the parent told us")
    assert view.summary()["bob"]["learned"] == 1


def test_why_a_longer_prefix_is_not_told(scene: Scene) -> None:
    view = RouteView(scene.node.switch, scene.routing, scene.node.neighbours)
    kid = scene.peer("kid", CHILD)
    scene.peer("bob")
    longer = [route("test.a", "test.a"), route("test.a.b", "test.a", "test.a.b")]
    kid.update(0, 1, [*longer, route("test.node.kid.x")])
    told = {each["prefix"]: each for each in view.told("bob", ["test.a.b", "test.node.kid.x"])}
    covered = "a less specific route that it is told covers it"
    assert told["test.a.b"]["why"] == f"{covered}: test.a"
    assert told["test.node.kid.x"]["why"] == f"{covered}: test.node"
    assert not any(each["announced"] for each in told.values())


@pytest.mark.parametrize(
    ("address", "prefix", "expected"),
    [
        ("g.a", "g.a", True),
        ("g.a.b", "g.a", True),
        ("g.ab", "g.a", False),
        ("g.a", "g.a.b", False),
        ("g.a", "", True),
        ("g", "g.a", False),
    ],
)
def test_whole_segments(address: str, prefix: str, expected: bool) -> None:
    assert is_under(address, prefix) is expected
