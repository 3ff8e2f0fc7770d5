"""The work of all neighbours together."""

import pytest

from fastilp._core.packet import Reject
from fastilp.types import Relation
from tests.control.scripted import Scene


def test_a_neighbour_waits_once_for_its_turn() -> None:
    """While there is much to do, time is looked at far more often than it is anybody's turn."""
    scene = Scene()
    names = [f"bob{number}" for number in range(20)]
    for name in names:
        scene.peer(name, Relation.PEER).sync()
    scene.run(1_000)
    neighbours = scene.node.neighbours
    scene.routing.set_static({"test.x": scene.peers["bob0"].session.near.account})
    # Time goes by, and nobody has a turn.
    scene.node.is_awake = True
    scene.network.run(60_000)
    for _ in range(10):
        neighbours.tick()
    steps = 1
    while neighbours.work():
        steps += 1
    assert steps <= 2 * len(names)


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_wallet_is_no_neighbour(is_changed: bool) -> None:
    """Whatever its switches say, and whatever it was before."""
    scene = Scene()
    relation = Relation.CHILD if is_changed else Relation.NON_ROUTING_ACCOUNT
    bob = scene.peer("bob", relation, is_up=False, receive_routes=True, send_routes=True)
    if is_changed:
        bob.link(True)
        bob.announce("test.bob")
        assert scene.routes() == {"test.bob": "bob"}
        scene.node.account_changed("bob", routing_relation=Relation.NON_ROUTING_ACCOUNT)
        scene.run(100)
    assert scene.node.neighbours.session("bob") is None
    for answer in (bob.sync(), bob.update(0, 1)):
        assert isinstance(answer, Reject) and answer.code == "F00"
    assert scene.routes() == {}
