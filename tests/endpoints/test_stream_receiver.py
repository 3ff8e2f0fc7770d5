"""The STREAM receiver, asked through a real switch by a sender that is written out here."""

import os
from hashlib import sha256

import pytest

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp._core.stream import decode_packet, encode_packet
from fastilp._core.stream_frames import (
    ConnectionAssetDetails,
    ConnectionClose,
    ConnectionDataBlocked,
    ConnectionMaxData,
    ConnectionMaxStreamId,
    ConnectionNewAddress,
    ConnectionStreamIdBlocked,
    Frame,
    Packet,
    StreamData,
    StreamDataBlocked,
    StreamMaxData,
    StreamMaxMoney,
    StreamMoney,
    StreamMoneyBlocked,
    StreamReceipt,
)
from fastilp.endpoints.stream import receiver as module
from fastilp.endpoints.stream.crypto import Keys, receipt, verify_receipt
from fastilp.endpoints.stream.receiver import Incoming, StreamReceiver
from fastilp.endpoints.stream.tokens import Credentials, ReceiptKey
from fastilp.errors import UsageError
from tests.helpers import check_sums
from tests.small_switch import ADDRESS, NOW_MS, SmallSwitch, details

SEED = bytes(range(32))
MAX = (1 << 64) - 1
BOB = f"{ADDRESS}.bob"


class Node(SmallSwitch):
    """bob receives and has a link beside; carol receives and has none."""

    def __init__(self) -> None:
        super().__init__()
        self.incoming: list[Incoming] = []
        self.carol = self.accounts.add(details("carol", asset_code="XYZ", asset_scale=6))
        self.switch.set_rate("ABC", 1)
        self.switch.set_rate("XYZ", 1)
        self.bob = self.switch.account("bob")
        self.receiver = StreamReceiver(
            self.switch, SEED, lambda: self.now_ms, self.wake, self.incoming.append
        )
        self.credentials = self.receiver.credentials("bob", BOB)

    def packet(
        self, *frames: Frame, amount: int = 100, least: int = 0, sequence: int = 1, **more: object
    ) -> Prepare:
        """A Prepare of bob's connection, or of the `credentials` that are named."""
        credentials = more.pop("credentials", self.credentials)
        assert isinstance(credentials, Credentials)
        keys = Keys(credentials.shared_secret)
        data = keys.encrypt(encode_packet(12, sequence, least, frames))
        condition = sha256(keys.fulfillment(data)).digest()
        fields: dict[str, object] = {"execution_condition": condition, "data": data, **more}
        return self.prepare(credentials.destination, amount, **fields)

    def pay(self, prepare: Prepare, credentials: Credentials | None = None) -> Packet:
        """The decrypted answer to a payment of alice's; its type is the ILP packet's."""
        answer = self.exchange("alice", prepare)
        assert isinstance(answer, Fulfill | Reject)
        plain = Keys((credentials or self.credentials).shared_secret).decrypt(answer.data)
        packet = decode_packet(plain)
        assert packet.packet_type == bytes(answer)[0]
        return packet

    def balance(self, name: str) -> int:
        check_sums(self.switch.ledger)
        return self.switch.balance(self.switch.account(name))


@pytest.fixture
def node() -> Node:
    return Node()


def test_money_is_fulfilled_and_told(node: Node) -> None:
    prepare = node.packet(StreamMoney(1, 1), least=100, sequence=5)
    assert node.pay(prepare) == Packet(13, 5, 100, (StreamMaxMoney(1, MAX, 100),))
    assert (node.balance("alice"), node.balance("bob")) == (-100, 100)
    [incoming] = node.incoming
    alice = node.switch.account("alice")
    assert incoming == Incoming(node.bob, alice, prepare.destination, 100, 5, False)


def test_totals_of_streams_add_up(node: Node) -> None:
    node.pay(node.packet(StreamMoney(1, 1), amount=10))
    answer = node.pay(node.packet(StreamMoney(3, 1), StreamMoney(1, 2), amount=10, sequence=2))
    assert answer.frames == (StreamMaxMoney(3, MAX, 3), StreamMaxMoney(1, MAX, 17))
    assert node.balance("bob") == 20


def test_less_than_the_least_is_refused(node: Node) -> None:
    answer = node.pay(node.packet(StreamMoney(1, 1), amount=99, least=100, sequence=3))
    assert answer == Packet(14, 3, 99, (StreamMaxMoney(1, MAX, 0),))
    assert node.balance("bob") == 0 and node.incoming == []


def test_a_condition_of_others_is_refused_with_the_asset(node: Node) -> None:
    prepare = node.packet(ConnectionNewAddress("example.alice"), execution_condition=os.urandom(32))
    answer = node.exchange("alice", prepare)
    assert isinstance(answer, Reject) and (answer.code, answer.triggered_by) == ("F99", ADDRESS)
    plain = Keys(node.credentials.shared_secret).decrypt(answer.data)
    assert decode_packet(plain).frames == (ConnectionAssetDetails("ABC", 9),)
    assert node.balance("bob") == 0


