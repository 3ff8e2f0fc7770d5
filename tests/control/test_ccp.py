"""The bytes of CCP and IL-DCP, against those that other implementations vouch for, and hostile
ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.control import ccp, ildcp
from fastilp.control.octets import Reader, var_octets, var_uint
from fastilp.errors import DecodeError
from tests import vectors

CCP = vectors.load("ccp")
MEANT = [vector for vector in CCP if "means" in vector]
REFUSED = [vector for vector in CCP if "refuse" in vector]
ILDCP = {vector["name"]: vector for vector in vectors.load("ildcp")}
EXPIRY_MS = 1_434_412_860_000


def control_of(means: dict[str, Any]) -> ccp.RouteControl:
    return ccp.RouteControl(
        ccp.Mode(means["mode"]),
        bytes.fromhex(means["last_known_routing_table_id"]),
        means["last_known_epoch"],
        tuple(means["features"]),
    )


def route_of(means: dict[str, Any]) -> ccp.Route:
    props = tuple(
        ccp.Prop(
            prop["id"],
            bytes.fromhex(prop["value"]),
            prop["is_optional"],
            prop["is_transitive"],
            prop["is_partial"],
            prop["is_utf8"],
        )
        for prop in means["props"]
    )
    return ccp.Route(means["prefix"], tuple(means["path"]), bytes.fromhex(means["auth"]), props)


def update_of(means: dict[str, Any]) -> ccp.RouteUpdate:
    return ccp.RouteUpdate(
        bytes.fromhex(means["routing_table_id"]),
        means["current_epoch_index"],
        means["from_epoch_index"],
        means["to_epoch_index"],
        means["hold_down_time_ms"],
        means["speaker"],
        [route_of(route) for route in means["new_routes"]],
        means["withdrawn_routes"],
    )


@pytest.mark.parametrize("vector", MEANT, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    packet = Prepare.decode(bytes.fromhex(vector["hex"]))
    means = vector["means"]
    if packet.destination == ccp.CONTROL:
        control = ccp.decode_control(packet.data)
        assert control == control_of(means)
        data = ccp.encode_control(control)
    else:
        update = ccp.decode_update(packet.data)
        assert update == update_of(means)
        data = ccp.encode_update(update)
    ours = ccp.prepare(packet.destination, data, EXPIRY_MS)
    assert bytes(ours).hex() == vector["hex"]


def test_there_are_vectors() -> None:
    assert len(MEANT) >= 3 and len(REFUSED) >= 3


def test_answer() -> None:
    answer = next(vector for vector in CCP if vector["name"] == "answer to both")
    assert bytes(ccp.ANSWER).hex() == answer["hex"]


def test_ildcp_vectors() -> None:
    assert bytes(ildcp.request(EXPIRY_MS)).hex() == ILDCP["request"]["hex"]
    response = ILDCP["response"]
    config = ildcp.parse_response(Fulfill.decode(bytes.fromhex(response["hex"])).data)
    assert config == ("example.client", 13, "XAM")
    fulfill = Fulfill(fulfillment=ildcp.FULFILLMENT, data=ildcp.response_data(*config))
    assert bytes(fulfill).hex() == response["hex"]
    reject = ILDCP["reject"]
    assert Reject.decode(bytes.fromhex(reject["hex"])).code == reject["code"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0eexample.client",
        b"\x0eexample client\x09\x03XAM",
        b"\x00\x09\x03XAM",
        b"\x0eexample.client\x09\x04XAM",
        b"\x0eexample.client\x09\x02\xff\xff",
        b"\x89" + bytes(9),
        b"\x82\x04\x00" + b"example." + b"a" * 1016 + b"\x09\x03XAM",
    ],
)
def test_ildcp_answers_that_are_none(data: bytes) -> None:
    with pytest.raises(DecodeError):
        ildcp.parse_response(data)


def samples() -> list[bytes]:
    """Good data of both kinds."""
    return [Prepare.decode(bytes.fromhex(vector["hex"])).data for vector in MEANT]


def decode(data: bytes) -> None:
    for function in (ccp.decode_control, ccp.decode_update, ildcp.parse_response):
        try:
            function(data)
        except DecodeError:
            continue


def test_data_cut_short_is_refused() -> None:
    control, simple, complex_ = samples()
    for size in range(len(control)):
        with pytest.raises(DecodeError):
            ccp.decode_control(control[:size])
    for data in (simple, complex_):
        for size in range(len(data)):
            with pytest.raises(DecodeError):
                ccp.decode_update(data[:size])


@pytest.mark.property
@given(st.binary(max_size=400))
def test_any_bytes_raise_decode_error_at_most(data: bytes) -> None:
    decode(data)


@pytest.mark.property
@given(st.sampled_from(range(3)), st.integers(0, 300), st.integers(0, 255))
def test_one_wrong_byte(which: int, place: int, value: int) -> None:
    data = bytearray(samples()[which])
    data[place % len(data)] = value
    decode(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        # Mode 2; 2**32 features; 65 of them; a length of 127 bytes.
        b"\x02" + bytes(20) + b"\x01\x00",
        b"\x01" + bytes(20) + b"\x05\x01\x00\x00\x00\x00",
        b"\x01" + bytes(20) + b"\x01\x41" + b"\x00" * 65,
        b"\x01" + bytes(20) + b"\x01\x01" + b"\xff" + bytes(127),
        b"\x01" + bytes(20) + b"\x01\x01" + b"\x01\xff",
    ],
)
def test_hostile_controls(data: bytes) -> None:
    with pytest.raises(DecodeError):
        ccp.decode_control(data)


@pytest.mark.parametrize("count", [b"\x04\xff\xff\xff\xff", b"\x08" + b"\xff" * 8, b"\x02\x7f\xff"])
def test_counts_allocate_nothing(count: bytes) -> None:
    head = samples()[1][:-4]
    for tail in (count, b"\x01\x00" + count):
        with pytest.raises(DecodeError, match="items in"):
            ccp.decode_update(head + tail)


@pytest.mark.property
@given(
    st.lists(st.sampled_from(["", "g", "g.a.b", "example." + "x" * 300]), max_size=4),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
)
def test_round_trip(prefixes: list[str], epoch: int, value: bytes) -> None:
    prop = ccp.Prop(7, value, True, False, True, False)
    routes = [ccp.Route(prefix, tuple(prefixes), bytes(32), (prop,)) for prefix in prefixes]
    update = ccp.RouteUpdate(b"i" * 16, epoch, 0, epoch, 45_000, "g.me", routes, prefixes)
    assert ccp.decode_update(ccp.encode_update(update)) == update


@pytest.mark.property
@given(st.integers(0, 2**63))
def test_numbers_and_lengths(number: int) -> None:
    assert Reader(var_uint(number)).var_uint() == number
    content = bytes(number % 70_000)
    assert Reader(var_octets(content)).var_octets() == content


def test_long_lengths_are_read() -> None:
    """Peers pad lengths; a length of no bytes, 0x80, says nothing."""
    assert Reader(b"\x84\x00\x00\x00\x02hi").var_octets() == b"hi"
    with pytest.raises(DecodeError):
        Reader(b"\x80").size()
    with pytest.raises(DecodeError, match="at most 1"):
        Reader(b"\x02hi").var_octets(1)
