"""BTP connections behind their handshake: a stream of WebSocket frames in, rows and a few other
frames out, and what a turn of the switch takes of them."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from fastilp._core import codec_btp, codec_websocket
from fastilp._core.codec_websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from fastilp._core.connection_btp import READ_FAULT, READ_HELD, READ_MORE, READ_OTHER
from fastilp.errors import UsageError
from tests.core.test_link import MESSAGE, NO, RESPONSE, BtpHub, ilp
from tests.reference import packets
from tests.reference.hub import PREIMAGE
from tests.reference.packets import Fulfill, Packet

KEY = b"\x12\x34\x56\x78"
LINK_TURN_SIZE_MAX = 1024 * 1024
ROW_COST = 256


def raw_frame(
    opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, length: bytes = b""
) -> bytes:
    """A frame by hand (RFC 6455 5.2); `length` in its own, perhaps wrong, form."""
    size = len(payload)
    if not length and size < 126:
        length = bytes((size,))
    elif not length:
        length = b"\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x7f" + bytes(4)
        length += size.to_bytes(4, "big") if size >= 65_536 else b""
    head = bytes(((0x80 if final else 0) | opcode, length[0] | (0x80 if masked else 0)))
    if not masked:
        return head + length[1:] + payload
    body = bytes(octet ^ KEY[i % 4] for i, octet in enumerate(payload))
    return head + length[1:] + KEY + body


class StreamHub(BtpHub):
    """Alice's packets come out of bob's socket."""

    def write(self, stream: bytes, step: int = 1 << 20) -> int:
        """As a loop does it: a buffer, some bytes into it, and word that they are there."""
        reading = READ_MORE
        while stream and reading == READ_MORE:
            with self.connection.get_buffer(-1) as buffer:
                size = min(len(buffer), len(stream), step)
                buffer[:size] = stream[:size]
                reading = self.connection.buffer_updated(size)
            stream = stream[size:]
        self.left = stream
        return reading

    def frame(self, payload: bytes, opcode: int = BINARY, **more: Any) -> bytes:
        return raw_frame(opcode, payload, masked=not self.masked, **more)

    def message(self, kind: int, request_id: int, packet: Packet | bytes) -> bytes:
        return self.frame(ilp(kind, request_id, packet))


@pytest.fixture(params=[False, True], ids=["server", "client"])
def hub(request: pytest.FixtureRequest) -> Iterator[StreamHub]:
    made = StreamHub(masked=request.param)
    yield made
    made.check_sums()


def test_frames_become_rows(hub: StreamHub) -> None:
    sent_id = hub.to_bob()
    prepare = hub.prepare(to="g.hub.alice")
    stream = hub.message(RESPONSE, sent_id, Fulfill(PREIMAGE))
    stream += hub.message(MESSAGE, 7, prepare)
    assert hub.write(stream) == READ_MORE
    hub.run()
    answer, (forwarded_id, packet) = hub.take(hub.a)
    assert (answer, packet) == ((1, Fulfill(PREIMAGE)), prepare)
    hub.answer(forwarded_id, NO, link=hub.a)
    hub.run()
    assert hub.taken() == [(RESPONSE, 7, NO)]
    assert hub.balances() == (-100, 100)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 4_096])
def test_in_pieces_as_at_once(hub: StreamHub, step: int) -> None:
    source = random.Random(step)
    prepares = [
        hub.prepare(to="g.hub.alice")._replace(data=source.randbytes(source.choice([0, 60, 300])))
        for _ in range(20)
    ]
    large = hub.prepare(to="g.hub.alice")._replace(data=bytes(32_000))
    stream = b"".join(
        hub.message(MESSAGE, number, prepare) + hub.frame(b"still here", PONG)
        for number, prepare in enumerate([*prepares, large])
    )
    assert hub.write(stream, step) == READ_MORE
    hub.run()
    assert [packet for _, packet in hub.take(hub.a)] == [*prepares, large]


def test_a_message_in_parts(hub: StreamHub) -> None:
    prepare = hub.prepare(to="g.hub.alice")
    message = ilp(MESSAGE, 7, prepare)
    stream = hub.frame(message[:9], final=False) + hub.frame(b"", CONTINUATION, final=False)
    stream += hub.frame(b"", PONG)
    stream += hub.frame(message[9:], CONTINUATION)
    stream += hub.frame(b"not BTP's", TEXT, final=False) + hub.frame(b" business", CONTINUATION)
    stream += hub.frame(b"nor this", TEXT)
    stream += hub.message(MESSAGE, 8, prepare)
    assert hub.write(stream) == READ_MORE
    hub.run()
    assert [packet for _, packet in hub.take(hub.a)] == [prepare, prepare]


def test_what_is_no_packet_comes_out_in_order(hub: StreamHub) -> None:
    other = codec_btp.encode(MESSAGE, 5, [codec_btp.Entry("note", 1, b"hello")])
    prepare = hub.prepare(to="g.hub.alice")
    assert hub.write(
        hub.message(MESSAGE, 1, prepare)
        + hub.frame(b"are you there", PING)
        + hub.message(MESSAGE, 2, prepare)
        + hub.frame(other)
        + hub.frame(other[:5], final=False)
        + hub.frame(other[5:], CONTINUATION)
        + hub.frame(b"garbage")
        + hub.frame(b"\x03\xe8bye", CLOSE)
    ) == READ_OTHER  # fmt: skip
    others = []
    reading = READ_OTHER
    while reading == READ_OTHER:
        assert hub.connection.read() == READ_OTHER, "until it is taken"
        others.append(hub.connection.other())
        reading = hub.connection.read()
    assert reading == READ_MORE
    assert others == [
        (PING, b"are you there"),
        (BINARY, other),
        (BINARY, other),
        (BINARY, b"garbage"),
        (CLOSE, b"\x03\xe8bye"),
    ]
    assert hub.connection.other() is None
    hub.run()
    assert len(hub.take(hub.a)) == 2


def close(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


@pytest.mark.parametrize("payload", [b"", close(1000), close(1003), close(1011, b"why"),
                                     close(3000), close(4999, "w\u00e4rum".encode())])  # fmt: skip
def test_close_frames(hub: StreamHub, payload: bytes) -> None:
    assert hub.write(hub.frame(payload, CLOSE)) == READ_OTHER
    assert hub.connection.other() == (CLOSE, payload)


# --- what breaks the protocol -------------------------------------------------------------------

BROKEN = {
    "rsv1": (1002, [(BINARY | 0x40, b"x", {})]),
    "rsv3": (1002, [(BINARY | 0x10, b"x", {})]),
    "opcode 3": (1002, [(3, b"x", {})]),
    "opcode 11": (1002, [(11, b"x", {})]),
    "ping in parts": (1002, [(PING, b"x", {"final": False})]),
    "long ping": (1002, [(PING, bytes(126), {})]),
    "16 bits too many": (1002, [(BINARY, b"x" * 125, {"length": b"\x7e\x00\x7d"})]),
    "64 bits too many": (1002, [(BINARY, bytes(300), {"length": b"\x7f" + bytes(6) + b"\1\x2c"})]),
    "negative": (1002, [(BINARY, b"", {"length": b"\x7f\x80" + bytes(7)})]),
    "endless": (1009, [(BINARY, b"", {"length": b"\x7f\x7f" + b"\xff" * 7})]),
    "too large": (1009, [(BINARY, bytes(66_560), {})]),
    "too large in parts": (
        1009,
        [(BINARY, bytes(40_000), {"final": False}), (CONTINUATION, bytes(40_000), {})],
    ),
    "too much text": (
        1009,
        [(TEXT, bytes(40_000), {"final": False}), (CONTINUATION, bytes(40_000), {"final": False})],
    ),
    "nothing to go on with": (1002, [(CONTINUATION, b"x", {})]),
    "two at once": (1002, [(BINARY, b"x", {"final": False}), (BINARY, b"x", {})]),
    "close of one byte": (1002, [(CLOSE, b"\x03", {})]),
    "close without a code": (1002, [(CLOSE, close(1005), {})]),
    "close of tomorrow": (1002, [(CLOSE, close(2000), {})]),
    "close 999": (1002, [(CLOSE, close(999), {})]),
    "close 5000": (1002, [(CLOSE, close(5000), {})]),
    "close in Latin": (1002, [(CLOSE, close(1000, b"\xff"), {})]),
}


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_frames(hub: StreamHub, name: str, step: int) -> None:
    code, broken = BROKEN[name]
    prepare = hub.prepare(to="g.hub.alice")
    stream = hub.message(MESSAGE, 1, prepare)
    stream += b"".join(hub.frame(payload, opcode, **more) for opcode, payload, more in broken)
    assert hub.write(stream + hub.message(MESSAGE, 2, prepare), step) == READ_FAULT
    found, text = hub.connection.fault()
    assert (found, bool(text)) == (code, True)
    assert hub.connection.read() == READ_FAULT, "for good"
    hub.run()
    assert len(hub.take(hub.a)) == 1, "what came before it counts"


def test_a_client_masks_and_a_server_does_not(hub: StreamHub) -> None:
    frame = raw_frame(BINARY, ilp(MESSAGE, 1, hub.prepare(to="g.hub.alice")), masked=hub.masked)
    assert hub.write(frame) == READ_FAULT
    assert hub.connection.fault()[0] == 1002


# --- shares of a turn ---------------------------------------------------------------------------


def large(hub: StreamHub) -> Packet:
    return hub.prepare(to="g.hub.alice")._replace(data=bytes(20_000))


def share_of(prepare: Packet) -> int:
    """How many of these one link brings into a turn."""
    return -(-LINK_TURN_SIZE_MAX // (len(packets.encode(prepare)) + ROW_COST))


def test_a_link_brings_its_share_and_its_answers_go_first(hub: StreamHub) -> None:
    sent_id = hub.to_bob()
    prepare = large(hub)
    share = share_of(prepare)
    stream = b"".join(hub.message(MESSAGE, number, prepare) for number in range(share + 3))
    stream += hub.message(RESPONSE, sent_id, Fulfill(PREIMAGE)) + hub.frame(b"behind", PING)
    assert hub.write(stream) == READ_OTHER
    assert hub.connection.other() == (PING, b"behind")
    assert hub.connection.read() == READ_HELD
    assert hub.connection.read() == READ_HELD, "until the next turn"
    hub.run()
    taken = hub.take(hub.a)
    assert taken[0] == (1, Fulfill(PREIMAGE))
    assert len(taken) == 1 + share
    assert hub.connection.read() == READ_MORE
    hub.run()
    assert [packet for _, packet in hub.take(hub.a)] == [prepare] * 3


def parts(hub: StreamHub, kind: int, request_id: int, packet: Packet | bytes) -> bytes:
    """The same message in two fragments."""
    message = ilp(kind, request_id, packet)
    return hub.frame(message[:9], final=False) + hub.frame(message[9:], CONTINUATION)


def test_messages_in_parts_take_their_share(hub: StreamHub) -> None:
    sent_id = hub.to_bob()
    prepare = large(hub)
    share = share_of(prepare)
    stream = b"".join(parts(hub, MESSAGE, number, prepare) for number in range(share + 2))
    assert hub.write(stream + hub.frame(b"behind", PING)) == READ_HELD
    assert hub.connection.read() == READ_HELD, "until the next turn"
    assert hub.connection.other() is None
    hub.run()
    assert len(hub.take(hub.a)) == share
    assert hub.connection.read() == READ_OTHER
    assert hub.connection.other() == (PING, b"behind")
    assert hub.write(parts(hub, RESPONSE, sent_id, Fulfill(PREIMAGE))) == READ_MORE
    hub.run()
    taken = [packet for _, packet in hub.take(hub.a)]
    assert taken == [Fulfill(PREIMAGE), prepare, prepare]


def test_answers_in_parts_have_a_share_too(hub: StreamHub) -> None:
    answer = parts(hub, RESPONSE, 99, b"\x0d" + bytes(20_000))
    share = -(-LINK_TURN_SIZE_MAX // (20_001 + ROW_COST))
    assert hub.write(answer * (share + 1)) == READ_HELD
    hub.run()
    assert hub.switch.statuses()["unmatched"] == share
    assert hub.connection.read() == READ_MORE
    hub.run()
    assert hub.switch.statuses()["unmatched"] == share + 1


def test_a_message_in_parts_that_waits_is_nobody_s_once_the_link_has_gone(hub: StreamHub) -> None:
    prepare = large(hub)
    stream = b"".join(parts(hub, MESSAGE, 1, prepare) for _ in range(share_of(prepare) + 1))
    assert hub.write(stream) == READ_HELD
    bob = hub.connection
    hub.connection = hub.switch.accept("btp")
    hub.connection.bind(hub.btp, masked=hub.masked)
    hub.run()
    hub.take(hub.a)
    assert bob.read() == READ_MORE
    assert bob.other() is None
    hub.run()
    assert hub.take(hub.a) == []


def test_answers_have_a_share_too(hub: StreamHub) -> None:
    answer = hub.message(RESPONSE, 99, b"\x0d" + bytes(20_000))
    share = -(-LINK_TURN_SIZE_MAX // (20_001 + ROW_COST))
    assert hub.write(answer * (share + 1)) == READ_HELD
    assert hub.connection.read() == READ_HELD
    hub.run()
    assert hub.switch.statuses()["unmatched"] == share
    assert hub.connection.read() == READ_MORE
    hub.run()
    assert hub.switch.statuses()["unmatched"] == share + 1


def test_all_links_together_have_a_share(hub: StreamHub) -> None:
    """What does not fit waits in each connection's buffer; answers do not count."""
    sent_id = hub.to_bob()
    prepare = large(hub)
    share = share_of(prepare)
    stream = b"".join(hub.message(MESSAGE, number, prepare) for number in range(share + 1))
    bob = hub.connection
    for name in ("carol", "dave", "erin", "frank"):
        link = hub.switch.open_link(hub.add(name), kind="btp")
        hub.connection = hub.switch.accept()
        hub.connection.bind(link, masked=hub.masked)
        assert not hub.switch.turn_is_full()
        assert hub.write(stream) == READ_HELD
    assert hub.switch.turn_is_full()
    hub.connection = bob
    stream = hub.message(MESSAGE, 1, prepare) + hub.message(RESPONSE, sent_id, Fulfill(PREIMAGE))
    assert hub.write(stream) == READ_HELD
    hub.run()
    assert not hub.switch.turn_is_full()
    assert hub.take(hub.a)[0] == (1, Fulfill(PREIMAGE))
    assert bob.read() == READ_MORE
    hub.run()
    assert len(hub.take(hub.a)) == 1


