"""The engine against bytes: split anywhere they are the same packets, and nonsense ends one
connection and nothing else."""

import itertools
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastilp._core import codec_btp
from fastilp._core.packet import Prepare, Reject
from fastilp.loadtest import packets
from fastilp.loadtest.engine import Engine
from fastilp.loadtest.task import Destination

TRANSPORTS = ("batch", "btp", "http")
ROLES = {"batch": "peer", "btp": "peer", "http": "client"}
MASK = b"\x01\x02\x03\x04"
RESPONSE, MESSAGE = 1, 6


# Turns of the engine until what must happen has happened, even on a machine that is busy.
TURNS_MAX = 2_000


def run_until(made: Engine, condition: Callable[[], bool]) -> None:
    for _ in range(TURNS_MAX):
        made.run(0.001)
        if condition():
            return
    raise AssertionError("it did not happen")


def engine() -> Engine:
    made = Engine(slot_bits=8)
    made.set_answers(packets.fulfill(0), packets.reject(), 0.0, packets.FULFILLMENT)
    made.set_times(10_000, 11_000)
    return made


def prepare(size: int) -> bytes:
    return bytes(
        Prepare(
            amount=5,
            expires_at=datetime.now(UTC) + timedelta(seconds=10),
            execution_condition=packets.CONDITION,
            destination="example.a",
            data=bytes(size),
        )
    )


def framed(transport: str, request_id: int, packet: bytes) -> bytes:
    """A packet as the engine's peer sends it."""
    if transport == "batch":
        packed: bytes = msgpack.packb([request_id, packet])
        return packed
    if transport == "btp":
        return codec_btp.frame(RESPONSE, request_id, packet, MASK)
    return b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(packet) + packet


def receiver(transport: str) -> tuple[Engine, socket.socket]:
    """An engine that answers Prepares, and the other end."""
    made = engine()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    if transport != "http":
        ours.setblocking(False)
        made.add_connection(ours.detach(), transport, "peer")
        return made, theirs
    ours.close(), theirs.close()
    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    theirs.setblocking(False)
    listener.setblocking(False)
    made.add_connection(listener.detach(), "http", "listener")
    return made, theirs


def drained(connection: socket.socket) -> bytes:
    taken = b""
    try:
        while more := connection.recv(1 << 16):
            taken += more
    except (BlockingIOError, ConnectionError):
        pass
    return taken


@pytest.mark.parametrize("transport", TRANSPORTS)
@settings(max_examples=30)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 90, 126, 127, 128, 255, 256, 3000]), max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
)
def test_packets_may_be_split_anywhere(transport: str, sizes: list[int], cuts: list[int]) -> None:
    made, peer = receiver(transport)
    ids = [1, 200, 70_000, 2**32 - 1, 127, 128]
    stream = b"".join(
        framed(transport, request_id, prepare(size))
        for request_id, size in zip(ids, sizes, strict=False)
    )
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        peer.sendall(stream[start:end])
        made.run(0.001)
    run_until(made, lambda: made.received()["prepares"] == len(sizes))
    with peer:
        answers = drained(peer)
    received = made.received()
    assert received["fulfilled"] == received["prepares"] == len(sizes)
    assert received["amount"] == 5 * len(sizes)
    assert (received["malformed"], received["closed"]) == (0, 0)
    assert answers.count(packets.FULFILLMENT) == len(sizes)


@pytest.mark.parametrize("transport", TRANSPORTS)
@settings(max_examples=200)
@given(data=st.data())
def test_nonsense_is_survived(transport: str, data: st.DataObject) -> None:
    """Random bytes, and sound ones with one byte changed."""
    made, peer = receiver(transport)
    sound = bytearray(framed(transport, 7, prepare(40)))
    place = data.draw(st.integers(0, len(sound) - 1))
    sound[place] = data.draw(st.integers(0, 255))
    with peer:
        peer.sendall(data.draw(st.sampled_from([bytes(sound), data.draw(st.binary(max_size=200))])))
        made.run(0.001)
    # It sees the end of the connection at the latest when the peer has closed it.
    run_until(made, lambda: made.received()["closed"] == 1)
    assert made.received()["prepares"] <= 1


def sender(transport: str, window: int = 1) -> tuple[Engine, socket.socket]:
    """An engine that sends Prepares, and the other end; the first have been sent."""
    made = engine()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    depth = window if transport == "http" else 0
    index = made.add_connection(ours.detach(), transport, ROLES[transport], depth=depth)
    template = packets.template(Destination(prefix="example.a"), 5, 8)
    heads = [packets.request_head("h", "/", "t", len(template.packet))] if depth else []
    made.add_flow([index], window=window, rate=0.0, heads=heads, **template._asdict())
    run_until(made, lambda: made.counts(0)["sent"] == window)
    return made, theirs


def request_ids(sent: bytes) -> list[int]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(sent)
    return [request_id for request_id, _ in unpacker]


