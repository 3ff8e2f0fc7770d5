"""What a node takes from its neighbours, row by row: tables, epochs, gaps, hold-down, filters, and
the ways in which other implementations differ."""

import pytest

from fastilp._core.packet import Fulfill, Reject
from fastilp.control import ccp
from fastilp.control.ccp import Mode, Prop, Route, RouteControl
from fastilp.types import Relation
from tests.control.scripted import AUTH, FULFILL, OTHER_TABLE, TABLE, Peer, Scene, route

NOTHING = RouteControl(Mode.SYNC)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def bob(scene: Scene) -> Peer:
    bob = scene.peer("bob")
    assert bob.controls() == [NOTHING]
    return bob


def code_of(answer: Fulfill | Reject) -> str:
    assert isinstance(answer, Reject), answer
    assert answer.triggered_by == "test.node"
    return answer.code


# --- Asking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", [Relation.PARENT, Relation.PEER, Relation.CHILD])
def test_everybody_is_asked_when_the_link_comes_up(scene: Scene, relation: Relation) -> None:
    peer = scene.peer("pat", relation, is_up=False)
    scene.run(60_000)
    assert peer.heard == []
    peer.link(True)
    assert peer.controls() == [NOTHING]
    scene.run(20_000)
    assert peer.controls() == []


def test_who_may_not_announce_is_not_asked(scene: Scene) -> None:
    wallet = scene.peer("walt", Relation.NON_ROUTING_ACCOUNT)
    mute = scene.peer("mute", receive_routes=False)
    scene.run(60_000)
    assert wallet.heard == mute.heard == []


def test_asked_again_after_every_connection(scene: Scene, bob: Peer) -> None:
    bob.announce("test.bob")
    bob.link(False)
    bob.link(True)
    # From the start: what it said is forgotten.
    assert bob.controls() == [NOTHING]


def test_asked_again_when_it_was_started_anew(scene: Scene, bob: Peer) -> None:
    """Over HTTP nothing else tells: it knows nothing of us, so what we know of it is old."""
    bob.announce("test.bob", "test.carl")
    bob.controls()
    assert bob.sync() == FULFILL
    assert bob.controls() == [RouteControl(Mode.SYNC, TABLE, 1)]
    assert bob.update(0, 1, [route("test.bob")], table=OTHER_TABLE) == FULFILL
    scene.run(100)
    assert scene.routes() == {"test.bob": "bob"}
    # Who knows us, asks for what is new only.
    assert bob.sync(scene.node.neighbours.table_id, 1) == FULFILL
    assert bob.controls() == []