def test_a_full_buffer_of_frames_that_wait(hub: StreamHub) -> None:
    """Nothing is lost and nothing is read twice, however often it is looked at."""
    prepares = [hub.prepare(to="g.hub.alice", amount=number) for number in range(1, 9_001)]
    stream = b"".join(hub.message(MESSAGE, p.amount, p) for p in prepares)
    seen: list[int] = []
    reading = READ_MORE
    while stream or reading == READ_HELD:
        if reading == READ_HELD:
            hub.run()
            seen += [packet.amount for _, packet in hub.take(hub.a)]
            reading = hub.connection.read()
        else:
            reading = hub.write(stream)
            stream = hub.left
    hub.run()
    seen += [packet.amount for _, packet in hub.take(hub.a)]
    assert seen == list(range(1, 9_001))


# --- bindings, buffers --------------------------------------------------------------------------


def test_before_the_hello_messages_are_the_shell_s(hub: StreamHub) -> None:
    bob, hub.connection = hub.connection, hub.switch.accept("btp")
    hub.connection.open(masked=hub.masked, message_size_max=5_000)
    message = ilp(MESSAGE, 1, hub.prepare(to="g.hub.alice"))
    assert hub.write(hub.frame(message) * 2) == READ_OTHER
    assert hub.connection.other() == (BINARY, message)
    hub.connection.bind(hub.btp, masked=hub.masked)
    assert hub.connection.read() == READ_MORE
    hub.run()
    assert len(hub.take(hub.a)) == 1
    # Its predecessor's bytes are nobody's.
    hub.connection = bob
    assert hub.write(hub.frame(message) * 2) == READ_MORE
    hub.run()
    assert hub.take(hub.a) == []