def test_answers_end_exactly_one_exchange_each() -> None:
    made, peer = sender("batch", window=4)
    first = request_ids(drained(peer))
    assert len(set(first)) == 4
    reject = bytes(Reject(code="T04", triggered_by="example.a", message="", data=b""))
    wrong = packets.fulfill(0).replace(packets.FULFILLMENT, bytes(32))
    made.set_sending(False)
    answers = [(first[0], packets.fulfill(9)), (first[1], reject), (first[2], wrong)]
    # Twice the same, one that nobody asked for, and a later use of the first slot.
    answers += [answers[0], (12345, reject), (first[0] + 256, reject)]
    with peer:
        peer.sendall(b"".join(msgpack.packb(list(answer)) for answer in answers))
        run_until(made, lambda: made.received()["unmatched"] == 3)
    counts = made.counts(0)
    assert (counts["fulfilled"], counts["rejected"], counts["wrong"]) == (1, 2, 1)
    assert counts["in_flight"] == 1
    assert made.codes() == {"T04": 1, "WRG": 1}


def test_a_message_without_a_packet_answers_nothing() -> None:
    """Its id is the peer's, and may be that of a Prepare that waits; an Error has our id."""
    made, peer = sender("btp", window=1)
    made.set_sending(False)
    [request_id] = [codec_btp.decode(sent[2:]).request_id for sent in [drained(peer)]]
    note = [codec_btp.Entry("note", 1, b"hello")]
    message = codec_btp.encode(MESSAGE, request_id, note)
    with peer:
        peer.sendall(bytes((0x82, len(message))) + message)
        peer.sendall(bytes((0x89, 0)))
        run_until(made, lambda: drained(peer) == bytes((0x8A, 0)))
        assert (made.counts(0)["in_flight"], made.received()["unmatched"]) == (1, 0)
        refused = codec_btp.encode(RESPONSE, request_id, [])
        peer.sendall(bytes((0x82, len(refused))) + refused)
        run_until(made, lambda: made.codes() == {"BAD": 1})


def test_a_request_id_of_more_than_32_bits_is_malformed() -> None:
    made, peer = receiver("batch")
    with peer:
        peer.sendall(msgpack.packb([2**32, prepare(0)]))
        run_until(made, lambda: made.received()["malformed"] == 1)
    assert made.received()["prepares"] == 0


def test_what_is_not_answered_times_out() -> None:
    made, peer = sender("batch", window=3)
    ids = request_ids(drained(peer))
    made.set_times(10_000, 1)
    made.set_sending(False)
    run_until(made, lambda: made.counts(0)["timed_out"] == 3)
    with peer:
        # Too late: it is nobody's answer any more.
        peer.sendall(msgpack.packb([ids[0], packets.fulfill(0)]))
        made.set_sending(True)
        run_until(made, lambda: made.received()["unmatched"] == 1)
    assert made.counts(0)["fulfilled"] == 0


def test_a_lost_http_connection_loses_what_waited_on_it() -> None:
    made, peer = sender("http", window=3)
    assert drained(peer).count(b"POST / HTTP/1.1") == 3
    made.set_sending(False)
    peer.close()
    run_until(made, lambda: made.counts(0)["lost"] == 3)
    assert made.counts(0)["in_flight"] == 0


def test_an_http_answer_without_a_packet_is_counted_by_its_status() -> None:
    made, peer = sender("http", window=2)
    drained(peer)
    made.set_sending(False)
    with peer:
        peer.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy" * 2)
        run_until(made, lambda: made.codes() == {"503": 2})


@pytest.mark.parametrize("ping", [b"", b"x" * 125])
def test_a_websocket_ping_is_answered(ping: bytes) -> None:
    made, peer = receiver("btp")
    with peer:
        peer.sendall(bytes([0x89, 0x80 | len(ping)]) + bytes(4) + ping)
        answers = b""

        def answered() -> bool:
            nonlocal answers
            answers += drained(peer)
            return len(answers) == 2 + len(ping)

        run_until(made, answered)
    assert answers == bytes([0x8A, len(ping)]) + ping


def test_what_cannot_be_is_refused() -> None:
    made = engine()
    template = packets.template(Destination(prefix="example.a"), 5, 8)
    one, other = socket.socketpair()
    with one, other:
        index = made.add_connection(one.detach(), "batch", "peer")
        good = {**template._asdict(), "window": 1, "rate": 0.0}
        for bad in ({"rate": 5.0}, {"window": 0}, {"expiry_offset": 10**6}, {"number_digits": 999},
                    {"counter_offset": 10**6}, {"number_count": 0}):  # fmt: skip
            with pytest.raises(ValueError):
                made.add_flow([index], **{**good, **bad})
        with pytest.raises(ValueError):
            made.add_flow([], **good)
        for connections, heads in (([7], []), ([-1], []), ([index], [b"POST"])):
            with pytest.raises((ValueError, OverflowError)):
                made.add_flow(connections, **{**good, "heads": heads})
        made.run(0.001)
        with pytest.raises(IndexError):
            made.counts(3)
    with pytest.raises(ValueError):
        made.set_stall(100, 50)
    with pytest.raises(ValueError):
        Engine(slot_bits=40)