def test_asked_again_when_it_refuses(scene: Scene) -> None:
    bob = scene.peer("bob", is_up=False)
    bob.answer = Reject(code="F00", triggered_by="test.bob", message="not yet")
    bob.link(True)
    times = []
    for _ in range(130):
        times += [scene.network.now()] * len(bob.controls())
        scene.run(1_000)
    waits = [(b - a) // 1_000 for a, b in zip(times, times[1:], strict=False)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    bob.answer = FULFILL
    scene.run(30_000)
    assert bob.controls() == [NOTHING]


def test_a_child_that_refuses_is_left_alone(scene: Scene) -> None:
    wallet = scene.peer("walt", Relation.CHILD, is_up=False)
    wallet.answer = Reject(code="F02", triggered_by="test.x", message="?")
    wallet.link(True)
    scene.run(6 * 3_600_000)
    assert 10 < len(wallet.controls()) < 20


def test_asked_again_when_the_question_was_lost(scene: Scene) -> None:
    bob = scene.peer("bob", is_up=False)
    bob.answer = None
    bob.link(True)
    scene.run(9_000)
    assert len(bob.controls()) == 1
    bob.answer = FULFILL
    scene.run(3_000)
    assert bob.controls() == [NOTHING]


# --- Tables and epochs ----------------------------------------------------------------------------


def test_update_and_heartbeat(scene: Scene, bob: Peer) -> None:
    assert bob.update(0, 3, [route("test.bob"), route("test.carl", "test.bob", "test.carl")]) == (
        FULFILL
    )
    assert scene.routes() == {"test.bob": "bob", "test.carl": "bob"}
    assert bob.update(3, 3) == FULFILL
    assert scene.routes() == {"test.bob": "bob", "test.carl": "bob"}
    receiver = bob.session.receiver
    assert (receiver.table_id, receiver.epoch) == (TABLE, 3)


def test_withdrawals_come_first(scene: Scene, bob: Peer) -> None:
    bob.announce("test.bob", "test.carl")
    assert bob.update(1, 2, [route("test.bob")], ["test.bob", "test.carl", "test.never"]) == FULFILL
    assert scene.routes() == {"test.bob": "bob"}


def test_peers_that_push_unasked(scene: Scene) -> None:
    """Interledger.rs does, whether it was asked or not."""
    bob = scene.peer("bob", is_up=False)
    scene.node.links["bob"].up = True
    bob.announce("test.bob")
    assert scene.routes() == {"test.bob": "bob"}
    assert bob.controls() == [RouteControl(Mode.SYNC, TABLE, 1)]


def test_gap_is_fulfilled_and_asked_for(scene: Scene, bob: Peer) -> None:
    bob.announce("test.bob")
    assert bob.update(2, 3, [route("test.carl")]) == FULFILL
    assert scene.routes() == {"test.bob": "bob"}
    assert bob.controls() == [RouteControl(Mode.SYNC, TABLE, 1)]
    assert bob.update(1, 3, [route("test.carl")]) == FULFILL
    assert scene.routes() == {"test.bob": "bob", "test.carl": "bob"}
    assert bob.session.near.refused == {"gap": 1}


def test_gaps_in_a_row_are_asked_for_once_a_second(scene: Scene, bob: Peer) -> None:
    """The Java connector forgets the table, and so may make one gap after the other."""
    for number in range(50):
        assert bob.update(5 + number, 6 + number, [route("test.bob")]) == FULFILL
        scene.run(100)
    assert 4 <= len(bob.controls()) <= 6
    assert bob.session.near.refused["gap"] == 50


@pytest.mark.parametrize(("first", "last"), [(0, 1), (1, 1), (0, 0)])
def test_stale_updates_change_nothing(scene: Scene, bob: Peer, first: int, last: int) -> None:
    """Epochs going backwards, too."""
    assert bob.update(0, 2, [route("test.bob")]) == FULFILL
    assert bob.update(first, last, [route("test.carl")], ["test.bob"]) == FULFILL
    assert scene.routes() == {"test.bob": "bob"}
    assert bob.session.receiver.epoch == 2
    assert bob.session.near.refused == {"stale": 1}


def test_the_same_epoch_again_is_taken(scene: Scene, bob: Peer) -> None:
    assert bob.update(0, 2, [route("test.bob")]) == FULFILL
    assert bob.update(0, 2, [route("test.bob"), route("test.carl")]) == FULFILL
    assert scene.routes() == {"test.bob": "bob", "test.carl": "bob"}


def test_new_table_replaces_the_old_one(scene: Scene, bob: Peer) -> None:
    """A peer that was restarted: others keep what it no longer has."""
    bob.announce("test.bob", "test.carl")
    assert bob.update(0, 1, [route("test.bob")], table=OTHER_TABLE) == FULFILL
    scene.run(100)
    assert scene.routes() == {"test.bob": "bob"}
    receiver = bob.session.receiver
    assert (receiver.table_id, receiver.epoch) == (OTHER_TABLE, 1)


def test_new_table_with_a_gap(scene: Scene, bob: Peer) -> None:
    """Until it has said something that counts, the old routes are all there is."""
    bob.announce("test.bob", "test.carl")
    assert bob.update(4, 5, [route("test.bob")], table=OTHER_TABLE) == FULFILL
    assert scene.routes() == {"test.bob": "bob", "test.carl": "bob"}
    assert bob.controls() == [RouteControl(Mode.SYNC, OTHER_TABLE, 0)]
    assert bob.update(0, 5, [route("test.bob")], table=OTHER_TABLE) == FULFILL
    scene.run(100)
    assert scene.routes() == {"test.bob": "bob"}


def test_peers_that_reset_their_table_again_and_again(scene: Scene, bob: Peer) -> None:
    for number in range(30):
        table = bytes([number]) * 16
        assert bob.update(0, 1, [route(f"test.bob{number}")], table=table) == FULFILL
        scene.run(10)
    assert scene.routes() == {"test.bob29": "bob"}
    assert len(bob.session.near.learned) == 1


def test_changed_path_moves_the_best_route(scene: Scene, bob: Peer) -> None:
    """Interledger.rs looks at new prefixes only."""
    anne = scene.peer("anne")
    anne.update(0, 1, [route("test.x", "test.anne", "test.x")])
    bob.update(0, 1, [route("test.x", "test.bob", "test.y", "test.x")])
    assert scene.hops("test.x") == ["anne", "bob"]
    bob.update(1, 2, [route("test.x")])
    assert scene.hops("test.x") == ["bob", "anne"]


# --- The end of routes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hold_down_ms", "held_ms"), [(0, 45_000), (30_000, 45_000), (60_000, 60_000)]
)
def test_hold_down_is_enforced(scene: Scene, bob: Peer, hold_down_ms: int, held_ms: int) -> None:
    bob.update(0, 1, [route("test.bob")], hold_down_ms=hold_down_ms)
    scene.run(held_ms - 100)
    assert scene.routes() == {"test.bob": "bob"}
    bob.heard = []
    scene.run(200)
    assert scene.routes() == {}
    # And it is asked, from the start.
    assert bob.controls() == [NOTHING]


