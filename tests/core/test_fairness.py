"""Rooms that accounts share: whoever fills one leaves its last eighth to others, and a link whose
own egress is half full brings no new Prepares."""

from collections.abc import Callable

from fastilp._core.codec_websocket import BINARY
from fastilp._core.connection_btp import READ_MORE
from tests.core.test_connection_btp import raw_frame
from tests.core.test_link import MESSAGE, RESPONSE, BtpHub, ilp
from tests.reference.hub import PREIMAGE, Hub
from tests.reference.packets import Fulfill, Reject, encode

EGRESS_SIZE_MAX = 2 * 1024 * 1024


def codes(hub: Hub, link: object) -> list[bytes]:
    return [packet.code for _, packet in hub.take(link) if isinstance(packet, Reject)]


def test_the_last_of_a_window_is_for_others(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(bob={"in_flight_out_max": 16})
    carol = hub.switch.open_link(hub.add("carol"))
    for number in range(20):
        hub.send(number)
    for number in range(3):
        hub.send(number, carol)
    hub.run()
    assert codes(hub, hub.a) == [b"T02"] * 5
    assert codes(hub, carol) == [b"T02"] * 2
    for sent_id, _ in hub.take(hub.b):
        hub.answer(sent_id)
    hub.run()
    assert hub.balances() == (-1_500, 1_600)


def test_the_last_of_the_table_is_for_others(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(in_flight_max=16)
    carol = hub.switch.open_link(hub.add("carol"))
    for number in range(20):
        hub.send(number)
    for number in range(3):
        hub.send(number, carol)
    hub.run()
    assert codes(hub, hub.a) == [b"T03"] * 5
    assert codes(hub, carol) == [b"T03"] * 2
    assert len(hub.take(hub.b)) == 16


def test_the_last_of_an_egress_is_for_others(hub: Hub) -> None:
    carol = hub.switch.open_link(hub.add("carol"))
    raw = encode(hub.prepare()._replace(data=bytes(32_000)))
    for number in range(80):
        hub.a.receive([(number, raw)])
    hub.run()
    refused = codes(hub, hub.a)
    assert set(refused) == {b"T02"}
    assert hub.b.egress_size <= EGRESS_SIZE_MAX * 7 // 8 + 33_000
    for number in range(5):
        carol.receive([(number, raw)])
    hub.run()
    assert codes(hub, carol) == []
    assert len(hub.take(hub.b)) == 80 - len(refused) + 5


# --- room for an answer ---------------------------------------------------------------------------


def write(hub: BtpHub, stream: bytes) -> None:
    with hub.connection.get_buffer(-1) as buffer:
        buffer[: len(stream)] = stream
    assert hub.connection.buffer_updated(len(stream)) == READ_MORE
    hub.run()


def test_where_an_answer_has_no_room_there_is_no_new_prepare() -> None:
    """Bob reads nothing, and half of what may wait for him does. What he asks is rejected; what he
    answers counts, and reading goes on."""
    hub = BtpHub()
    sent_id = hub.to_bob()
    raw = encode(hub.prepare()._replace(data=bytes(32_000)))
    for name in ("carol", "dave", "erin"):
        link = hub.switch.open_link(hub.add(name))
        link.receive([(number, raw) for number in range(80)])
        hub.run()
        assert set(codes(hub, link)) == {b"T02"}
    assert hub.btp.egress_size > EGRESS_SIZE_MAX
    ask = raw_frame(BINARY, ilp(MESSAGE, 7, hub.prepare(to="g.hub.alice")))
    answer = raw_frame(BINARY, ilp(RESPONSE, sent_id, Fulfill(PREIMAGE)))
    write(hub, ask + answer)
    assert hub.take(hub.a) == [(1, Fulfill(PREIMAGE))]
    kind, request_id, reject = hub.taken()[-1]
    assert (kind, request_id, reject.code) == (RESPONSE, 7, b"T03")
    # He has read: there is room again.
    write(hub, ask)
    assert len(hub.take(hub.a)) == 1
    hub.check_sums()
