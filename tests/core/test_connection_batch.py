"""Batch links and their connections: bytes in, bytes out, and what survives a broken socket."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from fastilp._core import codec_batch
from fastilp.errors import UsageError
from tests.reference import packets
from tests.reference.hub import PREIMAGE, Hub
from tests.reference.kits import COMPILED
from tests.reference.packets import Fulfill, Packet, Reject

NO = Reject(b"F99", b"g.hub.bob.x", b"no")
BUFFER_SIZE = 256 * 1024


def frame(request_id: int, packet: Packet | bytes) -> bytes:
    raw = packet if isinstance(packet, bytes) else packets.encode(packet)
    return codec_batch.frame(request_id, raw)


class BatchHub(Hub):
    """Bob is on a batch link; `connection` is his socket."""

    def __init__(self) -> None:
        super().__init__(COMPILED)
        self.batch = self.switch.open_link(self.bob, kind="batch")
        self.switch.set_egress(self.bob, self.batch)
        self.connection = self.connect()

    def connect(self) -> Any:
        connection = self.switch.accept("batch")
        assert connection.bind(self.batch)
        return connection

    def taken(self) -> list[tuple[int, Packet]]:
        """What waits for bob."""
        stream = self.batch.take_bytes()
        frames, size = codec_batch.read(stream)
        assert size == len(stream)
        return [(request_id, packets.decode(packet)) for request_id, packet in frames]

    def to_bob(self, request_id: int = 1, **fields: Any) -> int:
        prepare = self.send(request_id, **fields)
        self.run()
        [(sent_id, packet)] = self.taken()
        assert packet == prepare
        return sent_id

    def feed(self, stream: bytes, step: int = BUFFER_SIZE) -> bool:
        """As a loop does it: a buffer, some bytes into it, and word that they are there."""
        goes_on = True
        while stream and goes_on:
            with self.connection.get_buffer(-1) as buffer:
                size = min(len(buffer), len(stream), step)
                buffer[:size] = stream[:size]
                goes_on = self.connection.buffer_updated(size)
            stream = stream[size:]
        self.run()
        return goes_on


@pytest.fixture
def hub() -> Iterator[BatchHub]:
    made = BatchHub()
    yield made
    made.check_sums()


def test_prepare_out_answer_in(hub: BatchHub) -> None:
    sent_id = hub.to_bob()
    assert hub.feed(frame(sent_id, Fulfill(PREIMAGE)))
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    assert hub.balances() == (-100, 100)


def test_prepare_in_answer_out(hub: BatchHub) -> None:
    prepare = hub.prepare(to="g.hub.alice")
    assert hub.feed(frame(2**32 - 1, prepare))
    [(sent_id, packet)] = hub.take(hub.a)
    assert packet == prepare
    hub.answer(sent_id, NO, link=hub.a)
    hub.run()
    assert hub.taken() == [(2**32 - 1, NO)]


@pytest.mark.parametrize("step", [1, 2, 7, 100, 4_096])
def test_in_pieces_as_at_once(hub: BatchHub, step: int) -> None:
    source = random.Random(step)
    prepares = [
        hub.prepare(to="g.hub.alice")._replace(data=source.randbytes(source.choice([0, 60, 300])))
        for _ in range(20)
    ]
    stream = b"\xc0".join(frame(n, prepare) for n, prepare in enumerate(prepares))
    assert hub.feed(stream, step)
    assert [packet for _, packet in hub.take(hub.a)] == prepares


def test_a_type_byte_that_is_no_prepare_makes_an_answer(hub: BatchHub) -> None:
    sent_id = hub.to_bob()
    assert hub.feed(frame(sent_id, b"\x0fsomething"))
    assert [(n, packet.code) for n, packet in hub.take(hub.a)] == [(1, b"T01")]
    assert hub.feed(frame(9, b"\x0cnot a prepare"))
    assert [(n, packet.code) for n, packet in hub.taken()] == [(9, b"F01")]


def test_the_hello_waits_for_the_shell() -> None:
    hub = BatchHub()
    hub.connection = connection = hub.switch.accept("batch")
    hello, prepare = b"hello, this is bob", hub.prepare(to="g.hub.alice")
    stream = hello + frame(5, prepare)
    assert hub.feed(stream[:-10], 3)
    assert connection.received() == stream[:-10]
    assert connection.link is None and connection.fault == ""
    assert connection.bind(hub.batch, len(hello))
    assert connection.received() == stream[len(hello) : -10]
    assert hub.feed(stream[-10:])
    assert connection.received() == b""
    [(_, packet)] = hub.take(hub.a)
    assert packet == prepare


def test_a_bind_in_the_middle_of_a_read() -> None:
    """uvloop holds the view that it wrote to until `buffer_updated` has returned."""
    hub = BatchHub()
    connection = hub.switch.accept("batch")
    with connection.get_buffer(-1) as buffer:
        buffer[:2] = b"hi"
        assert connection.buffer_updated(2)
        assert connection.bind(hub.batch, 2)
    with connection.get_buffer(-1) as buffer:
        assert len(buffer) == BUFFER_SIZE


def test_a_stranger_gets_a_small_buffer() -> None:
    connection = BatchHub().switch.accept("batch")
    size = len(connection.get_buffer(-1))
    assert size == 4_096
    assert not connection.buffer_updated(size)
    assert len(connection.received()) == size and connection.fault == ""


def test_a_full_buffer_ends_the_turn(hub: BatchHub) -> None:
    whole = frame(1, bytes([13]) * 60_000)
    stream = whole * (BUFFER_SIZE // len(whole) + 1)
    assert not hub.feed(stream[:BUFFER_SIZE])
    assert hub.connection.fault == ""
    assert hub.feed(stream[BUFFER_SIZE:])
    assert hub.connection.received() == b""
    assert hub.counted()["unmatched"] == len(stream) // len(whole)


def test_the_largest_packet_in_the_widest_form(hub: BatchHub) -> None:
    packet = bytes([13]) * 65_535
    widest = b"\x92\xcf" + bytes(8) + b"\xc6" + len(packet).to_bytes(4, "big") + packet
    assert hub.feed(widest * 9, 100_000)
    assert hub.counted()["unmatched"] == 9


@pytest.mark.parametrize(
    "broken, reason",
    [
        (b"\x93", "neither an array of two nor nil"),
        (b"\x92\xff", "a request id"),
        (b"\x92\x00\xa1x", "not a bin"),
        (b"\x92\x00\xc4\x00", "no bytes"),
        (b"\x92\x00\xc6\x00\x01\x00\x00", "65,535"),
    ],
)
def test_a_fault_ends_the_reading(hub: BatchHub, broken: bytes, reason: str) -> None:
    good = frame(1, hub.prepare(to="g.hub.alice"))
    assert not hub.feed(good + broken + good)
    assert reason in hub.connection.fault
    # What came before it counts, what comes behind it does not.
    assert len(hub.take(hub.a)) == 1
    assert not hub.feed(good)
    assert hub.take(hub.a) == []


def test_random_bytes_never_do_more_than_end_the_reading() -> None:
    source = random.Random(7)
    hub = BatchHub()
    faults = 0
    for _ in range(2_000):
        hub.connection = hub.connect()
        stream = bytearray(frame(source.getrandbits(9), hub.prepare(to="g.hub.alice")))
        stream += source.randbytes(source.randrange(40))
        for _ in range(source.randint(0, 4)):
            stream[source.randrange(len(stream))] = source.randrange(256)
        hub.feed(bytes(stream), source.randint(1, len(stream)))
        faults += bool(hub.connection.fault)
    assert faults > 100
    hub.run(60_000)
    hub.check_sums()
    assert hub.balances() == (0, 0)


# --- what survives a broken socket ----------------------------------------------------------------


def test_an_answer_on_a_later_connection(hub: BatchHub) -> None:
    sent_id = hub.to_bob()
    hub.connection.close()
    assert not hub.batch.up
    hub.connection = hub.connect()
    assert hub.batch.up
    assert hub.feed(frame(sent_id, Fulfill(PREIMAGE)))
    assert hub.balances() == (-100, 100)


def test_a_newer_connection_takes_over_what_waits(hub: BatchHub) -> None:
    prepare = hub.send(1)
    hub.run()
    older, hub.connection = hub.connection, hub.connect()
    assert older.link is None
    [(sent_id, packet)] = hub.taken()
    assert packet == prepare
    # The older one says nothing any more, and its end is not the newer one's.
    with older.get_buffer(-1) as buffer:
        stream = frame(sent_id, Fulfill(PREIMAGE))
        buffer[: len(stream)] = stream
        assert older.buffer_updated(len(stream)) and older.received() == b""
    older.close()
    hub.run()
    assert hub.batch.up and hub.take(hub.a) == []


def test_without_a_connection_a_prepare_is_answered_at_once(hub: BatchHub) -> None:
    hub.connection.close()
    hub.send(1)
    hub.run()
    assert [(n, packet.code) for n, packet in hub.take(hub.a)] == [(1, b"T01")]


def test_closing_the_link_ends_its_connection(hub: BatchHub) -> None:
    hub.batch.close()
    assert hub.connection.link is None
    assert hub.feed(frame(1, hub.prepare(to="g.hub.alice")))
    assert hub.take(hub.a) == []
    with pytest.raises(UsageError, match="closed"):
        hub.switch.accept("batch").bind(hub.batch)


# --- misuse ---------------------------------------------------------------------------------------


def test_misuse_is_told(hub: BatchHub) -> None:
    connection = hub.switch.accept("batch")
    with pytest.raises(UsageError, match="more than have come"):
        connection.bind(hub.batch, 1)
    with pytest.raises(UsageError, match="not a batch link"):
        connection.bind(hub.a)
    with pytest.raises(UsageError, match="had room for"):
        connection.buffer_updated(4_097)
    with pytest.raises(UsageError, match="bound already"):
        hub.connection.bind(hub.batch)
    with pytest.raises(UsageError, match="while a connection is bound"):
        hub.batch.up = False
    with pytest.raises(UsageError, match="take_bytes"):
        hub.batch.take()
    with pytest.raises(UsageError, match="codec"):
        hub.switch.accept("smoke signals")
    view = connection.get_buffer(-1)
    connection.bind(hub.batch)
    with pytest.raises(UsageError, match="in use"):
        connection.get_buffer(-1)
    view.release()


# --- shares of a turn -----------------------------------------------------------------------------


def test_what_does_not_fit_into_a_turn_waits_and_answers_go_first(hub: BatchHub) -> None:
    """Four links fill the turn; the fifth's Prepares stay in its buffer, in order."""
    sent_id = hub.to_bob()
    fifth = hub.connection
    large = hub.prepare(to="g.hub.alice")._replace(data=bytes(30_000))
    number = 0
    while not hub.switch.turn_is_full():
        if number % 8 == 0:
            link = hub.switch.open_link(hub.add(f"n{number}"), kind="batch")
            connection = hub.switch.accept("batch")
            connection.bind(link)
        with connection.get_buffer(-1) as buffer:
            stream = frame(number, large)
            buffer[: len(stream)] = stream
        assert connection.buffer_updated(len(stream))
        number += 1
    prepares = [hub.prepare(to="g.hub.alice", amount=n) for n in (5, 6, 7)]
    stream = b"".join(frame(n, prepare) for n, prepare in enumerate(prepares[:2]))
    stream += frame(sent_id, Fulfill(PREIMAGE)) + frame(3, prepares[2])
    with fifth.get_buffer(-1) as buffer:
        buffer[: len(stream) + 1] = stream + b"\x92"
    assert not fifth.buffer_updated(len(stream) + 1)
    assert not fifth.read(), "not before the turn"
    hub.run()
    taken = [packet for _, packet in hub.take(hub.a)]
    assert taken[0] == Fulfill(PREIMAGE)
    assert not set(prepares) & set(taken)
    assert fifth.read()
    hub.run()
    assert [packet for _, packet in hub.take(hub.a)] == prepares
    assert fifth.received() == b"\x92"