def test_no_peer_is_waited_for_longer_than_an_hour(scene: Scene, bob: Peer) -> None:
    bob.update(0, 1, [route("test.bob")], hold_down_ms=2**32 - 1)
    scene.run(3_600_100)
    assert scene.routes() == {}


def test_heartbeats_keep_routes(scene: Scene, bob: Peer) -> None:
    bob.announce("test.bob")
    for _ in range(10):
        scene.run(30_000)
        assert bob.update(1, 1) == FULFILL
    assert scene.routes() == {"test.bob": "bob"}


def test_gaps_and_stale_updates_keep_nothing(scene: Scene, bob: Peer) -> None:
    bob.update(0, 5, [route("test.bob")])
    for _ in range(5):
        scene.run(10_000)
        bob.update(7, 8)
        bob.update(1, 2)
    assert scene.routes() == {}


def test_silence_is_asked_about_again_and_again(scene: Scene, bob: Peer) -> None:
    """It took our question, and says nothing."""
    scene.run(200_000)
    assert len(bob.controls()) == 4


def test_routes_go_with_the_link(scene: Scene, bob: Peer) -> None:
    bob.announce("test.bob")
    bob.link(False)
    scene.run(100)
    assert scene.routes() == {}


# --- The filter -----------------------------------------------------------------------------------

REFUSED = [
    ("test.node", "own_prefix"),
    ("test.node.x", "own_prefix"),
    ("", "too_short"),
    ("test", "too_short"),
    ("g", "too_short"),
    ("g.bob", "scheme"),
    ("test1.bob", "scheme"),
    ("peer.config", "scheme"),
    ("test.bob!", "invalid"),
    ("test..bob", "invalid"),
    ("test." + "a" * 1_019, "invalid"),
    ("test." + "b" * 12_000, "invalid"),
    ("test" + ".s" * 32, "invalid"),
]


