"""What a node tells its neighbours, row by row: when, how much at a time, from which epoch, to
whom, and what vouches for it."""

import hmac
from hashlib import sha256

import pytest

from fastilp._core.packet import Fulfill, Reject
from fastilp.control import ccp
from fastilp.control.ccp import Prop, Route, RouteUpdate
from fastilp.types import Relation
from tests.control.scripted import AUTH, FULFILL, TABLE, Peer, Scene, route

REFUSAL = Reject(code="F00", triggered_by="test.bob", message="Gap in routing table")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def bob(scene: Scene) -> Peer:
    return scene.peer("bob")


@pytest.fixture
def kid(scene: Scene) -> Peer:
    """A child, whose routes everybody hears of."""
    return scene.peer("kid", Relation.CHILD)


def new(updates: list[RouteUpdate]) -> set[str]:
    return {route.prefix for update in updates for route in update.new_routes}


def gone(updates: list[RouteUpdate]) -> set[str]:
    return {prefix for update in updates for prefix in update.withdrawn}


def caught_up(peer: Peer) -> list[RouteUpdate]:
    """What it is told after a question from the start, and a moment."""
    peer.heard = []
    assert peer.sync() == FULFILL
    peer.scene.run(1_000)
    return peer.updates()


# --- When -----------------------------------------------------------------------------------------


def test_silent_until_asked(scene: Scene, bob: Peer, kid: Peer) -> None:
    kid.announce("test.kid")
    scene.run(120_000)
    assert bob.updates() == []


def test_asked_and_told_at_once(scene: Scene, bob: Peer) -> None:
    bob.heard = []
    assert bob.sync() == FULFILL
    [update] = bob.updates()
    assert (update.from_epoch, update.to_epoch, update.current_epoch) == (0, 1, 1)
    assert (update.speaker, update.hold_down_ms) == ("test.node", 45_000)
    assert new([update]) == {"test.node"}
    assert len(update.table_id) == 16 and update.table_id != ccp.NO_TABLE


def test_changes_follow_and_heartbeats(scene: Scene, bob: Peer, kid: Peer) -> None:
    caught_up(bob)
    kid.announce("test.kid")
    scene.run(200)
    [update] = bob.updates()
    assert new([update]) == {"test.kid"}
    before = update.to_epoch
    scene.run(29_000)
    assert bob.updates() == []
    scene.run(1_500)
    [update] = bob.updates()
    assert (update.from_epoch, update.to_epoch) == (before, before)
    assert not update.new_routes and not update.withdrawn


def test_idle_is_obeyed(scene: Scene, bob: Peer, kid: Peer) -> None:
    """Interledger.rs goes on."""
    caught_up(bob)
    assert bob.idle() == FULFILL
    kid.announce("test.kid")
    scene.run(40_000)
    assert bob.updates() == []
    assert new(caught_up(bob)) == {"test.node", "test.kid"}


def test_changes_are_gathered(scene: Scene, bob: Peer, kid: Peer) -> None:
    caught_up(bob)
    for number in range(20):
        kid.announce(f"test.kid{number}")
        scene.run(10)
    scene.run(200)
    updates = bob.updates()
    assert new(updates) == {f"test.kid{number}" for number in range(20)}
    assert len(updates) <= 4


def test_superseded_changes_are_not_sent(scene: Scene, bob: Peer, kid: Peer) -> None:
    caught_up(bob)
    bob.answer = None
    kid.announce("test.first")
    scene.run(200)
    for number in range(5):
        epoch = kid.session.receiver.epoch
        kid.update(epoch, epoch + 1, [route("test.x", f"test.n{number}", "test.x")])
        scene.run(200)
    kid.update(epoch + 1, epoch + 2, [], ["test.first"])
    bob.answer = FULFILL
    bob.heard = []
    scene.run(20_000)
    updates = bob.updates()
    told = [each for update in updates for each in update.new_routes]
    assert [(each.prefix, each.path[1]) for each in told] == [("test.x", "test.n4")]
    # It may have heard of that before.
    assert gone(updates) == {"test.first"}


