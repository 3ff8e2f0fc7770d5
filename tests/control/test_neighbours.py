"""The work of all neighbours together."""

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
