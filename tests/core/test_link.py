"""BTP links and their connections: frames in, frames out, and what survives a broken socket."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from fastilp._core.codec_btp import Entry, Message, decode, encode
from fastilp.errors import UsageError
from tests.reference import packets
from tests.reference.hub import OWN, PREIMAGE, Hub
from tests.reference.kits import COMPILED
from tests.reference.outcomes import OUTCOMES
from tests.reference.packets import Fulfill, Packet, Reject

RESPONSE, ERROR, MESSAGE, TRANSFER = 1, 2, 6, 7
NO = Reject(b"F99", b"g.hub.bob.x", b"no")


def ours(outcome: str) -> Reject:
    code, message = OUTCOMES[outcome]
    return Reject(code.encode(), OWN.encode(), message.encode())


def ilp(kind: int, request_id: int, packet: Packet | bytes) -> bytes:
    """A BTP message that carries one packet."""
    raw = packet if isinstance(packet, bytes) else packets.encode(packet)
    return encode(kind, request_id, [Entry("ilp", 0, raw)])


def frames(stream: bytes, *, masked: bool) -> Iterator[Message]:
    """Whole binary frames of RFC 6455, taken apart by hand."""
    while stream:
        first, second = stream[0], stream[1]
        assert first == 0x82
        assert second >> 7 == masked
        size, start = second & 0x7F, 2
        if size == 126:
            size, start = struct.unpack_from(">H", stream, 2)[0], 4
            assert size > 125
        elif size == 127:
            size, start = struct.unpack_from(">Q", stream, 2)[0], 10
            assert size > 65_535
        mask = bytes(4)
        if masked:
            mask, start = stream[start : start + 4], start + 4
        payload = stream[start : start + size]
        assert len(payload) == size
        stream = stream[start + size :]
        yield decode(bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload)))


class BtpHub(Hub):
    """Bob is on BTP; `connection` is his socket."""

    def __init__(self, *, masked: bool = False) -> None:
        super().__init__(COMPILED)
        self.masked = masked
        self.btp = self.switch.open_link(self.bob, kind="btp")
        self.switch.set_egress(self.bob, self.btp)
        self.connection = self.connect()

    def connect(self) -> Any:
        connection = self.switch.accept()
        connection.bind(self.btp, masked=self.masked)
        return connection

    def taken(self) -> list[tuple[int, int, Any]]:
        """Type, request id and packet of every frame that waits for bob."""
        found = []
        for message in frames(self.btp.take_bytes(), masked=self.masked):
            [entry] = message.entries
            assert (entry.name, entry.content_type) == ("ilp", 0)
            found.append((message.type, message.request_id, packets.decode(entry.data)))
        return found

    def to_bob(self, request_id: int = 1, **fields: Any) -> int:
        prepare = self.send(request_id, **fields)
        self.run()
        [(kind, sent_id, packet)] = self.taken()
        assert (kind, packet) == (MESSAGE, prepare)
        return sent_id

    def feed(self, message: bytes) -> Any:
        told = self.connection.feed(message)
        self.run()
        return told


@pytest.fixture(params=[False, True], ids=["server", "client"])
def hub(request: pytest.FixtureRequest) -> BtpHub:
    return BtpHub(masked=request.param)


# --- there and back -----------------------------------------------------------------------------


def test_prepare_out_answer_in(hub: BtpHub) -> None:
    sent_id = hub.to_bob()
    assert hub.feed(ilp(RESPONSE, sent_id, Fulfill(PREIMAGE))) is None
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    assert hub.balances() == (-100, 100)


def test_prepare_in_answer_out(hub: BtpHub) -> None:
    prepare = hub.prepare(to="g.hub.alice")
    assert hub.feed(ilp(MESSAGE, 2**32 - 1, prepare)) is None
    [(sent_id, packet)] = hub.take(hub.a)
    assert packet == prepare
    hub.answer(sent_id, NO, link=hub.a)
    hub.run()
    assert hub.taken() == [(RESPONSE, 2**32 - 1, NO)]


@pytest.mark.parametrize("size", [0, 60, 61, 62, 200, 5_000, 32_768])
def test_frames_of_every_size(hub: BtpHub, size: int) -> None:
    prepares = [hub.prepare()._replace(data=bytes([n]) * size) for n in range(3)]
    hub.a.receive([(n, packets.encode(prepare)) for n, prepare in enumerate(prepares)])
    hub.run()
    assert hub.btp.egress_size > 3 * size
    assert [packet for _, _, packet in hub.taken()] == prepares
    assert hub.btp.egress_size == 0


def test_frame_types_of_interledger_rs(hub: BtpHub) -> None:
    """It sends Prepares in Response frames and answers in Message frames."""
    hub.feed(ilp(RESPONSE, 5, hub.prepare(to="g.hub.alice")))
    assert [packet.amount for _, packet in hub.take(hub.a)] == [100]
    hub.feed(ilp(MESSAGE, hub.to_bob(), NO))
    assert hub.take(hub.a) == [(1, NO)]


@pytest.mark.parametrize("raw", [b"", b"\x0d", b"\x0f\x01\x00", b"garbage"])
def test_garbage_in_an_answers_place(hub: BtpHub, raw: bytes) -> None:
    """The type byte does not say what it is, the frame does: T01 upstream, at once."""
    hub.feed(ilp(RESPONSE, hub.to_bob(), raw))
    assert hub.take(hub.a) == [(1, ours("invalid_answer"))]
    assert hub.balances() == (0, 0)


def test_response_without_a_packet(hub: BtpHub) -> None:
    hub.feed(encode(RESPONSE, hub.to_bob(), []))
    assert hub.take(hub.a) == [(1, ours("invalid_answer"))]


def test_garbage_for_nobody_is_dropped(hub: BtpHub) -> None:
    hub.feed(ilp(RESPONSE, 12_345, b"garbage"))
    hub.feed(encode(RESPONSE, 12_345, []))
    assert hub.counted() == {"unmatched": 2}
    assert hub.taken() == []


def test_garbage_in_a_prepares_place(hub: BtpHub) -> None:
    for raw in (b"g", b"garbage", b"\x0c\x00"):
        hub.feed(ilp(MESSAGE, 8, raw))
        assert hub.taken() == [(RESPONSE, 8, ours("invalid_packet"))]


# --- what is the shell's ------------------------------------------------------------------------


def test_what_carries_no_packet_is_the_shells(hub: BtpHub) -> None:
    auth = encode(MESSAGE, 1, [Entry("auth", 0, b""), Entry("auth_token", 1, b"secret")])
    error = encode(
        ERROR, 2, [], code="F00", name="NotAcceptedError", triggered_at="20170101000000Z"
    )
    transfer = encode(TRANSFER, 3, [], amount=7)
    for message, kind, request_id in (
        (auth, MESSAGE, 1),
        (error, ERROR, 2),
        (transfer, TRANSFER, 3),
    ):
        assert hub.feed(message) == (kind, request_id, message)
    assert hub.counted() == {}


def test_empty_packet_is_no_packet(hub: BtpHub) -> None:
    message = ilp(MESSAGE, 8, b"")
    assert hub.feed(message) == (MESSAGE, 8, message)


def test_unbound_connection_is_the_shells(hub: BtpHub) -> None:
    message = ilp(MESSAGE, 9, hub.prepare())
    connection = hub.switch.accept()
    assert connection.feed(message) == (MESSAGE, 9, message)
    assert connection.link is None
    hub.run()
    assert hub.counted() == {}


def test_unreadable_is_told(hub: BtpHub) -> None:
    good = ilp(MESSAGE, 9, hub.prepare())
    for message in (b"", b"\x06", good[:4], good[:-1], b"\x09" + good[1:], bytes(100)):
        kind, _, told = hub.feed(message)
        assert (kind, told) == (0, message)
    assert hub.counted() == {}


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(hub: BtpHub, make: Any) -> None:
    assert hub.feed(make(ilp(MESSAGE, 9, hub.prepare(to="g.nowhere")))) is None
    assert hub.taken() == [(RESPONSE, 9, ours("unreachable"))]


# --- sockets come and go ------------------------------------------------------------------------


def test_losing_the_socket_voids_nothing(hub: BtpHub) -> None:
    sent_id = hub.to_bob()
    hub.connection.close()
    assert not hub.btp.up
    assert hub.refused() == "T01"
    assert hub.switch.in_flight() == 1
    hub.connection = hub.connect()
    assert hub.btp.up
    hub.feed(ilp(RESPONSE, sent_id, Fulfill(PREIMAGE)))
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]


def test_answer_without_a_socket_is_undeliverable(hub: BtpHub) -> None:
    """The Fulfill stands: the sender had authorised it, and may ask his books."""
    hub.feed(ilp(MESSAGE, 3, hub.prepare(to="g.hub.alice")))
    [(sent_id, _)] = hub.take(hub.a)
    hub.connection.close()
    hub.answer(sent_id, link=hub.a)
    hub.run()
    assert hub.counted() == {"forwarded": 1, "fulfilled": 1, "undeliverable": 1}
    assert hub.balances() == (100, -100)


def test_new_connection_takes_the_place_of_the_old(hub: BtpHub) -> None:
    old, hub.connection = hub.connection, hub.connect()
    assert (old.link, hub.connection.link) == (None, hub.btp)
    message = ilp(MESSAGE, 9, hub.prepare(to="g.nowhere"))
    assert old.feed(message) == (MESSAGE, 9, message)
    old.close()
    assert hub.btp.up
    hub.to_bob()


def test_frames_for_a_lost_socket_are_dropped(hub: BtpHub) -> None:
    hub.send()
    hub.run()
    hub.connection.close()
    assert hub.btp.egress_size == 0
    hub.connect()
    assert hub.taken() == []


def test_closing_the_link_closes_its_connection(hub: BtpHub) -> None:
    hub.btp.close()
    assert hub.connection.link is None
    assert hub.refused() == "T01"
    with pytest.raises(UsageError):
        hub.connect()
    hub.connection.close()


def test_one_binding_each(hub: BtpHub) -> None:
    other = hub.switch.open_link(hub.bob, kind="btp")
    with pytest.raises(UsageError):
        hub.connection.bind(other, masked=False)
    with pytest.raises(UsageError):
        hub.switch.accept().bind(hub.a, masked=False)
    with pytest.raises(UsageError):
        hub.switch.accept("http")


def test_calls_of_the_other_kind(hub: BtpHub) -> None:
    for call in (hub.btp.take, hub.a.take_bytes):
        with pytest.raises(UsageError):
            call()
    with pytest.raises(UsageError):
        hub.btp.up = True
    with pytest.raises(UsageError):
        hub.switch.open_link(hub.bob, kind="carrier pigeon")


def test_client_that_sends_and_never_reads(hub: BtpHub) -> None:
    """Bob asks and asks: above the bound of his egress alice's Prepares for him are refused. (His
    own reading is paused by the shell, which sees `egress_size`.)"""
    ask = ilp(MESSAGE, 1, hub.prepare(0, "g.nowhere")._replace(data=bytes(32_000)))
    while hub.btp.egress_size <= 4 * 2**20:
        for _ in range(1_000):
            assert hub.connection.feed(ask) is None
        hub.run()
    assert hub.refused() == "T02"
    hub.connection.close()
    assert hub.btp.egress_size == 0