def test_one_update_at_a_time(scene: Scene, bob: Peer, kid: Peer) -> None:
    caught_up(bob)
    bob.answer = None
    for number in range(5):
        kid.announce(f"test.kid{number}")
        scene.run(1_000)
    assert len(bob.updates()) == 1


def test_asked_in_a_loop(scene: Scene, bob: Peer, kid: Peer) -> None:
    """From the start, again and again: once a second."""
    bob.heard = []
    for _ in range(100):
        assert bob.sync() == FULFILL
        scene.run(50)
    assert len(bob.updates()) <= 7


@pytest.mark.parametrize("username", ["mute", "walt"])
def test_who_is_told_nothing(scene: Scene, username: str) -> None:
    scene.peer("mute", send_routes=False)
    scene.peer("walt", Relation.NON_ROUTING_ACCOUNT)
    answer = scene.peers[username].sync()
    assert isinstance(answer, Reject) and answer.code == "F00"
    scene.run(60_000)
    assert scene.peers[username].updates() == []


# --- From which epoch -----------------------------------------------------------------------------


def grown(scene: Scene, bob: Peer, kid: Peer) -> bytes:
    """bob knows epoch 1, and there are two more. The table's id."""
    table: bytes = caught_up(bob)[0].table_id
    bob.link(False)
    for number in range(2):
        kid.announce(f"test.kid{number}")
        kid.session.sender.plan(kid.session.near, scene.routing, scene.network.now())
    bob.link(True)
    bob.heard = []
    return table


def test_only_what_is_missing(scene: Scene, bob: Peer, kid: Peer) -> None:
    table = grown(scene, bob, kid)
    assert bob.sync(table, 1) == FULFILL
    [update] = bob.updates()
    assert (update.from_epoch, update.to_epoch) == (1, 3)
    assert new([update]) == {"test.kid0", "test.kid1"}


@pytest.mark.parametrize(("own_table", "epoch"), [(False, 1), (True, 2), (True, 99), (True, 0)])
def test_everything(scene: Scene, bob: Peer, kid: Peer, own_table: bool, epoch: int) -> None:
    """For another table, or an epoch that it was never sent, or that has not been yet."""
    table = grown(scene, bob, kid)
    assert bob.sync(table if own_table else TABLE, epoch) == FULFILL
    scene.run(1_500)
    updates = bob.updates()
    assert updates[0].from_epoch == 0
    assert new(updates) == {"test.node", "test.kid0", "test.kid1"}


def test_lost_updates_are_sent_again(scene: Scene, bob: Peer, kid: Peer) -> None:
    caught_up(bob)
    bob.answer = None
    kid.announce("test.kid")
    scene.run(1_000)
    assert new(bob.updates()) == {"test.kid"}
    bob.answer = FULFILL
    scene.run(11_000)
    [update] = bob.updates()
    assert (update.from_epoch, update.to_epoch) == (1, 2)
    assert new([update]) == {"test.kid"}


@pytest.mark.parametrize("answer", [FULFILL, REFUSAL])
def test_asked_while_an_update_is_under_way(
    scene: Scene, bob: Peer, kid: Peer, answer: Fulfill | Reject
) -> None:
    """What is answered after the question was said before it: nothing is skipped."""
    caught_up(bob)
    bob.answer = None
    kid.announce("test.kid")
    scene.run(1_000)
    [late] = bob.requests_of(ccp.UPDATE)
    bob.heard = []
    assert bob.sync() == FULFILL
    bob.answer = FULFILL
    bob.reply(late, answer)
    scene.run(1_000)
    updates = bob.updates()
    assert updates[0].from_epoch == 0
    assert new(updates) == {"test.node", "test.kid"}


def test_an_answer_to_an_update_of_the_table_before(scene: Scene, bob: Peer, kid: Peer) -> None:
    caught_up(bob)
    bob.answer = None
    kid.announce("test.kid")
    scene.run(1_000)
    [late] = bob.requests_of(ccp.UPDATE)
    bob.heard = []
    scene.node.neighbours.readdress("test.other")
    bob.answer = FULFILL
    bob.reply(late, FULFILL)
    scene.run(1_000)
    assert bob.updates()[0].from_epoch == 0


