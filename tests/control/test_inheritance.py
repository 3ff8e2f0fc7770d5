"""The node's address from its parent, by IL-DCP: when it asks, what it takes, and what follows."""

import pytest

from fastilp._core.packet import Fulfill, Reject
from fastilp.control import ildcp
from fastilp.types import Relation
from tests.control.scripted import Peer, Scene
from tests.simulation.network import Network

PARENT = Relation.PARENT


def config(address: str, scale: int = 9, code: str = "ABC") -> Fulfill:
    data = ildcp.response_data(address, scale, code)
    return Fulfill(fulfillment=ildcp.FULFILLMENT, data=data)


def parent(scene: Scene, answer: Fulfill | Reject | None) -> Peer:
    dad = scene.peer("dad", PARENT, is_up=False)
    dad.answer = answer
    dad.link(True)
    scene.run(100)
    return dad


def test_address_default_route_and_dependents() -> None:
    scene = Scene("local.host")
    scene.node.account("alice", Relation.NON_ROUTING_ACCOUNT)
    scene.node.account("kid", Relation.CHILD)
    scene.node.account("pia", Relation.PEER, ilp_address="test.pia")
    parent(scene, config("test.dad.me"))
    assert scene.node.switch.address == "test.dad.me"
    details = scene.node.accounts.details
    addresses = {name: details(name).ilp_address for name in ("alice", "kid", "pia")}  # type: ignore[union-attr]
    assert addresses == {
        "alice": "test.dad.me.alice",
        "kid": "test.dad.me.kid",
        "pia": "test.pia",
    }
    routes = {prefix: to.name for prefix, to in scene.node.switch.routes().items()}
    assert routes == {
        "": "dad",
        "test.dad.me.alice": "alice",
        "test.dad.me.kid": "kid",
        "test.dad.me.dad": "dad",
        "test.pia": "pia",
    }


def test_asked_on_every_connection_and_now_and_then() -> None:
    scene = Scene("local.host")
    dad = parent(scene, config("test.dad.me"))
    assert dad.requests() == 1
    dad.link(False)
    scene.run(300_000)
    assert dad.requests() == 0
    dad.answer = config("test.dad2.me")
    dad.link(True)
    assert dad.requests() == 1
    assert scene.node.switch.address == "test.dad2.me"
    dad.answer = config("test.dad3.me")
    scene.run(61_000)
    assert scene.node.switch.address == "test.dad3.me"


def test_asked_when_the_parent_has_another_name() -> None:
    scene = Scene("local.host")
    dad = parent(scene, config("test.dad.me"))
    dad.update(0, 1, speaker="test.dad")
    scene.run(100)
    dad.heard = []
    dad.answer = config("test.new.me")
    dad.update(1, 2, speaker="test.new")
    scene.run(1_000)
    assert scene.node.switch.address == "test.new.me"


def test_a_parent_with_ever_another_name_is_asked_once_a_second() -> None:
    scene = Scene("local.host")
    dad = parent(scene, config("test.dad.me"))
    dad.heard = []
    for number in range(100):
        dad.update(number, number + 1, speaker=f"test.dad{number}")
        scene.run(50)
    assert 4 <= dad.requests() <= 6


def test_children_learn_of_it_too() -> None:
    """A chain of three: the grandchild's address follows."""
    network = Network(3)
    for name in ("top", "mid", "low"):
        network.add(name, "test.top" if name == "top" else "local.host")
    wires = [
        network.join("top", "mid", Relation.CHILD),
        network.join("mid", "low", Relation.CHILD),
    ]
    for wire in reversed(wires):
        wire.set(True)
        network.run(2_000)
    network.run(61_000)
    assert network.nodes["low"].switch.address == "test.top.mid.low"


@pytest.mark.parametrize(
    "answer",
    [
        Reject(code="F00", triggered_by="test.dad", message="no"),
        Fulfill(fulfillment=bytes(32)),
        Fulfill(fulfillment=bytes(32), data=b"\x04test\x09\x03ABC"),
        config("peer.x"),
        config("self.x"),
        None,
    ],
)
def test_answers_that_give_no_address(answer: Fulfill | Reject | None) -> None:
    scene = Scene("local.host")
    dad = parent(scene, answer)
    scene.run(60_000)
    assert scene.node.switch.address == "local.host"
    assert 3 <= dad.requests() <= 8
    dad.answer = config("test.dad.me")
    scene.run(31_000)
    assert scene.node.switch.address == "test.dad.me"


def test_another_asset_is_said(caplog: pytest.LogCaptureFixture) -> None:
    parent(Scene("local.host"), config("test.dad.me", 6, "XYZ"))
    assert "another asset" in caplog.text


def test_who_has_an_address_asks_nobody() -> None:
    scene = Scene()
    scene.node.inheritance._is_wanted = False
    dad = parent(scene, config("test.dad.me"))
    assert dad.requests() == 0
    assert scene.node.switch.address == "test.node"


def test_only_parents_are_asked() -> None:
    scene = Scene("local.host")
    others = [scene.peer("bob"), scene.peer("kid", Relation.CHILD)]
    scene.run(120_000)
    assert [peer.requests() for peer in others] == [0, 0]


@pytest.mark.parametrize("address", ["test" + ".x" * 31, f"test.{'x' * 1_015}", "test.pia"])
def test_an_address_that_leaves_no_room_for_ours_is_refused(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene("local.host")
    scene.node.account("alice", Relation.NON_ROUTING_ACCOUNT)
    scene.node.account("pia", Relation.PEER, ilp_address="test.pia.alice")
    before = scene.node.switch.routes()
    parent(scene, config(address))
    assert scene.node.switch.address == "local.host"
    assert before.items() <= scene.node.switch.routes().items()
    assert scene.node.accounts.details("alice").ilp_address == "local.host.alice"  # type: ignore[union-attr]
    assert "the parent gives no address" in caplog.text
