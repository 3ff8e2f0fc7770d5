"""CCP as Interledger.rs talks it, in its own bytes: it sends unasked, its own prefix has an empty
path and nothing that vouches for it, it rejects gaps, and it never says idle.

The bytes are written out here field by field as its encoder writes them; no code of ours made them.
"""

import pytest

from fastilp._core.packet import Fulfill, Reject, decode
from fastilp.types import Relation
from tests.control.scripted import FULFILL, Peer, Scene

# Amount 0, an expiry in 60 s of the scene's time, the condition of peer protocols.
HEAD = "0000000000000000" + b"20231114221420000".hex() + (
    "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
)  # fmt: skip
CONTROL = "12" + b"peer.route.control".hex()
UPDATE = "11" + b"peer.route.update".hex()
TABLE = "21e55f8eabcd4e979ab9bf0ff00a224c"
HOLD = "00007530"
ALICE = "0d" + b"example.alice".hex()
CAROL = "0d" + b"example.carol".hex()
ZEROS = "00" * 32
NONE = "0100"
ANSWER = "0d21" + "00" * 33


def packet(destination: str, data: str) -> bytes:
    content = bytes.fromhex(HEAD + destination) + octets(bytes.fromhex(data))
    return b"\x0c" + octets(content)


def octets(content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([size]) + content
    width = (size.bit_length() + 7) // 8
    return bytes([0x80 + width]) + size.to_bytes(width, "big") + content


# At its start, to every Parent and Peer.
BOOT = packet(CONTROL, "01" + "00" * 16 + "00000000" + NONE)
# The answer to a question from the start: its own prefix first, then what it forwards.
FIRST = packet(
    UPDATE,
    TABLE + "00000001" + "00000000" + "00000001" + HOLD + ALICE
    + "0102" + ALICE + NONE + ZEROS + NONE
    + CAROL + "0102" + ALICE + CAROL + "11" * 32 + NONE
    + NONE,
)  # fmt: skip
HEARTBEAT = packet(UPDATE, TABLE + "00000001" * 3 + HOLD + ALICE + NONE + NONE)
# Everybody gets the same: who missed an update sees a gap.
SKIPPED = packet(
    UPDATE, TABLE + "00000005" + "00000004" + "00000005" + HOLD + ALICE + NONE + "0101" + CAROL
)
CAUGHT_UP = packet(
    UPDATE, TABLE + "00000005" + "00000001" + "00000005" + HOLD + ALICE + NONE + "0101" + CAROL
)
GAP = bytes(
    Reject(
        code="F00",
        triggered_by="example.alice",
        message="Gap in routing table. Expected epoch: 0, got from_epoch: 1",
    )
)


class Alice(Peer):
    """A node of Interledger.rs, in raw bytes."""

    def give(self, raw: bytes) -> Fulfill | Reject:
        self._count += 1
        self.scene.node.links[self.name].receive([(self._count, raw)])
        self.scene.node.wake()
        self.scene.run()
        return self.answers.pop(self._count)


@pytest.fixture
def scene() -> Scene:
    return Scene("example.node")


def alice_of(scene: Scene) -> Alice:
    alice = Alice(scene, "alice", Relation.PEER)
    alice.heard = []
    return alice


def test_it_talks_unasked(scene: Scene) -> None:
    alice = alice_of(scene)
    assert bytes(alice.give(FIRST)).hex() == ANSWER
    assert scene.routes() == {"example.alice": "alice", "example.carol": "alice"}
    assert bytes(alice.give(HEARTBEAT)).hex() == ANSWER
    learned = alice.session.near.learned
    assert learned["example.alice"].path == ()
    assert learned["example.carol"].path == ("example.alice", "example.carol")


def test_it_skips_an_epoch(scene: Scene) -> None:
    alice = alice_of(scene)
    alice.give(FIRST)
    alice.heard = []
    assert bytes(alice.give(SKIPPED)).hex() == ANSWER
    [asked] = alice.heard
    # mode, its table, the epoch that we know, no features.
    assert asked.data.hex() == "01" + TABLE + "00000001" + NONE
    assert asked.destination == "peer.route.control"
    assert bytes(alice.give(CAUGHT_UP)).hex() == ANSWER
    assert scene.routes() == {"example.alice": "alice"}


def test_it_asks_and_reads_what_we_say(scene: Scene) -> None:
    alice = alice_of(scene)
    assert bytes(alice.give(BOOT)).hex() == ANSWER
    [told] = alice.heard
    table = scene.node.neighbours.table_id.hex()
    vouched = told.data[-36:-4]
    own = "0c" + b"example.node".hex()
    assert told.data.hex() == (
        table + "00000001" + "00000000" + "00000001" + "0000afc8" + own
        + "0101" + own + "0101" + own + vouched.hex() + NONE
        + NONE
    )  # fmt: skip
    assert vouched != bytes(32)


def test_it_rejects_gaps_and_asks(scene: Scene) -> None:
    alice = alice_of(scene)
    alice.give(BOOT)
    answer = decode(GAP)
    assert isinstance(answer, Reject)
    alice.answer = answer
    scene.run(31_000)
    assert len(alice.updates()) >= 1
    alice.answer = FULFILL
    late = packet(CONTROL, "01" + "00" * 16 + "00000000" + NONE)
    # It has been a while: as it would send it now.
    late = late.replace(b"20231114221420000", b"20231114221520000")
    assert bytes(alice.give(late)).hex() == ANSWER
    [update] = alice.updates()
    assert (update.from_epoch, update.to_epoch) == (0, 1)