def test_idle_while_an_update_is_under_way(scene: Scene, bob: Peer, kid: Peer) -> None:
    """Idle and sync in turns get nobody more than one update at a time."""
    caught_up(bob)
    bob.answer = None
    for number in range(5):
        kid.announce(f"test.kid{number}")
        scene.run(1_000)
        assert bob.idle() == bob.sync() == FULFILL
    assert len(bob.updates()) == 1


def test_peers_that_reject_gaps(scene: Scene, bob: Peer, kid: Peer) -> None:
    """Interledger.rs says F00, and asks: it is sent what it asks for, at once."""
    table = caught_up(bob)[0].table_id
    bob.answer = REFUSAL
    kid.announce("test.kid")
    scene.run(1_000)
    assert len(bob.updates()) == 1
    bob.answer = FULFILL
    assert bob.sync(table, 0) == FULFILL
    scene.run(1_000)
    updates = bob.updates()
    assert updates[0].from_epoch == 0
    assert new(updates) == {"test.node", "test.kid"}


def test_peers_that_refuse_everything_are_left_alone(scene: Scene, bob: Peer) -> None:
    caught_up(bob)
    bob.answer = Reject(code="F00", triggered_by="test.bob", message="not accepted here")
    bob.heard = []
    scene.run(24 * 3_600_000)
    assert len(bob.updates()) < 40
    bob.answer = FULFILL
    assert new(caught_up(bob)) == {"test.node"}


def test_peers_that_start_idle(scene: Scene, bob: Peer) -> None:
    """They fulfil our question, and we theirs: both sides speak."""
    assert len(bob.controls()) == 1
    assert new(caught_up(bob)) == {"test.node"}
    bob.announce("test.bob")
    assert scene.routes() == {"test.bob": "bob"}


# --- How much -------------------------------------------------------------------------------------


def test_large_tables_come_in_updates_of_30_kb(scene: Scene, bob: Peer, kid: Peer) -> None:
    prefixes = [f"test.kid{number:04}{'x' * (number % 50)}" for number in range(3_000)]
    for start in range(0, 3_000, 200):
        kid.announce(*prefixes[start : start + 200])
    bob.heard = []
    assert bob.sync() == FULFILL
    scene.run(1_000)
    heard = list(bob.heard)
    sizes = [len(prepare.data) for prepare in heard]
    assert max(sizes) <= 30_200 and sum(sizes) / len(sizes) > 15_000
    updates = bob.updates()
    epochs = [(update.from_epoch, update.to_epoch) for update in updates]
    assert [last for _, last in epochs[:-1]] == [first for first, _ in epochs[1:]]
    assert updates[-1].to_epoch == updates[-1].current_epoch
    assert new(updates) == {"test.node", *prefixes}


def test_the_log_does_not_grow(scene: Scene, bob: Peer, kid: Peer) -> None:
    """One prefix that flaps, and many that come once: nothing of it stays."""
    caught_up(bob)
    for number in range(600):
        kid.announce("test.flap", f"test.once{number}")
        epoch = kid.session.receiver.epoch
        kid.update(epoch, epoch + 1, [], ["test.flap", f"test.once{number}"])
        scene.run(200)
    scene.run(1_000)
    assert {entry.prefix for entry in scene.routing.entries()} == {"test.node"}
    assert len(scene.routing.log) == 1
    assert scene.routing.log.set_count() < 200


def test_nobody_makes_us_remember_what_is_gone(scene: Scene, bob: Peer, kid: Peer) -> None:
    """A neighbour that refuses what it is told, and says each time that it knows all of it."""
    table = caught_up(bob)[0].table_id
    bob.answer = REFUSAL
    for number in range(100):
        kid.announce(f"test.kid{number}")
        scene.run(1_000)
        assert bob.sync(table, bob.session.sender.seen) == FULFILL
        scene.run(1_000)
        epoch = kid.session.receiver.epoch
        kid.update(epoch, epoch + 1, [], [f"test.kid{number}"])
        assert bob.sync(table, scene.routing.log.epoch) == FULFILL
        scene.run(1_000)
    assert len(list(scene.routing.entries())) < 10