@pytest.mark.parametrize(("prefix", "reason"), REFUSED)
def test_prefixes_that_are_not_taken(scene: Scene, bob: Peer, prefix: str, reason: str) -> None:
    assert bob.update(0, 1, [route(prefix), route("test.bob")]) == FULFILL
    assert scene.routes() == {"test.bob": "bob"}
    assert bob.session.near.refused == {reason: 1}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (("test.bob", "test.node", "test.x"), "loop"),
        (tuple(f"test.n{number}" for number in range(65)), "path"),
        (("test." + "a" * 1_000,) * 5, "path"),
        (("test.bob", "not an address"), "invalid"),
    ],
)
def test_paths_that_are_not_taken(
    scene: Scene, bob: Peer, path: tuple[str, ...], reason: str
) -> None:
    assert bob.update(0, 1, [route("test.x", *path)]) == FULFILL
    assert scene.routes() == {}
    assert bob.session.near.refused == {reason: 1}


def test_attributes_that_are_too_large(scene: Scene, bob: Peer) -> None:
    large = Route("test.x", ("test.x",), AUTH, (Prop(1, bytes(1_100)),))
    assert bob.update(0, 1, [large]) == FULFILL
    assert bob.session.near.refused == {"path": 1}


def test_a_neighbour_whose_name_extends_ours(scene: Scene, bob: Peer) -> None:
    """Interledger.rs compares strings, and loses it."""
    bob.announce("test.node2", "test.node2.x")
    assert set(scene.routes()) == {"test.node2", "test.node2.x"}


def test_a_child_may_announce_itself(scene: Scene) -> None:
    kid = scene.peer("kid", Relation.CHILD)
    assert kid.update(
        0, 1, [route("test.node.kid"), route("test.node.kid.x"), route("test.z")]
    ) == (FULFILL)
    assert set(kid.session.near.learned) == {"test.node.kid", "test.node.kid.x", "test.z"}
    for prefix in ("test.node", "test.node.other", "test.node.kid2"):
        assert kid.update(1, 1, [route(prefix)]) == FULFILL
    assert kid.session.near.refused == {"own_prefix": 3}


def test_what_was_said_before_is_void_when_it_is_refused(scene: Scene, bob: Peer) -> None:
    bob.announce("test.x")
    assert bob.update(1, 2, [route("test.x", "test.bob", "test.node", "test.x")]) == FULFILL
    assert scene.routes() == {}


def test_lists(scene: Scene) -> None:
    bob = scene.peer("bob", import_allow=("test.b", "test.c"), import_deny=("test.b.secret",))
    bob.announce("test.b", "test.b.x", "test.bb", "test.b.secret", "test.b.secret.y", "test.c")
    assert set(scene.routes()) == {"test.b", "test.b.x", "test.c"}
    assert bob.session.near.refused == {"not_allowed": 1, "denied": 2}


def test_more_routes_than_it_may_have(scene: Scene) -> None:
    bob = scene.peer("bob", routes_max=3)
    bob.announce(*(f"test.x{number}" for number in range(10)))
    assert len(scene.routes()) == 3
    assert bob.session.near.refused == {"too_many": 7}
    # One that it has may change, and one that goes makes room.
    assert bob.update(1, 2, [route("test.x0", "test.bob", "test.x0"), route("test.y")]) == FULFILL
    assert bob.update(2, 3, [route("test.z")], ["test.x1"]) == FULFILL
    assert set(scene.routes()) == {"test.x0", "test.x2", "test.z"}


# --- Refusals -------------------------------------------------------------------------------------


def test_more_memory_than_its_routes_may_take(scene: Scene) -> None:
    """Each path is as long as it may be: together they take no more than ordinary ones."""
    greedy = scene.peer("greedy", routes_max=100)
    path = [f"test.greedy.{number:02}.{'x' * 50}" for number in range(60)]
    for number in range(50):
        routes = [route(f"test.greedy.{number}", *path)]
        assert greedy.update(number, number + 1, routes) == FULFILL
    near = greedy.session.near
    assert 5 < len(near.learned) < 20
    assert near.refused["too_many"] == 50 - len(near.learned)
    assert greedy.update(50, 51, [], list(near.learned)) == FULFILL
    assert near.held == 0
    greedy.announce(*[f"test.small{number}" for number in range(100)])
    assert len(near.learned) == 100