def test_a_stranger_gets_room_for_one_message(hub: StreamHub) -> None:
    hub.connection = hub.switch.accept("btp")
    hub.connection.open(masked=hub.masked)
    frame = hub.frame(bytes(66_559))
    assert hub.write(frame[:-1]) == READ_MORE
    with hub.connection.get_buffer(-1) as room:
        assert len(room) < 20
    assert hub.write(frame[-1:]) == READ_OTHER
    assert hub.connection.other() == (BINARY, bytes(66_559))


def test_a_buffer_that_is_lent_does_not_move(hub: StreamHub) -> None:
    connection = hub.switch.accept("btp")
    lent = connection.get_buffer(-1)
    lent[:1] = b"\x82"
    assert connection.buffer_updated(1) == READ_MORE
    connection.bind(hub.btp, masked=hub.masked)
    with pytest.raises(UsageError):
        connection.get_buffer(-1)
    lent.release()
    with connection.get_buffer(-1) as lent, pytest.raises(UsageError):
        connection.buffer_updated(len(lent) + 1)


def test_a_full_buffer_is_nobody_s_once_the_link_has_gone(hub: StreamHub) -> None:
    """A shell that hangs up reads its socket to the end, whatever was held."""
    prepare = large(hub)
    stream = b"".join(hub.message(MESSAGE, number, prepare) for number in range(60))
    bob = hub.connection
    for name in ("carol", "dave", "erin", "frank"):
        link = hub.switch.open_link(hub.add(name), kind="btp")
        hub.connection = hub.switch.accept()
        hub.connection.bind(link, masked=hub.masked)
        hub.write(stream)
    assert hub.switch.turn_is_full()
    hub.connection = bob
    assert hub.write(stream) == READ_HELD
    with pytest.raises(UsageError):
        bob.get_buffer(-1)
    bob.close()
    assert hub.write(stream) == READ_MORE
    hub.run()


def test_written_frames_are_read_again() -> None:
    for size in (0, 1, 7, 125, 126, 65_535, 65_536):
        payload = bytes(number & 0xFF for number in range(size))
        for key in (None, KEY):
            written = codec_websocket.frame(BINARY, payload, key)
            assert written == raw_frame(BINARY, payload, masked=key is not None)
    with pytest.raises(UsageError):
        codec_websocket.frame(PING, b"", b"123")
