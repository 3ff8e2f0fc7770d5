"""The vector files themselves, and the ones of BTP that no other test reads."""

import json

import pytest

from fastilp._core import codec_btp
from fastilp.errors import DecodeError
from tests.vectors import HERE, load

FILES = sorted(path.stem for path in HERE.glob("*.json"))


def test_there_are_files():
    assert {"packets", "timestamps", "addresses", "btp", "ildcp", "ccp", "oer_lengths"} <= {*FILES}


@pytest.mark.parametrize("name", FILES)
def test_every_vector_says_where_it_is_from(name):
    vectors = load(name)
    assert json.loads((HERE / f"{name}.json").read_text())["about"]
    names = [one["name"] for one in vectors]
    assert len({*names}) == len(names)
    for one in vectors:
        assert one["source"]
        assert isinstance(one["valid"], bool)
        assert bytes.fromhex(one.get("hex", "")).hex() == one.get("hex", "")


@pytest.mark.parametrize("vector", [pytest.param(one, id=one["name"]) for one in load("btp")])
def test_btp(vector):
    wire = bytes.fromhex(vector["hex"])
    if not vector["valid"]:
        with pytest.raises(DecodeError):
            codec_btp.decode(wire)
        return
    message = codec_btp.decode(wire)
    assert (message.type, message.request_id) == (vector["type"], vector["request_id"])
    assert [
        {"name": one.name, "content_type": one.content_type, "data": one.data.hex()}
        for one in message.entries
    ] == vector["entries"]
    error = vector.get("error", {"code": "", "name": "", "triggered_at": "", "data": ""})
    assert (message.code, message.name, message.triggered_at, message.data.hex()) == (
        error["code"],
        error["name"],
        error["triggered_at"],
        error["data"],
    )


def btp_error(triggered_at: bytes) -> bytes:
    body = b"T00" + b"\x01n" + triggered_at + b"\x00" + b"\x01\x00"
    return b"\x02" + bytes(4) + bytes([len(body)]) + body


@pytest.mark.parametrize(
    "vector", [pytest.param(one, id=one["name"]) for one in load("btp_timestamps") if one["valid"]]
)
def test_btp_timestamps(vector):
    message = codec_btp.decode(btp_error(bytes.fromhex(vector["hex"])))
    assert message.triggered_at == vector["text"]