def test_amounts_are_those_that_arrive(node: Node) -> None:
    """alice pays in ABC with scale 9, carol has XYZ with scale 6."""
    credentials = node.receiver.credentials("carol", f"{ADDRESS}.carol")
    prepare = node.packet(StreamMoney(1, 1), amount=7_000, least=7, credentials=credentials)
    assert node.pay(prepare, credentials).amount == 7
    assert (node.balance("alice"), node.balance("carol")) == (-7_000, 7)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (StreamMoneyBlocked(1, 500, 10), (StreamMaxMoney(1, MAX, 0),)),
        (StreamData(1, 10, b"abc"), (StreamMaxData(1, 13 + 65_536),)),
        (StreamData(1, MAX, b"abc"), (StreamMaxData(1, MAX),)),
        (StreamDataBlocked(1, 5), (StreamMaxData(1, 5 + 65_536),)),
        (ConnectionDataBlocked(5), (ConnectionMaxData(5 + 65_536),)),
        (ConnectionStreamIdBlocked(20), (ConnectionMaxStreamId(40),)),
        (ConnectionStreamIdBlocked(MAX), (ConnectionMaxStreamId((1 << 32) - 1),)),
        (ConnectionMaxData(7), ()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_flow_control(node: Node, asked: Frame, answered: tuple[Frame, ...]) -> None:
    assert node.pay(node.packet(asked, amount=0)).frames == answered


def test_closing_is_told(node: Node) -> None:
    close = ConnectionClose(1, "")
    node.pay(node.packet(close, amount=0, execution_condition=os.urandom(32), sequence=9))
    assert [(each.amount, each.connection_closed, each.sequence) for each in node.incoming] == [
        (0, True, 9)
    ]


def test_nothing_is_remembered_that_a_restart_would_lose(node: Node) -> None:
    """Credentials made by one run are good in the next."""
    other = Node()
    prepare = other.packet(StreamMoney(1, 1), credentials=node.credentials)
    assert other.pay(prepare, node.credentials).packet_type == 13
    assert other.balance("bob") == 100


def test_garbage_below_a_token_goes_to_the_link(node: Node) -> None:
    prepare = replace_data(node.packet(StreamMoney(1, 1)), os.urandom(60))
    link = node.links["bob"]
    node.links["alice"].receive([(1, bytes(prepare))])
    for _ in range(3):
        node.turn()
    assert len(link.take()) == 1
    check_sums(node.switch.ledger)


@pytest.mark.parametrize("size", [0, 1, 27, 28, 29, 32_767])
def test_garbage_without_a_link_is_f06(node: Node, size: int) -> None:
    credentials = node.receiver.credentials("carol", f"{ADDRESS}.carol")
    prepare = replace_data(node.packet(credentials=credentials, amount=1_000), os.urandom(size))
    assert node.refusal("alice", prepare)[0] == "F06"
    assert node.refusal("alice", node.prepare(f"{ADDRESS}.carol", 1_000))[0] == "F06"
    assert node.refusal("alice", node.prepare(f"{ADDRESS}.carol.x", 1_000))[0] == "F06"
    assert (node.balance("alice"), node.balance("carol"), node.incoming) == (0, 0, [])


def replace_data(prepare: Prepare, data: bytes) -> Prepare:
    return Prepare(
        amount=prepare.amount,
        expires_at=prepare.expires_at,
        execution_condition=prepare.execution_condition,
        destination=prepare.destination,
        data=data,
    )


def test_a_token_of_one_account_is_nothing_to_another(node: Node) -> None:
    token = node.credentials.destination.rpartition(".")[2]
    stolen = Credentials(f"{ADDRESS}.carol.{token}", node.credentials.shared_secret)
    prepare = node.packet(StreamMoney(1, 1), amount=1_000, credentials=stolen)
    assert node.refusal("alice", prepare)[0] == "F06"
    assert node.balance("carol") == 0


@pytest.mark.parametrize(
    "plain",
    [b"", b"\x01", b"\x02\x0c\x01\x01\x01\x00\x01\x00", encode_packet(13, 1, 0, ())],
    ids=["empty", "cut off", "version 2", "of a Fulfill"],
)
def test_encrypted_garbage_is_f06(node: Node, plain: bytes) -> None:
    keys = Keys(node.credentials.shared_secret)
    data = keys.encrypt(plain)
    condition = sha256(keys.fulfillment(data)).digest()
    prepare = node.packet(data=data, execution_condition=condition)
    assert node.refusal("alice", prepare)[0] == "F06"
    assert node.balance("bob") == 0


def test_thousands_of_frames_get_an_answer(node: Node) -> None:
    frames = [StreamMoney(number % 300, 1) for number in range(4_000)]
    answer = node.pay(node.packet(*frames, amount=4_000))
    assert answer.packet_type == 13 and len(answer.frames) == 64
    assert node.balance("bob") == 4_000


def test_thousands_of_frames_get_few_receipts(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(nonce: bytes, stream_id: int, total: int, secret: bytes) -> bytes:
        made.append(stream_id)
        return receipt(nonce, stream_id, total, secret)

    monkeypatch.setattr(module, "receipt", counted)
    node.credentials = node.receiver.credentials("bob", BOB, bytes(16), bytes(32))
    node.pay(node.packet(*[StreamMoney(1, 1)] * 4_000, amount=4_000))
    assert 0 < len(made) <= 64


@pytest.mark.parametrize("body", ["~" * 107, "A" * 50 + "~" * 57, "~" * 22, "A" * 107])
def test_what_looks_like_a_token_takes_nothing_with_it(node: Node, body: str) -> None:
    """Below an account without a link whatever comes goes to the receiver."""
    fake = node.prepare(f"{ADDRESS}.carol.{body}{'A' * 11}", 1_000, data=bytes(60))
    node.links["alice"].receive([(1, bytes(fake)), (2, bytes(node.packet(StreamMoney(1, 1))))])
    for _ in range(3):
        node.turn()
    answers = {number: decode(packet) for number, packet in node.links["alice"].take()}
    assert isinstance(answers[1], Reject) and answers[1].code == "F06"
    assert isinstance(answers[2], Fulfill)
    assert (node.balance("bob"), node.balance("carol")) == (100, 0)


def test_who_has_no_secret_pushes_nobody_out(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 1)
    node.pay(node.packet(StreamMoney(1, 1), amount=5))
    for name in "ABC":
        fake = node.prepare(f"{ADDRESS}.carol.{name * 33}", 1_000, data=bytes(60))
        assert node.refusal("alice", fake)[0] == "F06"
    answer = node.pay(node.packet(StreamMoney(1, 1), amount=5))
    assert answer.frames == (StreamMaxMoney(1, MAX, 10),)
    assert node.balance("bob") == 10


def test_a_packet_that_fails_here_takes_no_other_with_it(node: Node) -> None:
    def broken(destination: str, frame: Frame) -> list[Frame]:
        if isinstance(frame, StreamData):
            raise RuntimeError("a bug")
        return []

    StreamReceiver(node.switch, SEED, lambda: NOW_MS, node.wake, node.incoming.append, heard=broken)
    packets = [node.packet(StreamData(1, 0, b"x")), node.packet(StreamMoney(1, 1))]
    node.links["alice"].receive([(i, bytes(packet)) for i, packet in enumerate(packets)])
    for _ in range(3):
        node.turn()
    answers = dict(node.links["alice"].take())
    refused = decode(answers[0])
    assert isinstance(refused, Reject) and refused.code == "T00"
    assert isinstance(decode(answers[1]), Fulfill)
    assert node.balance("bob") == 100


def test_connections_that_are_remembered_are_bounded(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 3)
    first = node.credentials
    node.pay(node.packet(StreamMoney(1, 1), amount=5))
    for _ in range(5):
        node.credentials = node.receiver.credentials("bob", BOB)
        node.pay(node.packet(StreamMoney(1, 1), amount=5))
    node.credentials = first
    answer = node.pay(node.packet(StreamMoney(1, 1), amount=5))
    assert answer.frames == (StreamMaxMoney(1, MAX, 5),), "its total began anew, its money did not"
    assert node.balance("bob") == 35


def test_receipts(node: Node) -> None:
    key = ReceiptKey(bytes(range(16)), bytes(range(32)))
    node.credentials = node.receiver.credentials("bob", BOB, *key)
    for number in (1, 2):
        answer = node.pay(node.packet(StreamMoney(1, 1), amount=50))
        [_, frame] = answer.frames
        assert isinstance(frame, StreamReceipt) and frame.stream_id == 1
        assert verify_receipt(frame.receipt, key.secret) == (key.nonce, 1, 50 * number)
    refused = node.pay(node.packet(StreamMoney(1, 1), amount=50, least=51))
    assert refused.frames == (StreamMaxMoney(1, MAX, 100),), "no receipt for what did not come"
    big = node.pay(node.packet(StreamMoney(256, 1), amount=50))
    assert big.frames == (StreamMaxMoney(256, MAX, 50),), "a receipt has one byte for the stream"


def test_keys_of_receipts_have_sizes(node: Node) -> None:
    for key in (ReceiptKey(b"", bytes(32)), ReceiptKey(bytes(16), b"")):
        with pytest.raises(UsageError, match="nonce of 16 bytes"):
            node.receiver.credentials("bob", BOB, *key)


def test_the_address_is_valid_and_fresh(node: Node) -> None:
    key = ReceiptKey(bytes(16), bytes(32))
    found = {node.receiver.credentials("bob", BOB).destination for _ in range(100)}
    found |= {node.receiver.credentials("bob", BOB, *key).destination for _ in range(100)}
    assert len(found) == 200
    for destination in found:
        assert node.prepare(destination).destination == destination