def test_changes_that_nobody_is_told(scene: Scene, kid: Peer) -> None:
    """One prefix that flaps while no neighbour wants to know."""
    for number in range(200_000):
        scene.routing.learn(kid.session.near, route("test.kid", f"test.x{number}"))
    log = scene.routing.log
    log.seal()
    assert sum(len(each.entries) for each in log.after(0)) < 70_000


# --- What -----------------------------------------------------------------------------------------


def test_paths_and_what_vouches_for_them(scene: Scene, bob: Peer, kid: Peer) -> None:
    kid.update(0, 1, [route("test.x", "test.kid", "test.x", auth=AUTH)])
    routes = {each.prefix: each for update in caught_up(bob) for each in update.new_routes}
    assert routes["test.node"].path == ("test.node",)
    assert routes["test.node"].auth == hmac.digest(b"node", b"test.node", sha256)
    assert routes["test.x"].path == ("test.node", "test.kid", "test.x")
    assert routes["test.x"].auth == sha256(AUTH).digest()


def test_attributes_are_passed_on_if_they_are_to_be(scene: Scene, bob: Peer, kid: Peer) -> None:
    props = (
        Prop(1, b"stays", is_transitive=False),
        Prop(2, b"goes on", is_utf8=True),
        Prop(3, b"optional", is_optional=True),
    )
    kid.update(0, 1, [Route("test.x", ("test.x",), AUTH, props)])
    routes = {each.prefix: each for update in caught_up(bob) for each in update.new_routes}
    assert routes["test.x"].props == (
        Prop(2, b"goes on", is_utf8=True),
        Prop(3, b"optional", is_optional=True, is_partial=True),
    )


def test_withdrawn_when_it_goes(scene: Scene, bob: Peer, kid: Peer) -> None:
    kid.announce("test.kid", "test.stays")
    caught_up(bob)
    kid.update(1, 2, [], ["test.kid"])
    scene.run(200)
    assert gone(bob.updates()) == {"test.kid"}
    kid.link(False)
    scene.run(200)
    assert gone(bob.updates()) == {"test.stays"}


def test_nobody_is_told_of_the_end_of_what_it_never_heard_of(
    scene: Scene, bob: Peer, kid: Peer
) -> None:
    bob.announce("test.bob", "test.x")
    caught_up(bob)
    kid.announce("test.y")
    bob.update(1, 2, [], ["test.x"])
    scene.run(200)
    updates = bob.updates()
    assert (new(updates), gone(updates)) == ({"test.y"}, set())


def test_split_horizon_withdraws(scene: Scene, bob: Peer, kid: Peer) -> None:
    """bob becomes the next hop of a prefix that it was told of."""
    kid.update(0, 1, [route("test.x", "test.kid", "test.far", "test.x")])
    assert "test.x" in new(caught_up(bob))
    kid.update(1, 2, [], ["test.x"])
    bob.announce("test.x")
    scene.run(200)
    assert gone(bob.updates()) == {"test.x"}


def test_another_address_is_another_table(scene: Scene, bob: Peer, kid: Peer) -> None:
    kid.announce("test.x")
    table = caught_up(bob)[0].table_id
    scene.node.neighbours.readdress("test.other")
    scene.node.accounts.readdress("test.other")
    scene.run(1_000)
    updates = bob.updates()
    assert {update.table_id for update in updates} != {table}
    assert {update.speaker for update in updates} == {"test.other"}
    paths = {each.prefix: each.path for update in updates for each in update.new_routes}
    assert paths == {"test.other": ("test.other",), "test.x": ("test.other", "test.x")}
    assert gone(updates) == {"test.node"}
    details = scene.node.accounts.details("kid")
    assert details is not None and details.ilp_address == "test.other.kid"