@pytest.mark.parametrize("name", ["walt", "mute"])
def test_who_is_not_listened_to(scene: Scene, name: str) -> None:
    scene.peer("walt", Relation.NON_ROUTING_ACCOUNT)
    scene.peer("mute", receive_routes=False)
    assert code_of(scene.peers[name].update(0, 1, [route("test.x")])) == "F00"
    assert scene.routes() == {}


@pytest.mark.parametrize("destination", [ccp.CONTROL, ccp.UPDATE])
@pytest.mark.parametrize("data", [b"", b"\x02", bytes(21), b"\xff" * 300])
def test_malformed_requests(scene: Scene, bob: Peer, destination: str, data: bytes) -> None:
    assert code_of(bob.say_data(destination, data)) == "F01"
    assert bob.session.near.refused == {"malformed": 1}


@pytest.mark.parametrize("destination", [ccp.CONTROL, ccp.UPDATE])
def test_wrong_condition_and_money(scene: Scene, bob: Peer, destination: str) -> None:
    good = ccp.prepare(destination, b"", scene.network.now() + 10_000)
    fields = {
        "amount": 0,
        "expires_at": good.expires_at,
        "execution_condition": good.execution_condition,
        "destination": destination,
    }
    wrong = type(good)(**{**fields, "execution_condition": b"\1" * 32})  # type: ignore[arg-type]
    assert code_of(bob.say(wrong)) == "F01"
    money = type(good)(**{**fields, "amount": 1})  # type: ignore[arg-type]
    assert code_of(bob.say(money)) == "F03"


def test_who_may_no_longer_announce_is_not_asked(scene: Scene, bob: Peer) -> None:
    bob.announce("test.bob")
    scene.node.account_changed("bob", receive_routes=False)
    scene.run()
    assert scene.routes() == {}
    bob.heard = []
    scene.run(300_000)
    assert bob.controls() == []


def test_an_update_of_a_connection_that_was_lost_meanwhile(scene: Scene, bob: Peer) -> None:
    """The link goes between the steps in which an update is worked off."""
    routes = [route(f"test.bob.{number}", "test.bob") for number in range(500)]
    update = ccp.RouteUpdate(TABLE, 1, 0, 1, 30_000, "test.bob", routes)
    for steps in range(5):
        session = bob.session
        prepare = ccp.prepare(ccp.UPDATE, ccp.encode_update(update), scene.network.now() + 10_000)
        assert session.take_update(steps, prepare) is None
        for _ in range(steps):
            scene.node.neighbours.work()
        scene.node.link("bob", False)
        scene.run()
        assert (scene.routes(), session.near.learned, session.near.held) == ({}, {}, 0)
        assert session.receiver.table_id == ccp.NO_TABLE
        bob.link(True)
    assert bob.session.near.refused["link_down"] == 5


def test_updates_faster_than_they_are_worked_off(scene: Scene, bob: Peer) -> None:
    """The inbox is short; what does not fit is refused, and the rest is done."""
    update = ccp.RouteUpdate(TABLE, 1, 0, 1, 30_000, "test.bob", [route("test.bob")])
    now_ms = scene.network.now()
    packet = bytes(ccp.prepare(ccp.UPDATE, ccp.encode_update(update), now_ms + 10_000))
    scene.node.links["bob"].receive([(1_000 + number, packet) for number in range(100)])
    scene.node.wake()
    scene.run()
    codes = [each.code for each in bob.answers.values() if isinstance(each, Reject)]
    assert set(codes) == {"T05"} and len(codes) == bob.session.near.refused["flood"]
    assert len(bob.answers) == 100 and 80 < len(codes) < 100
    assert scene.routes() == {"test.bob": "bob"}
